//! How a process counts: it finds the cells of a series, or makes them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use super::{
    ABOUT, BETWEEN, CELLS_TAKEN, Cells, ENTRY, INDEX, LOST, Place, ROW, SERIES, SERIES_TAKEN,
    Shared, TEXT, place_of,
};
use crate::metrics::buckets;
use crate::metrics::table::Metric;

impl Cells {
    /// Adds to the cell `at` of a series.
    pub(in crate::metrics) fn add(&self, metric: Metric, labels: &[&str], at: usize, count: u64) {
        if let Some(first) = self.find(metric, labels) {
            self.add_to(first + at, count);
        }
    }

    /// Remembers a text for a while.
    pub(in crate::metrics) fn remember(&self, text: &str) {
        self.shared.recent.put(text);
    }

    /// Adds a duration.
    pub(in crate::metrics) fn observe(&self, metric: Metric, labels: &[&str], time: Duration) {
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
