//! Work for users who are not there.  A wrong password costs the time of its hash; a user who is
//! refused without one could be told from others by the time that it takes.

use std::cell::RefCell;

use super::{Password, Texts, validate};
use crate::hook::{Credentials, Session, Verdict};

/// Passwords like those that users have where nobody can list the users: the hashes of the last user
/// that was seen.
pub(crate) struct Decoy(RefCell<Vec<Password>>);

impl Decoy {
    /// `hash` is what users have, as far as is known before one was seen.
    ///
    /// # Errors
    /// It is no hash that can be checked.
    pub(crate) fn new(hash: &str) -> Result<Decoy, &'static str> {
        match Password::parse_any(hash, hash.starts_with('$'))? {
            Some(password) if password.is_hashed() => Ok(Decoy(RefCell::new(vec![password]))),
            _ => Err("a password that is not hashed"),
        }
    }

    /// Decides as [`validate`] does.  Refusing somebody whose passwords are all kept in clear costs
    /// a hash, too, since others may have one.
    pub(crate) fn validate(
        &self,
        session: &Session,
        texts: &Texts,
        passwords: Option<Vec<Password>>,
        sent: &Credentials<'_>,
    ) -> Verdict {
        let verdict = validate(session, texts, passwords.as_deref(), &self.0.borrow(), sent);
        let Some(passwords) = passwords.filter(|passwords| !passwords.is_empty()) else {
            return verdict;
        };
        if passwords.iter().any(Password::is_hashed) {
            self.0.replace(passwords);
        } else if verdict.code().is_deny() {
            for password in self.0.borrow().iter() {
                let _ = password.is_presented(sent);
            }
        }
        verdict
    }
}
