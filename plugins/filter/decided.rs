//! What comes of a decision.

use super::protocol;
use crate::hook::{Code, Verdict};

/// A decision, kept.
pub(super) enum Decided {
    Proceed,
    Junk,
    Refuse(Verdict),
    Rewrite(String),
}

/// The refusal that a filter's reply stands for.
pub(super) fn refusal(text: &str, closes: bool) -> Verdict {
    let (code, text) = protocol::reply(text).unwrap_or((421, "Internal server error"));
    let kind = match (code / 100, closes || code == 421) {
        (4, false) => Code::DenySoft,
        (4, true) => Code::DenySoftDisconnect,
        (_, false) => Code::Deny,
        (_, true) => Code::DenyDisconnect,
    };
    Verdict::new(kind, with_status_behind(text)).with_reply(code)
}

/// A text with its enhanced status where replies of plugins have it: `no (#5.7.1)` for `5.7.1 no`.
pub(super) fn with_status_behind(text: &str) -> String {
    let (status, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut numbers = status.split('.');
    let is_class = matches!(numbers.next(), Some("4" | "5"));
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let is_status = is_class && status.split('.').count() == 3 && numbers.all(is_number);
    if is_status { format!("{rest} (#{status})") } else { text.to_owned() }
}
