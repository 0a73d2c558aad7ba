//! Runs one handler, whichever it is: in time, and without a panic that goes further.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::hook::loaded::Loaded;
use crate::hook::{Decision, Failure, Hook, Verdict};
use crate::sys::{deadline, panics};

/// Runs a handler of any hook.  A process that serves clients ends when the handler is overdue.
///
/// # Errors
/// The handler says so, or it panicked.
pub(super) fn guarded(plugin: &Loaded, hook: Hook, run: impl FnOnce() -> Verdict) -> Decision {
    let _alarm = deadline::arm(&plugin.name, hook.name(), plugin.settings.limit());
    let verdict = catch_unwind(AssertUnwindSafe(run)).map_err(|_| Failure::new(panics::last()))?;
    verdict.decided()
}
