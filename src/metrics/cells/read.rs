//! What all processes have counted.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::{ABOUT, BETWEEN, Board, ENTRY, LOST, Place, ROW, ROWS_USED, place_of};
use crate::metrics::table::Metric;

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
