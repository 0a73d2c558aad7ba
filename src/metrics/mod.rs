//! What is counted: THE table of metrics, and memory in which every process counts for itself.
//!
//! A parent makes a [`Board`], and each of its processes has a row there ([`Cells`]), in which it alone
//! counts: no lock, no system call, and what a process has counted outlives it.  Who wants to know adds
//! up the rows.  A process without a parent has no row, and counts nothing.
//!
//! What is counted by a name, such as a plugin's, has a series of its own from when it is first counted:
//! see `cells.rs`.

mod buckets;
mod cells;
mod outside;
mod recent;
mod table;

use std::cell::Cell;
use std::time::Duration;

pub use buckets::BOUNDS;
pub use cells::{Board, Cells, Series};
pub use outside::{Outside, Spent, Trouble, answered, spent};
pub use table::{Kind, Metric, Row, TABLE};

thread_local! {
    static OWN: Cell<Option<Cells>> = const { Cell::new(None) };
}

/// From now on this process counts in these cells, or not at all.
pub(crate) fn keep(cells: Option<Cells>) {
    OWN.set(cells);
}

/// Does this process count?
pub fn is_kept() -> bool {
    OWN.get().is_some()
}

/// Counts `count` more of what has these labels, whose names are in the metric's row.
pub fn add(metric: Metric, labels: &[&str], count: u64) {
    if let Some(own) = OWN.get() {
        own.add(metric, labels, 0, count);
    }
}

/// Remembers a text, such as an event, for who looks at what happens; a long one is forgotten at once.
pub fn remember(text: &str) {
    if let Some(own) = OWN.get() {
        own.remember(text);
    }
}

/// Counts something that took this time.
pub fn observe(metric: Metric, labels: &[&str], time: Duration) {
    if let Some(own) = OWN.get() {
        own.observe(metric, labels, time);
    }
}
