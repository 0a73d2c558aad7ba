//! The cells of this process, in which it counts.

use std::cell::RefCell;
use std::time::Duration;

use super::cells::Cells;
use super::remembered::{self, Remembered};
use super::table::Metric;

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
