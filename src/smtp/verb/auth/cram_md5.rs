//! CRAM-MD5 (RFC 2195): the client sends a digest of its password and of a challenge.

use super::exchange::{
    Attempt, Outcome, Presented, ask, challenge, malformed, random, refuse, refuse_with,
};
use crate::smtp::dialogue::{Answered, Dialogue};
use crate::smtp::syntax::reply::Reply;
use crate::smtp::syntax::sasl::{self, is_user};

pub(super) fn run(dialogue: &mut Dialogue, attempt: &Attempt<'_>) -> Result<Outcome, Answered> {
    if attempt.initial.is_some() {
        let text = "CRAM-MD5 has no initial response";
        return refuse_with(dialogue, &Reply::new(501, "5.5.4", text), text);
    }
    let ticket = ticket(dialogue)?;
    let answer = challenge(dialogue, ticket.as_bytes())?;
    let Some((user, hash)) = sasl::cram_md5(&answer) else { return malformed(dialogue) };
    if !is_user(&user) {
        return refuse(dialogue, "Authentication invalid");
    }
    let presented = Presented { user, password: None, hash: Some(hash), ticket };
    ask(dialogue, attempt.mechanism, presented)
}

/// A challenge that was never used before: random, with the time (RFC 2195 2).
fn ticket(dialogue: &mut Dialogue) -> Result<String, Answered> {
    let random = u64::from_ne_bytes(random(dialogue)?);
    let me = dialogue.session.me();
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let time = time.map_or(0, |time| time.as_secs());
    Ok(format!("<{random:x}.{time:x}@{me}>"))
}
