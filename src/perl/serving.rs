//! A worker's Perl process, and what the two are doing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::perl::link::Link;
use crate::perl::replica::Replica;

/// A connection to a Perl process with what that one knows.
pub(super) struct Serving {
    pub(super) link: Link,
    pub(super) replica: RefCell<Replica>,
    /// Has nobody asked it anything yet?
    pub(super) is_new: Cell<bool>,
    /// What it was told of the plugins.
    pub(super) greeted: Cell<Greeted>,
    /// The call that is under way, if Perl runs several handlers of it.
    run: RefCell<Option<Run>>,
}

/// What a Perl process was told of the plugins: only a session knows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Greeted {
    #[default]
    Nothing,
    Outside,
    InSession,
}

/// A call of several handlers: what the others say comes when it is their turn.
#[derive(Debug)]
pub(super) struct Run {
    hook: &'static str,
    rest: VecDeque<i64>,
    began: Instant,
    /// When the handler whose turn it is was called.
    turn: Instant,
}

impl Serving {
    pub(super) fn new(link: Link) -> Serving {
        let (replica, greeted, run) = Default::default();
        Serving { link, replica, is_new: Cell::new(true), greeted, run }
    }

    /// Perl is called now, for a handler and those that follow it.
    pub(super) fn begins(&self, hook: &'static str, following: &[i64]) {
        let now = Instant::now();
        let rest = following.iter().copied().collect();
        let run = Run { hook, rest, began: now, turn: now };
        self.run.replace((!following.is_empty()).then_some(run));
    }

    /// Is a call under way whose next handler is this one?  Since when it runs then.
    pub(super) fn goes_on_with(&self, hook: &str, handler: i64) -> Option<Instant> {
        let mut run = self.run.borrow_mut();
        let run = run.as_mut().filter(|run| run.hook == hook)?;
        (run.rest.front() == Some(&handler)).then(|| run.rest.pop_front())?;
        Some(run.turn)
    }

    /// Is a call under way?
    pub(super) fn is_running(&self) -> bool {
        self.run.borrow().is_some()
    }

    /// A handler is done after so long, and the next one runs.  False: there is none.
    pub(super) fn steps(&self, since: Duration) -> bool {
        let mut run = self.run.borrow_mut();
        let Some(run) = run.as_mut().filter(|run| !run.rest.is_empty()) else { return false };
        run.turn = run.began.checked_add(since).unwrap_or(run.turn);
        true
    }

    /// The call is over, be there handlers left or not.
    pub(super) fn ends(&self) {
        self.run.take();
    }

    /// Does something that may call Perl, while the call that is under way waits.  False: what it
    /// called is not over.
    pub(super) fn apart<R>(&self, work: impl FnOnce() -> R) -> (R, bool) {
        let outer = self.run.take();
        let done = work();
        let is_over = self.run.replace(outer).is_none();
        (done, is_over)
    }
}
