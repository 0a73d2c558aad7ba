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

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use nix::errno::Errno;

use super::buckets;
use super::recent::{self, Recent};
use super::table::Metric;
use crate::sys::shared;

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

/// What was counted of one thing by all processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The metric.
    pub metric: Metric,
    /// The values of its labels, in the order of its row.
    pub labels: Vec<String>,
    /// The count; or, for durations, a count for each bucket, that of what took longer, and the sum in
    /// nanoseconds.
    pub values: Vec<u64>,
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

    /// All that was counted, in the order of the table and of the labels.
    pub fn read(&self) -> Vec<Series> {
        let mut found: Vec<Series> = self
            .shared
            .index
            .chunks_exact(ENTRY)
            .filter_map(|entry| place_of(entry[1].load(Acquire)))
            .filter_map(|place| self.read_series(place))
            .collect();
        found.sort();
        found
    }

    /// The last texts that were remembered, the oldest first.
    pub fn recent(&self) -> Vec<String> {
        self.shared.recent.read()
    }

    /// How many counts had no room.
    pub fn lost(&self) -> u64 {
        self.shared.head[LOST].load(Relaxed)
    }

    fn read_series(&self, Place { series, first }: Place) -> Option<Series> {
        let about = self.shared.series.chunks_exact(ABOUT).nth(series)?;
        let words = about[0].load(Relaxed);
        let (metric, len) = (Metric::of(words & 0xff)?, (words >> 8) as usize);
        let octets: Vec<u8> =
            about[1..].iter().flat_map(|cell| cell.load(Relaxed).to_le_bytes()).take(len).collect();
        let text = String::from_utf8_lossy(&octets);
        let mut labels: Vec<String> = text.split(BETWEEN).map(str::to_owned).collect();
        labels.resize(metric.row().labels.len(), String::new());
        let used = self.shared.head[ROWS_USED].load(Relaxed) as usize;
        let mut values = vec![0u64; metric.width()];
        for row in self.rows.chunks_exact(ROW).take(used) {
            for (value, cell) in values.iter_mut().zip(row.get(first..)?) {
                *value = value.wrapping_add(cell.load(Relaxed));
            }
        }
        Some(Series { metric, labels, values })
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

impl Cells {
    /// Adds to the cell `at` of a series.
    pub(super) fn add(&self, metric: Metric, labels: &[&str], at: usize, count: u64) {
        if let Some(first) = self.find(metric, labels) {
            self.add_to(first + at, count);
        }
    }

    /// Remembers a text for a while.
    pub(super) fn remember(&self, text: &str) {
        self.shared.recent.put(text);
    }

    /// Adds a duration.
    pub(super) fn observe(&self, metric: Metric, labels: &[&str], time: Duration) {
        if let Some(first) = self.find(metric, labels) {
            self.add_to(first + buckets::bucket(time), 1);
            self.add_to(first + buckets::SUM, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Nobody else writes here, so that this needs no more than a load and a store.
    fn add_to(&self, cell: usize, count: u64) {
        if let Some(cell) = self.own.get(cell) {
            cell.store(cell.load(Relaxed).wrapping_add(count), Relaxed);
        }
    }

    /// The first cell of a series, which is made where there is none.
    fn find(&self, metric: Metric, labels: &[&str]) -> Option<usize> {
        let Shared { head, index, .. } = self.shared;
        let hash = hash(metric, labels);
        for step in 0..INDEX {
            let entry = (hash as usize).wrapping_add(step) % INDEX * ENTRY;
            let (name, leads) = (&index[entry], &index[entry + 1]);
            let found = match name.load(Acquire) {
                // Who comes second finds whose hash it is.
                0 => name.compare_exchange(0, hash, AcqRel, Acquire).err().unwrap_or(hash),
                found => found,
            };
            if found == hash {
                let place = place_of(leads.load(Acquire));
                return place.or_else(|| self.make(leads, metric, labels)).map(|place| place.first);
            }
        }
        head[LOST].fetch_add(1, Relaxed);
        None
    }

    /// Takes room for a series, says there what it is, and lets the index lead to it, unless somebody
    /// else has done so meanwhile.
    fn make(&self, leads: &AtomicU64, metric: Metric, labels: &[&str]) -> Option<Place> {
        let Shared { head, series, .. } = self.shared;
        let width = metric.width() as u64;
        let number = take(&head[SERIES_TAKEN], 1, SERIES as u64);
        let first = number.and_then(|_| take(&head[CELLS_TAKEN], width, ROW as u64));
        let Some((number, first)) = number.zip(first) else {
            head[LOST].fetch_add(1, Relaxed);
            return None;
        };
        let about = series.chunks_exact(ABOUT).nth(number as usize)?;
        let mut text = labels.join(&BETWEEN.to_string()).into_bytes();
        text.truncate(TEXT);
        about[0].store(metric as u64 | (text.len() as u64) << 8, Relaxed);
        for (cell, octets) in about[1..].iter().zip(text.chunks(8)) {
            let mut eight = [0; 8];
            eight[..octets.len()].copy_from_slice(octets);
            cell.store(u64::from_le_bytes(eight), Relaxed);
        }
        let to_here = (number + 1) | first << 32;
        let leads_to = leads.compare_exchange(0, to_here, AcqRel, Acquire).err().unwrap_or(to_here);
        place_of(leads_to)
    }
}

/// Takes `count` of what there are `most` of.
fn take(taken: &AtomicU64, count: u64, most: u64) -> Option<u64> {
    let fits = |before: u64| (before + count <= most).then_some(before + count);
    taken.fetch_update(AcqRel, Acquire, fits).ok()
}

/// FNV-1a; never 0.
fn hash(metric: Metric, labels: &[&str]) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |octet: u8| hash = (hash ^ u64::from(octet)).wrapping_mul(PRIME);
    add(metric as u8);
    for label in labels {
        add(0);
        label.bytes().for_each(&mut add);
    }
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{Forked, exit, fork};
    use nix::sys::wait::waitpid;

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
