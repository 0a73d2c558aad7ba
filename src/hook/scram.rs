//! What a server knows of a user for SCRAM-SHA-256 (RFC 5802, RFC 7677).

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::hook::{DECLINED, OK, Verdict};

/// How often a password is hashed where nobody says otherwise (RFC 7677 4).
const ITERATIONS: u32 = 4096;

/// What stands in front of keys as PostgreSQL writes them.
const POSTGRESQL: &str = "SCRAM-SHA-256$";

type Key = [u8; 32];

/// A client that wants to authenticate with SCRAM-SHA-256, and a place for what a plugin knows of
/// its user.
pub struct Scram<'a> {
    /// The user name.
    pub user: &'a str,
    known: RefCell<Option<Known>>,
}

/// What a plugin knows of a user.
enum Known {
    Password(String),
    Keys(ScramKeys),
}

/// What is kept of a password for SCRAM-SHA-256: enough to recognize it, but not to present it.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    iterations: u32,
    salt: Vec<u8>,
    stored: Key,
    server: Key,
}

impl<'a> Scram<'a> {
    /// Nothing is known of this user yet.
    pub fn new(user: &'a str) -> Scram<'a> {
        Scram { user, known: RefCell::default() }
    }

    /// Says that this is the user's password, and returns OK.  An empty one is nobody's: DECLINED.
    pub fn password(&self, password: &str) -> Verdict {
        if password.is_empty() {
            return DECLINED;
        }
        self.known.replace(Some(Known::Password(password.to_owned())));
        OK
    }

    /// Says that these are the keys of the user's password, and returns OK.
    pub fn keys(&self, keys: ScramKeys) -> Verdict {
        self.known.replace(Some(Known::Keys(keys)));
        OK
    }

    /// Would this password do, as far as is known now?  For the tests of plugins.
    pub fn accepts(&self, password: &str) -> bool {
        match &*self.known.borrow() {
            Some(Known::Password(known)) => known == password,
            Some(Known::Keys(keys)) => keys.is_of(password.as_bytes()),
            None => false,
        }
    }

    /// Is anything known?
    pub(crate) fn is_known(&self) -> bool {
        self.known.borrow().is_some()
    }

    /// The keys of the user: made with `salt`, where they are not known as such.  It takes the same
    /// time whatever is known, also where it is nothing; nobody's password has those keys then.
    pub(crate) fn into_keys(self, salt: Vec<u8>) -> ScramKeys {
        let (password, keys) = match self.known.into_inner() {
            Some(Known::Password(password)) => (password, None),
            Some(Known::Keys(keys)) => (String::new(), Some(keys)),
            None => (String::new(), None),
        };
        let made = ScramKeys::make(password.as_bytes(), salt, ITERATIONS);
        keys.unwrap_or(made)
    }
}

impl fmt::Debug for Scram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scram").field("user", &self.user).finish_non_exhaustive()
    }
}

impl ScramKeys {
    /// The keys of a password, which is hashed `iterations` times with `salt`.
    pub fn make(password: &[u8], salt: Vec<u8>, iterations: u32) -> ScramKeys {
        let prepared = prepared(password);
        let hash: Key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(&prepared, &salt, iterations);
        let stored = Sha256::digest(mac(&hash, b"Client Key")).into();
        ScramKeys { iterations, salt, stored, server: mac(&hash, b"Server Key") }
    }

    /// Reads `iterations,salt,StoredKey,ServerKey`, the last three in base64, as Dovecot writes it
    /// after `{SCRAM-SHA-256}`, or `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, as
    /// PostgreSQL does.  None: it is neither.
    pub fn parse(text: &str) -> Option<ScramKeys> {
        let (text, between) = match text.strip_prefix(POSTGRESQL) {
            Some(rest) => (rest, [':', '$', ':']),
            None => (text, [','; 3]),
        };
        let (iterations, rest) = text.split_once(between[0])?;
        let (salt, rest) = rest.split_once(between[1])?;
        let (stored, server) = rest.split_once(between[2])?;
        let decoded = |text: &str| BASE64_STANDARD.decode(text).ok();
        let key = |text: &str| decoded(text)?.try_into().ok();
        let keys = ScramKeys {
            iterations: iterations.parse().ok()?,
            salt: decoded(salt)?,
            stored: key(stored)?,
            server: key(server)?,
        };
        (keys.iterations > 0 && !keys.salt.is_empty()).then_some(keys)
    }

