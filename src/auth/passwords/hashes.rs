//! Passwords that are kept as hashes, those of crypt(5) and those of Argon2.

mod md5_crypt;

use argon2::password_hash::{Error, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use sha_crypt::ShaCrypt;
use yescrypt::Yescrypt;

/// What stands in front of a hash; case does not matter.  The first is for all of them, the others
/// are those of Dovecot.
const SCHEMES: [&str; 6] = [
    "{CRYPT}",
    "{SHA256-CRYPT}",
    "{SHA512-CRYPT}",
    "{ARGON2ID}",
    // Only for what other programs have made.
    "{BLF-CRYPT}",
    "{MD5-CRYPT}",
];

/// How many of them, from the first on, may stand in files of ours.
const OUR_SCHEMES: usize = 4;

/// A kind of hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ShaCrypt,
    Yescrypt,
    Argon2,
    Bcrypt,
    Md5Crypt,
}

/// Each kind by what stands between its first dollars, and how many characters its last part has.
/// A part of a hash must not do for all of it.
const KINDS: [(&str, Kind, usize); 8] = [
    ("5", Kind::ShaCrypt, 43),
    ("6", Kind::ShaCrypt, 86),
    ("y", Kind::Yescrypt, 43),
    ("argon2id", Kind::Argon2, 43),
    // Only for what other programs have made.
    ("2a", Kind::Bcrypt, 53),
    ("2b", Kind::Bcrypt, 53),
    ("2y", Kind::Bcrypt, 53),
    ("1", Kind::Md5Crypt, 22),
];

/// How many of them, from the first on, may stand in files of ours.
const OUR_KINDS: usize = 4;

/// A hash of a kind that can be checked.
#[derive(PartialEq, Eq)]
pub(crate) struct Hashed {
    kind: Kind,
    text: String,
}

impl Hashed {
    /// Reads a password of one of our files: None where it is in clear, an error where it is a hash
    /// that cannot be checked.
    pub(crate) fn parse(text: &str) -> Result<Option<Hashed>, &'static str> {
        let scheme = scheme(text, &SCHEMES[..OUR_SCHEMES]);
        scheme.map(|scheme| Hashed::read(&text[scheme.len()..], &KINDS[..OUR_KINDS])).transpose()
    }

    /// The same for what other programs have written, who have more kinds; `bare` hashes have
    /// nothing in front.
    pub(crate) fn parse_any(text: &str, bare: bool) -> Result<Option<Hashed>, &'static str> {
        match scheme(text, &SCHEMES) {
            Some(scheme) => Hashed::read(&text[scheme.len()..], &KINDS).map(Some),
            None if bare => Hashed::read(text, &KINDS).map(Some),
            None => Ok(None),
        }
    }

    fn read(text: &str, kinds: &[(&str, Kind, usize)]) -> Result<Hashed, &'static str> {
        let text = text.trim_end();
        let parts: Vec<_> = text.split('$').collect();
        let row = parts.get(1).and_then(|id| kinds.iter().find(|row| row.0 == *id));
        let Some((_, kind, length)) = row.filter(|_| parts[0].is_empty()) else {
            return Err("a password hash of an unknown kind");
        };
        let is_whole = parts.len() > 3 && parts[parts.len() - 1].len() == *length;
        if !is_whole || (*kind == Kind::Argon2 && PasswordHash::new(text).is_err()) {
            return Err("a password hash that is broken");
        }
        Ok(Hashed { kind: *kind, text: text.to_owned() })
    }

    /// What decides how much work it is: all that stands in front of the salt.
    #[cfg(test)]
    fn cost(&self) -> &str {
        let parts = if self.kind == Kind::Bcrypt { 1 } else { 2 };
        let salt = self.text.rsplitn(parts + 1, '$').last().map_or(0, str::len);
        &self.text[..salt]
    }

    /// Is it the hash of this password?  Takes as much time and memory as the hash says.
    ///
    /// # Errors
    /// The hash is broken; the text tells nothing of it.
    pub(crate) fn is_of(&self, password: &[u8]) -> Result<bool, String> {
        let hash = self.text.as_str();
        #[cfg(test)]
        tests::COMPUTED.with_borrow_mut(|computed| computed.push(self.cost().to_owned()));
        let checked = match self.kind {
            Kind::ShaCrypt => ShaCrypt::default().verify_password(password, hash),
            Kind::Yescrypt => Yescrypt::default().verify_password(password, hash),
            Kind::Argon2 => Argon2::default().verify_password(password, hash),
            Kind::Bcrypt => match bcrypt::verify(password, hash) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Error::PasswordInvalid),
                Err(error) => return Err(format!("the password hash cannot be used: {error}")),
            },
            Kind::Md5Crypt if md5_crypt::is_of(password, hash) => Ok(()),
            Kind::Md5Crypt => Err(Error::PasswordInvalid),
        };
        match checked {
            Ok(()) => Ok(!password.is_empty()),
            Err(Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(format!("the password hash cannot be used: {error}")),
        }
    }
}

