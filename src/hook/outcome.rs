//! What comes of asking a hook.

use std::collections::BTreeMap;

use crate::hook::verdict::Decision;
use crate::hook::{DECLINED, Verdict};
use crate::mail::Address;

/// What comes of asking a hook: the verdict, and what handlers said beside it.  A handler that fails
/// has said nothing.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// What was decided, if no handler failed.
    pub(crate) verdict: Decision,
    /// Replies with which plugins answer the client themselves, in order: code and text.
    pub(crate) said: Vec<(u16, String)>,
    /// Is the connection to be closed?
    pub(crate) hang_up: bool,
    /// At `mail` and `rcpt`: the address in the place of the one that was asked about.
    pub(crate) address: Option<Address>,
    /// At `queue`: what becomes of single recipients, by their place, where that differs from the
    /// verdict.
    pub(crate) each: BTreeMap<usize, Verdict>,
}

impl Default for Outcome {
    /// Nobody has decided or said anything.
    fn default() -> Outcome {
        Outcome {
            verdict: Ok(DECLINED),
            said: vec![],
            hang_up: false,
            address: None,
            each: BTreeMap::new(),
        }
    }
}
