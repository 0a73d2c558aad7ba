//! Why the store gives no answer.

use std::fmt;

use crate::metrics::Trouble;

/// The store did not answer, or did not take what it was given; the text is for the log.
///
/// A handler that returns it with `?` has failed, so that the plugin's argument `on_error` counts.
/// A plugin that can do without the store goes on as if nothing were known: `unwrap_or_default`.  The
/// log has been told in either case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    reason: String,
    extent: Extent,
}

/// How much of the store is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    OneAnswer,
    All,
    Damaged,
}

impl Unavailable {
    /// This one question got no answer.
    pub(super) fn now(reason: impl fmt::Display) -> Unavailable {
        Unavailable { reason: reason.to_string(), extent: Extent::OneAnswer }
    }

    /// No question would get an answer now: the store is left alone for a moment.
    pub(super) fn down(reason: impl fmt::Display) -> Unavailable {
        Unavailable { reason: reason.to_string(), extent: Extent::All }
    }

    /// The file is damaged.
    pub(super) fn damaged(reason: impl fmt::Display) -> Unavailable {
        Unavailable { reason: reason.to_string(), extent: Extent::Damaged }
    }

    /// The same for all questions.
    pub(super) fn for_all(mut self) -> Unavailable {
        if self.extent == Extent::OneAnswer {
            self.extent = Extent::All;
        }
        self
    }

    /// Is the file damaged?
    pub(super) fn is_damage(&self) -> bool {
        self.extent == Extent::Damaged
    }

    /// Is it left alone for a moment?
    pub(super) fn is_down(&self) -> bool {
        self.extent != Extent::OneAnswer
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store is not available: {}", self.reason)
    }
}

impl std::error::Error for Unavailable {}

impl Trouble for Unavailable {}
