//! CRAM-MD5 (RFC 2195): the client sends a digest of its password and of a challenge.

use super::exchange::{challenge, malformed, random, refuse, refuse_with};
use super::passwords::is_user;
use super::{Mechanism, Outcome, Presented, ask};
use crate::smtp::dialogue::Dialogue;
use crate::smtp::syntax::reply::Reply;

/// The length of a digest in hexadecimal digits.
const DIGEST: usize = 32;

pub(super) fn run(
    dialogue: &mut Dialogue,
    mechanism: &Mechanism,
    initial: Option<&str>,
) -> Option<Outcome> {
    if initial.is_some() {
        let text = "CRAM-MD5 has no initial response";
        return refuse_with(dialogue, &Reply::new(501, "5.5.4", text), text);
    }
    let ticket = ticket(dialogue)?;
    let answer = challenge(dialogue, ticket.as_bytes())?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((user, hash)) = answer.rsplit_once(' ') else { return malformed(dialogue) };
    let hash = hash.trim().to_ascii_lowercase().into_bytes();
    let user = user.trim().to_owned();
    // What is no digest may be a password, and what stands in front of its last blank no user.
    if hash.len() != DIGEST || !hash.iter().all(u8::is_ascii_hexdigit) {
        return malformed(dialogue);
    }
    if !is_user(&user) {
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
