//! What is counted: THE table of metrics, and memory in which every process counts for itself.
//!
//! A parent makes a [`Board`], and each of its processes has a row there ([`Cells`]), in which it alone
//! counts: no lock, no system call, and what a process has counted outlives it.  Who wants to know adds
//! up the rows.  A process without a parent has no row, nor has one where no status is
//! served: it counts nothing.
//!
//! What is counted by a name, such as a plugin's, has a series of its own from when it is first counted:
//! see `cells.rs`.

mod buckets;
mod cells;
mod outside;
mod recent;
mod remembered;
mod table;

use std::cell::RefCell;
use std::time::Duration;

pub use buckets::BOUNDS;
pub use cells::{Board, Cells, Series};
pub use outside::{Outside, Spent, Trouble, answered, spent};
pub use remembered::{Remembered, remembered};
pub use table::{Kind, Metric, Row, TABLE};

thread_local! {
    static OWN: RefCell<Option<Cells>> = const { RefCell::new(None) };
}

/// From now on this process counts in these cells, or not at all.
pub(crate) fn keep(cells: Option<Cells>) {
    OWN.replace(cells);
}

/// Does this process count?
pub fn is_kept() -> bool {
    OWN.with_borrow(Option::is_some)
}

/// Counts `count` more of what has these labels, whose names are in the metric's row.
pub fn add(metric: Metric, labels: &[&str], count: u64) {
    with_own(|own| own.add(metric, labels, 0, count));
}

/// Remembers an event for who looks at what happens; a long one is forgotten at once.
pub fn remember(event: &Remembered<'_>) {
    with_own(|own| own.remember(&remembered::joined(event)));
}

/// Counts something that took this time.
pub fn observe(metric: Metric, labels: &[&str], time: Duration) {
    with_own(|own| own.observe(metric, labels, time));
}

fn with_own(count: impl FnOnce(&Cells)) {
    OWN.with_borrow(|own| own.as_ref().map(count));
}
