//! NOOP (RFC 5321 4.1.1.9).

use crate::hook::{Call, Hook};
use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::syntax::reply::Reply;

pub(crate) fn noop(dialogue: &mut Dialogue, argument: &str) -> Answer {
    let words: Vec<&str> = argument.split_whitespace().collect();
    dialogue.ask(Hook::Noop, &Call::Words("noop", &words))?;
    Ok(Reply::new(250, "2.0.0", "OK"))
}
