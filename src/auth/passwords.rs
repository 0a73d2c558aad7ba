//! Comparing what a client presents with a password that is kept.

mod decoy;
mod hashes;
pub(crate) use decoy::Decoy;
#[cfg(test)]
pub(crate) use hashes::tests::{HASHES, computed};

use self::hashes::Hashed;
use crate::hook::{Credentials, DECLINED, Scram, ScramKeys, Session, Verdict};
use crate::log::Level;

/// A password that somebody keeps.
pub(crate) enum Password {
    /// As it is, not empty.
    Clear(String),
    Hashed(Hashed),
    /// Keys for SCRAM.
    Scram(ScramKeys),
}

/// What stands in front of keys for SCRAM; case does not matter.
const SCRAM: &str = "{SCRAM-SHA-256}";

impl Password {
    /// Reads one of our own files; None where it is empty, which nobody can present.
    ///
    /// # Errors
    /// It is a hash that cannot be checked, or keys that are broken.
    pub(crate) fn parse(text: &str) -> Result<Option<Password>, &'static str> {
        if let Some(keys) = Password::keys(text)? {
            return Ok(Some(keys));
        }
        Hashed::parse(text).map(|hash| Password::new(hash, text))
    }

    /// The same for what other programs have written, who have more kinds of hashes; `bare` ones
    /// have nothing in front.
    ///
    /// # Errors
    /// It is, or has to be, a hash, and cannot be checked.
    pub(crate) fn parse_any(text: &str, bare: bool) -> Result<Option<Password>, &'static str> {
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(keys) = Password::keys(text)? {
            return Ok(Some(keys));
        }
        Hashed::parse_any(text, bare).map(|hash| Password::new(hash, text))
    }

    fn keys(text: &str) -> Result<Option<Password>, &'static str> {
        match text.split_at_checked(SCRAM.len()) {
            Some((scheme, keys)) if scheme.eq_ignore_ascii_case(SCRAM) => {
                let keys = ScramKeys::parse(keys.trim_end());
                keys.map(|keys| Some(Password::Scram(keys))).ok_or("keys for SCRAM that are broken")
            }
            _ => Ok(None),
        }
    }

    fn new(hash: Option<Hashed>, text: &str) -> Option<Password> {
        match hash {
            Some(hash) => Some(Password::Hashed(hash)),
            None if text.is_empty() => None,
            None => Some(Password::Clear(text.to_owned())),
        }
    }

    fn is_hashed(&self) -> bool {
        !matches!(self, Password::Clear(_))
    }

    /// Did the client present it?
    ///
    /// # Errors
    /// It is a broken hash.
    fn is_presented(&self, sent: &Credentials<'_>) -> Result<bool, String> {
        match (self, &sent.password) {
            (Password::Clear(password), _) => Ok(sent.matches(password)),
            (Password::Hashed(hash), Some(password)) => hash.is_of(password.reveal()),
            (Password::Scram(keys), Some(password)) => Ok(keys.is_of(password.reveal())),
            (Password::Hashed(_) | Password::Scram(_), None) => Ok(false),
        }
    }
}

/// The texts with which a plugin decides.
pub(crate) struct Texts {
    /// Its name.
    pub(crate) plugin: &'static str,
    /// It refuses, for whatever reason: the client must not learn which users there are.
    pub(crate) wrong: &'static str,
}

/// Decides about a user who has any of these passwords; None: there is no such user.  Where there is
/// no password the work is that of refusing somebody who has the passwords `decoy`.
pub(crate) fn validate(
    session: &Session,
    texts: &Texts,
    passwords: Option<&[Password]>,
    decoy: &[Password],
    sent: &Credentials<'_>,
) -> Verdict {
    let Some(passwords) = passwords.filter(|passwords| !passwords.is_empty()) else {
        for password in decoy {
            // Whatever comes of it.
            let _ = password.is_presented(sent);
        }
        if passwords.is_none() {
            return Verdict::declined(texts.wrong);
        }
        session.fail("missing password");
        return Verdict::deny(texts.wrong);
    };
    if sent.password.is_none() && sent.ticket.is_empty() {
        session.log(Level::Error, "skip, missing ticket");
        return Verdict::declined(texts.wrong);
    }
    if sent.password.is_none() && passwords.iter().all(Password::is_hashed) {
        session.skip("CRAM-MD5 cannot be checked with a hashed password");
        return Verdict::declined(texts.wrong);
    }
    let mut broken = None;
    for password in passwords {
        match password.is_presented(sent) {
            Ok(true) => {
                let what = if sent.password.is_some() { "clear" } else { "hash" };
                session.pass(format_args!("{what} match"));
                return Verdict::ok(texts.plugin);
            }
            Ok(false) => {}
            Err(why) => broken = Some(why),
        }
    }
    if let Some(why) = broken {
        return Verdict::failure(why);
    }
    session.fail("wrong password");
    Verdict::deny(texts.wrong)
}

/// Says what is known for SCRAM of a user who has any of these passwords.
pub(crate) fn tell(
    session: &Session,
    texts: &Texts,
    passwords: &[Password],
    scram: &Scram<'_>,
) -> Verdict {
    let known = passwords.iter().find(|password| !matches!(password, Password::Hashed(_)));
    let told = match known {
        Some(Password::Clear(password)) => scram.password(password),
        Some(Password::Scram(keys)) => scram.keys(keys.clone()),
        _ if passwords.is_empty() => DECLINED,
        _ => session.skip("SCRAM cannot be checked with a hashed password"),
    };
    told.with_text(texts.plugin)
}
