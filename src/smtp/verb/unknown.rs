//! A line that begins with none of our verbs.

use crate::hook::{Call, Hook};
use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::syntax::line::split;
use crate::smtp::syntax::reply::Reply;

pub(crate) fn unknown(dialogue: &mut Dialogue, line: &str) -> Answer {
    let (verb, argument) = split(line);
    unrecognized(dialogue, verb, argument)
}

/// Answers a command that does not exist, or not for this client; `verb` is empty for an empty line.
pub(crate) fn unrecognized(dialogue: &mut Dialogue, verb: &str, argument: &str) -> Answer {
    let call = Call::Command(&verb.to_lowercase(), argument.trim());
    dialogue.ask(Hook::UnrecognizedCommand, &call)?;
    Ok(Reply::new(500, "5.5.1", "Unrecognized command"))
}
