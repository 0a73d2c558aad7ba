//! PLAIN (RFC 4616) and LOGIN: the client sends its password.

use super::exchange::{
    Attempt, Mechanism, Outcome, Presented, ask, challenge, decoded, random, refuse, response,
};
use crate::hook::{Code, Verdict};
use crate::smtp::dialogue::{Answered, Dialogue};
use crate::smtp::syntax::reply::Reply;
use crate::smtp::syntax::sasl::{self, is_user};

/// The longest password in octets.  Hashing a longer one would cost more than the client's line.
const LONGEST_PASSWORD: usize = 1024;

pub(super) fn plain(dialogue: &mut Dialogue, attempt: &Attempt<'_>) -> Result<Outcome, Answered> {
    let message = match attempt.initial {
        Some(initial) => decoded(dialogue, initial)?,
        None => {
            dialogue.reply(&Reply::new(334, "", ""));
            response(dialogue)?
        }
    };
    let Some([identity, user, password]) = sasl::plain(&message) else {
        return refuse(dialogue, "Authentication invalid");
    };
    let user = String::from_utf8_lossy(user).into_owned();
    if !is_user(&user) {
        return refuse(dialogue, "Authentication invalid");
    }
    if !identity.is_empty() && identity != user.as_bytes() {
        return refuse(dialogue, &format!("Authentication invalid for {user}"));
    }
    check(dialogue, attempt.mechanism, user, password.to_vec())
}

pub(super) fn login(dialogue: &mut Dialogue, attempt: &Attempt<'_>) -> Result<Outcome, Answered> {
    let user = match attempt.initial {
        Some(initial) => decoded(dialogue, initial)?,
        None => challenge(dialogue, b"Username:")?,
    };
    let password = challenge(dialogue, b"Password:")?;
    let user = String::from_utf8_lossy(&user).into_owned();
    check(dialogue, attempt.mechanism, user, password)
}

fn check(
    dialogue: &mut Dialogue,
    mechanism: &Mechanism,
    user: String,
    mut password: Vec<u8>,
) -> Result<Outcome, Answered> {
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
    let mut outcome = ask(dialogue, mechanism, presented)?;
    if is_too_long && outcome.verdict.code() == Code::Ok {
        outcome.verdict = Verdict::deny("");
    }
    Ok(outcome)
}
