//! The memory of all counts.
//!
//! ```text
//! head     how many series and cells are taken, what had no room, how many rows were ever used
//! index    hash of metric and labels -> series and first cell, open addressing
//! series   which metric, and the labels' values as text
//! recent   the last things that are worth showing, as texts
//! rows     the cells of each process, one after the other
//! ```
//!
//! A series is made by whoever counts it first, without a lock: its text is written before the index
//! leads to it.  A process that is killed in between leaves a gap, and nothing else.

mod count;
mod read;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;

use super::recent::{self, Recent};
use crate::sys::shared;

pub use self::read::Series;

const HEAD: usize = 8;
const SERIES_TAKEN: usize = 0;
const CELLS_TAKEN: usize = 1;
const LOST: usize = 2;
const ROWS_USED: usize = 3;
const REMEMBERED: usize = 4;

/// How many series there may be, and how much longer the index is, so that looking for one is short.
const SERIES: usize = 1024;
const INDEX: usize = 2 * SERIES;
/// A hash, and where that leads: one more than the series, and the first cell.
const ENTRY: usize = 2;
/// The metric and the length of the text; the text.
const ABOUT: usize = 16;
const TEXT: usize = (ABOUT - 1) * 8;
/// How many cells a row has.
const ROW: usize = 4096;

/// What stands between the values of labels.
const BETWEEN: char = '\0';

/// The counts of all processes of a parent.
#[derive(Debug, Clone, Copy)]
pub struct Board {
    shared: Shared,
    rows: &'static [AtomicU64],
}

/// What is the same for all processes.
#[derive(Debug, Clone, Copy)]
struct Shared {
    head: &'static [AtomicU64],
    index: &'static [AtomicU64],
    series: &'static [AtomicU64],
    recent: Recent,
}

/// Where one process counts.
#[derive(Debug, Clone, Copy)]
pub struct Cells {
    shared: Shared,
    own: &'static [AtomicU64],
}

impl Board {
    /// Rows for this many processes.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(rows: usize) -> nix::Result<Board> {
        let before = HEAD + INDEX * ENTRY + SERIES * ABOUT + recent::CELLS;
        let count = rows.checked_mul(ROW).and_then(|count| count.checked_add(before));
        let (head, rest) = shared::cells(count.ok_or(Errno::ENOMEM)?)?.split_at(HEAD);
        let (index, rest) = rest.split_at(INDEX * ENTRY);
        let (series, rest) = rest.split_at(SERIES * ABOUT);
        let (recent, rows) = rest.split_at(recent::CELLS);
        let recent = Recent { count: &head[REMEMBERED], cells: recent };
        Ok(Board { shared: Shared { head, index, series, recent }, rows })
    }

    /// The cells of one process, if there is a row of that number.
    pub fn row(&self, number: usize) -> Option<Cells> {
        let own = self.rows.chunks_exact(ROW).nth(number)?;
        self.shared.head[ROWS_USED].fetch_max(number as u64 + 1, Relaxed);
        Some(Cells { shared: self.shared, own })
    }
}

/// Where a series is: its number, and its first cell.
#[derive(Clone, Copy)]
struct Place {
    series: usize,
    first: usize,
}

fn place_of(leads: u64) -> Option<Place> {
    let series = (leads & 0xffff_ffff).checked_sub(1)?;
    Some(Place { series: series as usize, first: (leads >> 32) as usize })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::buckets;
    use crate::metrics::table::Metric;
    use crate::sys::fork::{Forked, exit, fork};
    use nix::sys::wait::waitpid;
    use std::time::Duration;

    fn series(metric: Metric, labels: &[&str], values: &[u64]) -> Series {
        let labels = labels.iter().map(|label| label.to_string()).collect();
        Series { metric, labels, values: values.to_vec() }
    }

    #[test]
    fn what_processes_count_is_added_up() {
        let board = Board::new(3).unwrap();
        assert_eq!(board.read(), []);
        let own = board.row(0).unwrap();
        own.add(Metric::Refusals, &["rcpt", "rcpt_ok", "5xx"], 0, 1);
        own.add(Metric::Connections, &[], 0, 7);
        match fork().unwrap() {
            Forked::Child => {
                let own = board.row(2).unwrap();
                own.add(Metric::Refusals, &["rcpt", "rcpt_ok", "5xx"], 0, 2);
                own.add(Metric::Refusals, &["rcpt", "rcpt_ok", "4xx"], 0, 1);
                exit(0);
            }
            Forked::Parent(pid) => waitpid(pid, None).unwrap(),
        };
        let found = board.read();
        let want = [
            series(Metric::Connections, &[], &[7]),
            series(Metric::Refusals, &["rcpt", "rcpt_ok", "4xx"], &[1]),
            series(Metric::Refusals, &["rcpt", "rcpt_ok", "5xx"], &[3]),
        ];
        assert_eq!(found, want);
        // Who has the row next goes on.
        board.row(2).unwrap().add(Metric::Refusals, &["rcpt", "rcpt_ok", "4xx"], 0, 1);
        assert_eq!(board.read()[1].values, [2]);
        assert_eq!(board.lost(), 0);
        assert!(board.row(3).is_none());
    }

    #[test]
    fn durations_are_in_buckets_with_their_sum() {
        let board = Board::new(1).unwrap();
        let own = board.row(0).unwrap();
        for millis in [2, 3, 70_000] {
            own.observe(Metric::OutsideSeconds, &["dns"], Duration::from_millis(millis));
        }
        let [found] = &board.read()[..] else { panic!("one series") };
        let mut want = vec![0; buckets::WIDTH];
        (want[3], want[13], want[14]) = (2, 1, 70_005_000_000);
        assert_eq!(found.values, want);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let board = Board::new(1).unwrap();
        let own = board.row(0).unwrap();
        for number in 0..SERIES + 5 {
            own.add(Metric::Queue, &[&number.to_string(), "queued"], 0, 1);
        }
        assert_eq!((board.read().len(), board.lost()), (SERIES, 5));
        let board = Board::new(1).unwrap();
        let own = board.row(0).unwrap();
        let fit = ROW / buckets::WIDTH;
        for number in 0..fit + 3 {
            own.observe(Metric::OutsideSeconds, &[&number.to_string()], Duration::ZERO);
        }
        assert_eq!((board.read().len(), board.lost()), (fit, 3));
        // Long values are cut, and are no others' for that.
        let long = "x".repeat(500);
        let board = Board::new(1).unwrap();
        for end in ["a", "b"] {
            let plugin = format!("{long}{end}");
            board.row(0).unwrap().add(Metric::Queue, &[&plugin, "queued"], 0, 1);
        }
        assert_eq!(board.read().len(), 2);
        assert!(board.read().iter().all(|series| series.labels == [&long[..TEXT], ""]));
    }

    #[test]
    fn many_who_begin_at_once_make_one_series() {
        let board = Board::new(8).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let own = board.row(number).unwrap();
                scope.spawn(move || {
                    for count in 0..200 {
                        own.add(Metric::Queue, &[&count.to_string(), "queued"], 0, 1);
                    }
                });
            }
        });
        let found = board.read();
        assert_eq!(found.len(), 200);
        assert!(found.iter().all(|series| series.values == [8]), "{found:?}");
    }

    #[test]
    fn more_rows_than_there_can_be_are_refused() {
        for rows in [usize::MAX, usize::MAX / 8, 1 << 50] {
            assert_eq!(Board::new(rows).err(), Some(Errno::ENOMEM));
        }
    }
}
