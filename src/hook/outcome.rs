//! What comes of asking a hook.

use std::collections::BTreeMap;

use crate::hook::Verdict;
use crate::hook::verdict::Decision;
use crate::mail::Address;

/// What comes of asking a hook.  A handler that fails has said nothing.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What was decided, if no handler failed.
    pub(crate) verdict: Decision,
    /// What handlers said beside the verdict; most say nothing.
    pub(crate) said: Option<Box<Said>>,
}

/// What handlers say beside their verdicts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// Replies with which plugins answer the client themselves, in order: code and text.
    pub(crate) replies: Vec<(u16, String)>,
    /// Is the connection to be closed?
    pub(crate) hang_up: bool,
    /// At `mail` and `rcpt`: the address in the place of the one that was asked about.
    pub(crate) address: Option<Address>,
    /// At `queue`: what becomes of single recipients, by their place, where that differs from the
    /// verdict.
    pub(crate) each: BTreeMap<usize, Verdict>,
}