/// The scheme that stands in front, as the table has it.
fn scheme(text: &str, known: &[&'static str]) -> Option<&'static str> {
    let is_there = |scheme: &&&str| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    known.iter().find(is_there).copied()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        pub(super) static COMPUTED: RefCell<Vec<String>> = const { RefCell::new(vec![]) };
    }

    /// The hashes that were computed in this thread since this was last asked, each by its cost.
    pub(crate) fn computed() -> Vec<String> {
        COMPUTED.take()
    }

    /// Hashes of "good pass" that other programs have made.
    pub(crate) const HASHES: [&str; 5] = [
        "{CRYPT}$5$rounds=1000$saltstring$6wvdZylXmQ/oiIOjW2XM2D8psANzHg3yCV0NCJ4r73D",
        "{crypt}$6$rounds=1000$saltstring$JhFmgMdwg/e0L2ZpOnFMLJQnjFcv2xQ.h5KPrYLB09LeIetYrtDmE6SkSkliUxQ/pTuPZv9/5I27mur9yVB.K/",
        "{SHA512-CRYPT}$6$abcdefgh$I1iYYx/ybrIv0ZNTU0owruuBnP4RbXuHRhOAdo2eO8fslZUZfsMdEIeXD1sRR6XWLXQh0X8G13Bn0ReIp44B9.",
        "{CRYPT}$y$j75$abcdefghijklmnopqrst./$rPSLmrUkAXT4DZb/NhuK5/IsWA2/6S8tDgglQynEu44",
        "{ARGON2ID}$argon2id$v=19$m=1024,t=2,p=1$YWJjZGVmZ2gxMjM0NTY3OA$enj8gRsDyrfGWWLCM462losKvE3YPMy+GM3cqmKG7y0",
    ];

    #[test]
    fn hashes_of_other_programs_are_understood() {
        for text in HASHES {
            let hash = Hashed::parse(text).unwrap().unwrap();
            assert_eq!(hash.is_of(b"good pass"), Ok(true), "{text}");
            for wrong in [&b"good pas"[..], b"good passs", b"Good pass", b""] {
                assert_eq!(hash.is_of(wrong), Ok(false), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_whole_hash_is_refused() {
        for text in HASHES {
            let cut = |from: usize| Hashed::parse(&text[..text.len() - from]).err();
            assert_eq!(cut(1), Some("a password hash that is broken"), "{text}");
            let last = text.rsplit('$').next().unwrap().len();
            assert_eq!(cut(last), Some("a password hash that is broken"), "{text}");
            assert!(cut(last + 1).is_some(), "{text}");
        }
        for text in [
            "{CRYPT}",
            "{CRYPT}*",
            "{CRYPT}!$6$a$b",
            "{CRYPT}$1$abc$def",
            "{CRYPT}$2b$10$x",
            "{ARGON2ID}x",
        ] {
            assert_eq!(
                Hashed::parse(text).err(),
                Some("a password hash of an unknown kind"),
                "{text}"
            );
        }
        let strange = format!("{{CRYPT}}$y$!!!$salt${}", "x".repeat(43));
        assert!(Hashed::parse(&strange).unwrap().unwrap().is_of(b"good pass").is_err());
    }

    /// Hashes of "good pass" of kinds that are not for our files.
    const OTHERS: [&str; 6] = [
        "$1$abcdefgh$RmHkirzYW/Ve3j6kdAK/H/",
        "{CRYPT}$1$x$fY05u7Z9mFn8Jqc9vt4xI.",
        "{md5-crypt}$1$$xuFqDbiJPMDNc7Cy4RChV1",
        "$2b$04$abcdefghijklmnopqrstuuyep9w943Bjonb19J9UkIAs0G2uf8NVS",
        "{BLF-CRYPT}$2y$05$012345678901234567890uJC3SANl4CHJzd3zpnNjTdlQHKSkxmHO",
        "$2a$04$zyxwvutsrqponmlkjihgfeqGQk4BTmakR9.LxsNQifONCkITh3lYa",
    ];

    #[test]
    fn other_programs_have_more_kinds() {
        for text in OTHERS.into_iter().chain(HASHES) {
            let hash = Hashed::parse_any(text, true).unwrap().unwrap();
            assert_eq!(hash.is_of(b"good pass"), Ok(true), "{text}");
            for wrong in [&b"good pas"[..], b"good passs", b"Good pass", b""] {
                assert_eq!(hash.is_of(wrong), Ok(false), "{text}");
            }
            assert!(Hashed::parse_any(&text[..text.len() - 1], true).is_err(), "{text}");
            let is_bare = text.starts_with('$');
            assert_eq!(Hashed::parse_any(text, false).unwrap().is_none(), is_bare, "{text}");
        }
        for text in OTHERS {
            assert!(
                Hashed::parse(text).is_ok_and(|hash| hash.is_none()) || text.starts_with("{CRYPT}")
            );
        }
        for text in ["", "abXJnggxhB/yWI", "{SSHA}x", "good pass"] {
            assert!(Hashed::parse_any(text, true).is_err(), "{text}");
            assert!(Hashed::parse_any(text, false).unwrap().is_none(), "{text}");
        }
        let strange =
            Hashed::parse_any("$2b$xx$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234", true);
        assert!(strange.unwrap().unwrap().is_of(b"good pass").is_err());
    }

    #[test]
    fn a_password_in_clear_may_look_like_many_things() {
        for text in ["", "$6$abc$def", "{PLAIN}x", "{CRYPT", "{\u{e9}}", "good pass"] {
            assert!(Hashed::parse(text).is_ok_and(|hash| hash.is_none()), "{text}");
        }
    }
}
