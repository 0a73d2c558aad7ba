//! Handlers outside of sessions, and whose a handler is.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::error::Result;
use crate::hook::{Hook, Incoming, Verdict};
use crate::log::Record;
use crate::store::{Kept, Table};

pub(crate) type IncomingFn = dyn Fn(&Incoming<'_>) -> Verdict;
pub(crate) type ForkFn = dyn Fn(&Config) -> Verdict;
pub(crate) type LogFn = dyn Fn(&Record<'_>) -> Verdict;

/// Brings something that processes inherit up to date; see [`super::Hooks::before_fork`].
pub(crate) type BeforeFork = Box<dyn Fn(&Config) -> bool>;

/// Says what an entry of the store means.
pub(crate) type ExplainFn = dyn Fn(&Kept) -> String;

/// What a command does with a plugin's table of the store and the word that it is given; and what it
/// says.
pub(crate) type CommandFn = dyn Fn(&Table, &str) -> Result<String>;

/// How many connections an address may have, where it is so many by what others say.
pub(crate) type MaxFn = dyn Fn(IpAddr, usize) -> usize;

/// Lets go of something.
pub(crate) type LetGo = Box<dyn Fn()>;

/// Runs when a process begins to wait for a client.  Its argument says whether that takes long.
pub(crate) type BeforeWait = Box<dyn Fn(&dyn Fn() -> bool)>;

/// What a worker without a client is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It waits for one.
    Waits,
    /// It ends.
    Ends,
}

/// Closes what is open for too long while a worker has no client.  Returns how long it need not be
/// asked again; None: not until there was a client.
pub(crate) type RestFn = dyn Fn(Rest) -> Option<Duration>;

/// A handler, and whose it is.
pub(super) struct Handler<F: ?Sized> {
    pub(super) plugin: u16,
    pub(super) id: u16,
    /// See [`crate::hook::Hooks::number_last`].
    pub(super) number: Option<i64>,
    pub(super) run: Rc<F>,
}

/// The id of a handler whose results are not kept: one that stands for those that came after all
/// plugins were loaded, or that is asked about what others have decided.
pub(super) const LATE: u16 = u16::MAX;

impl<F: ?Sized> Handler<F> {
    pub(super) fn is_late(&self) -> bool {
        self.id == LATE
    }
}

/// The hooks for which handlers came after all plugins were loaded: a bit for each hook.
#[derive(Debug, Default)]
pub(crate) struct LateHooks(Cell<u64>);

impl LateHooks {
    pub(crate) fn set(&self, hooks: impl Iterator<Item = Hook>) {
        self.0.set(hooks.fold(0, |bits, hook| bits | 1 << hook as u8));
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.0.get() >> hook as u8 & 1 == 1
    }
}