    /// Are they the keys of this password?  It takes as long as their iterations do.
    pub fn is_of(&self, password: &[u8]) -> bool {
        let made = ScramKeys::make(password, self.salt.clone(), self.iterations);
        let is_right: bool = self.stored.ct_eq(&made.stored).into();
        is_right && !password.is_empty()
    }

    /// How often the password is hashed.
    pub(crate) fn iterations(&self) -> u32 {
        self.iterations
    }

    /// With what it is.
    pub(crate) fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Does a client know the password that sends this proof about these messages (RFC 5802 3)?
    pub(crate) fn are_proved(&self, proof: &Key, messages: &str) -> bool {
        let mut key = mac(&self.stored, messages.as_bytes());
        key.iter_mut().zip(proof).for_each(|(octet, other)| *octet ^= other);
        Sha256::digest(key).ct_eq(&self.stored).into()
    }

    /// What proves to the client that the server knows of the password.
    pub(crate) fn signature(&self, messages: &str) -> Key {
        mac(&self.server, messages.as_bytes())
    }
}

/// HMAC with SHA-256.
pub(crate) fn mac(key: &[u8], text: &[u8]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// A password as SASLprep (RFC 4013) has it, or as it is, where that cannot be.
fn prepared(password: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(password).map(stringprep::saslprep) {
        Ok(Ok(Cow::Owned(text))) => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The keys of "pencil" with the salt of RFC 7677 3, in both ways of writing.
    pub(crate) const PENCIL: [&str; 2] = [
        "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,\
         wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
         wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    ];

    #[test]
    fn keys_are_read_and_recognize_their_password() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let made = ScramKeys::make(b"pencil", salt, 4096);
        for text in PENCIL {
            let keys = ScramKeys::parse(text).unwrap();
            assert!(keys == made, "{text}");
            assert!(keys.is_of(b"pencil") && !keys.is_of(b"Pencil") && !keys.is_of(b""));
        }
        assert!(!ScramKeys::make(b"", vec![1], 1).is_of(b""));
    }

    #[test]
    fn what_are_no_keys_is_refused() {
        for text in PENCIL {
            for wrong in [
                text.replace("4096", "0"),
                text.replace("4096", "-1"),
                text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
                text.replace("W22Z", "W2!Z"),
                text.replace("WG5d", ""),
                text.replacen("2dU=", "2dU", 1),
                text.replace('$', "%"),
                text.replace(',', ":"),
            ] {
                assert!(wrong == text || ScramKeys::parse(&wrong).is_none(), "{wrong}");
            }
        }
        assert!(ScramKeys::parse("").is_none() && ScramKeys::parse("pencil").is_none());
    }

    /// The examples of RFC 4013 3 that are possible.
    #[test]
    fn passwords_are_prepared() {
        for (password, same) in
            [("I\u{ad}X", "IX"), ("\u{aa}", "a"), ("\u{2168}", "IX"), ("a\u{a0}b", "a b")]
        {
            let keys = ScramKeys::make(password.as_bytes(), vec![1], 1);
            assert!(keys.is_of(same.as_bytes()), "{password}");
        }
        for password in [&b"\x07"[..], b"\xff", b"a b"] {
            let keys = ScramKeys::make(password, vec![1], 1);
            assert!(keys.is_of(password) && !keys.is_of(b"b"));
        }
    }

    #[test]
    fn nothing_known_is_nothing_to_know() {
        let scram = Scram::new("tim");
        assert!(!scram.is_known() && scram.password("") == DECLINED && !scram.is_known());
        assert!(!scram.accepts(""));
        assert_eq!(scram.password("pencil"), OK);
        assert!(scram.accepts("pencil") && !scram.accepts("pen"));
        assert!(!format!("{scram:?}").contains("pencil"));
        assert!(scram.into_keys(vec![1]) == ScramKeys::make(b"pencil", vec![1], ITERATIONS));
    }
}
