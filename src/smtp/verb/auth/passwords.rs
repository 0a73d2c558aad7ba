//! PLAIN (RFC 4616) and LOGIN: the client sends its password.

use super::exchange::{challenge, decoded, refuse, response};
use super::{Mechanism, Outcome, Presented, ask};
use crate::smtp::session::Dialogue;

pub(super) fn plain(
    dialogue: &mut Dialogue,
    mechanism: &Mechanism,
    initial: Option<&str>,
) -> Option<Outcome> {
    let message = match initial {
        Some(initial) => decoded(dialogue, initial)?,
        None => {
            // Not "334 " but as clients of qpsmtpd have always seen it.
            dialogue.say(334, "", " ");
            response(dialogue)?
        }
    };
    let mut parts = message.split(|byte| *byte == 0);
    let (Some(identity), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return refuse(dialogue, "Authentication invalid");
    };
    let user = String::from_utf8_lossy(user).into_owned();
    if !is_user(&user) {
        return refuse(dialogue, "Authentication invalid");
    }
    if !identity.is_empty() && identity != user.as_bytes() {
        return refuse(dialogue, &format!("Authentication invalid for {user}"));
    }
    check(dialogue, mechanism, user, password.to_vec())
}

pub(super) fn login(
    dialogue: &mut Dialogue,
    mechanism: &Mechanism,
    initial: Option<&str>,
) -> Option<Outcome> {
    let user = match initial {
        Some(initial) => decoded(dialogue, initial)?,
        None => challenge(dialogue, b"Username:")?,
    };
    let password = challenge(dialogue, b"Password:")?;
    check(dialogue, mechanism, String::from_utf8_lossy(&user).into_owned(), password)
}

fn check(
    dialogue: &mut Dialogue,
    mechanism: &Mechanism,
    user: String,
    password: Vec<u8>,
) -> Option<Outcome> {
    if !is_user(&user) || password.is_empty() {
        return refuse(dialogue, "Authentication invalid");
    }
    let presented = Presented { user, password: Some(password), hash: None, ticket: String::new() };
    Some(ask(dialogue, mechanism, presented))
}

/// A user name is shown in replies, logs and headers: no control characters get in.
pub(super) fn is_user(user: &str) -> bool {
    !user.is_empty() && !user.chars().any(char::is_control)
}
