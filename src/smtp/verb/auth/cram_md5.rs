//! CRAM-MD5 (RFC 2195): the client sends a digest of its password and of a challenge.

use super::exchange::{challenge, malformed, random, refuse};
use super::passwords::is_user;
use super::{Mechanism, Outcome, Presented, ask};
use crate::smtp::session::Dialogue;

pub(super) fn run(
    dialogue: &mut Dialogue,
    mechanism: &Mechanism,
    initial: Option<&str>,
) -> Option<Outcome> {
    if initial.is_some() {
        dialogue.say(501, "5.5.4", "CRAM-MD5 has no initial response");
        return None;
    }
    let ticket = ticket(dialogue)?;
    let answer = challenge(dialogue, ticket.as_bytes())?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((user, hash)) = answer.rsplit_once(' ') else { return malformed(dialogue) };
    let hash = hash.trim().to_ascii_lowercase().into_bytes();
    let user = user.trim().to_owned();
    if !is_user(&user) || hash.is_empty() {
        return refuse(dialogue, "Authentication invalid");
    }
    Some(ask(dialogue, mechanism, Presented { user, password: None, hash: Some(hash), ticket }))
}

/// A challenge that was never used before: random, with the time (RFC 2195 2).
fn ticket(dialogue: &mut Dialogue) -> Option<String> {
    let random = u64::from_ne_bytes(random(dialogue)?);
    let me = dialogue.session.me();
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let time = time.map_or(0, |time| time.as_secs());
    Some(format!("<{random:x}.{time:x}@{me}>"))
}
