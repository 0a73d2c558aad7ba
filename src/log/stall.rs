//! Logs that nobody reads.  A log that takes no line for a second has stalled: no session and no
//! parent waits for it again until it takes one; lines are counted in the meantime.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sys::shared;

/// How long a line may wait where the log has taken the one before it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Since when the log has stalled, in milliseconds since 1970, 0 where it has not; and how many lines
/// it did not take.
const SINCE: usize = 0;
const LOST: usize = 1;
const CELLS: usize = 2;

/// Whether one log has stalled; processes that are forked later share it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stall(&'static [AtomicU64]);

impl Stall {
    /// A log that works.
    pub(crate) fn new() -> Stall {
        // Without memory to share, processes find out on their own.
        let own = || &*Box::leak(Box::new([const { AtomicU64::new(0) }; CELLS]));
        Stall(shared::cells(CELLS).unwrap_or_else(|_| own()))
    }

    /// How long the next line may wait.
    pub(crate) fn timeout(self) -> Duration {
        if self.age().is_some() { Duration::ZERO } else { TIMEOUT }
    }

    /// For how long the log has been stalled; None: it works.
    pub(crate) fn age(self) -> Option<Duration> {
        match self.0[SINCE].load(Ordering::Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(now().saturating_sub(since))),
        }
    }

    /// A line waited in vain.
    pub(crate) fn begins(self) {
        self.0[SINCE].store(now(), Ordering::Relaxed);
        self.loses();
    }

    /// A line was not tried, or in vain.
    pub(crate) fn loses(self) {
        self.0[LOST].fetch_add(1, Ordering::Relaxed);
    }

    /// A line was taken.  Some: what to say of those that were not.
    pub(crate) fn ends(self) -> Option<String> {
        self.age()?;
        self.0[SINCE].store(0, Ordering::Relaxed);
        match self.0[LOST].swap(0, Ordering::Relaxed) {
            0 => None,
            lost => Some(format!("nobody read this log for a while, {lost} lines are missing")),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_millis() as u64)
}
