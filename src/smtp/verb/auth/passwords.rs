//! PLAIN (RFC 4616) and LOGIN: the client sends its password.

use super::exchange::{challenge, decoded, random, refuse, response};
use super::{Mechanism, Outcome, Presented, ask};
use crate::hook::{Code, Verdict};
use crate::smtp::dialogue::Dialogue;

/// The longest password in octets.  Hashing a longer one would cost more than the client's line.
const LONGEST_PASSWORD: usize = 1024;

/// The longest user name in octets (RFC 4616 2).
const LONGEST_USER: usize = 255;

pub(super) fn plain(
    dialogue: &mut Dialogue,
    mechanism: &Mechanism,
    initial: Option<&str>,
) -> Option<Outcome> {
    let message = match initial {
        Some(initial) => decoded(dialogue, initial)?,
        None => {
            dialogue.say(334, "", "");
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
    mut password: Vec<u8>,
) -> Option<Outcome> {
    if !is_user(&user) || password.is_empty() {
        return refuse(dialogue, "Authentication invalid");
    }
    if password != user.as_bytes() {
        dialogue.session.keep_password(&password);
    }
    let is_too_long = password.len() > LONGEST_PASSWORD;
    if is_too_long {
        // Plugins do the same work, and give the same answer, as for any password that is wrong.
        password = random::<32>(dialogue)?.map(|octet| b'!' + octet % 64).to_vec();
    }
    let presented = Presented { user, password: Some(password), hash: None, ticket: String::new() };
    let mut outcome = ask(dialogue, mechanism, presented);
    if is_too_long && outcome.verdict.code() == Code::Ok {
        outcome.verdict = Verdict::deny("");
    }
    Some(outcome)
}

/// A user name is shown in replies, logs and headers: no control characters get in.
pub(super) fn is_user(user: &str) -> bool {
    (1..=LONGEST_USER).contains(&user.len()) && !user.chars().any(char::is_control)
}
