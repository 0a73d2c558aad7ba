//! What MAIL and RCPT have in common.

use crate::hook::{Call, Code, Extension, Hook};
use crate::mail::Address;
use crate::smtp::dialogue::{Answered, Dialogue};
use crate::smtp::syntax::path::{DSN, Malformed, SMTPUTF8, parse};
use crate::smtp::syntax::reply::Reply;
use crate::state::Params;

const SYNTAX: &str = "Syntax error in command";
const PARAMETERS: &str = "Syntax error in parameters";

/// Why there is no path.
pub(crate) enum Unread {
    /// The argument has none.
    NoPath,
    /// Another reason, in these words.
    Other(String),
}

impl Unread {
    /// The reply that says so; `no_path` are the words for an argument without a path.
    pub(crate) fn reply(self, no_path: &'static str) -> Reply {
        match self {
            Unread::NoPath => Reply::new(501, "5.5.4", no_path),
            Unread::Other(text) => Reply::new(501, "5.5.4", text),
        }
    }
}

/// What a command's argument says, or what a plugin makes of it: the path as text, and the
/// parameters.
///
/// # Errors
/// A plugin failed, and the client has its answer.
pub(crate) fn path_and_params(
    dialogue: &mut Dialogue,
    hook: Hook,
    argument: &str,
    keyword: &str,
) -> Result<Result<(String, Params), Unread>, Answered> {
    let parsed = match dialogue.consult(hook, &Call::Line(argument)) {
        Ok(parsed) => parsed,
        failed => dialogue.answer(hook, failed, "")?,
    };
    let other = |text: &str| Err(Unread::Other(text.to_owned()));
    Ok(match (parsed.code(), parsed.text()) {
        (Code::Ok, _) => parsed.into_path().map_or_else(|| other(SYNTAX), Ok),
        (Code::Declined, _) => match parse(argument, keyword) {
            Ok((path, params)) => Ok((path.to_owned(), params)),
            Err(Malformed::Path) => Err(Unread::NoPath),
            Err(Malformed::Command) => other(SYNTAX),
            Err(Malformed::Parameters) => other(PARAMETERS),
        },
        (_, "") => other(SYNTAX),
        (_, text) => other(text),
    })
}

/// The reply to parameters that are malformed.
pub(crate) fn malformed_params() -> Reply {
    Reply::new(501, "5.5.4", PARAMETERS)
}

/// An address outside ASCII needs SMTPUTF8 among the parameters of its MAIL command.  Octets that
/// are no UTF-8 were replaced when the line was read.
pub(crate) fn is_readable(address: &Address, params: &Params) -> bool {
    address.is_ascii()
        || (params.get(SMTPUTF8).is_some()
            && !address.address().contains(char::REPLACEMENT_CHARACTER))
}

/// The parameters without those that mean something only where the extension is offered.
pub(crate) fn meant(dialogue: &Dialogue, params: Params) -> Params {
    let unknown: &[&str] = if dialogue.offers(Extension::Dsn) { &[] } else { &DSN };
    params.without(unknown)
}
