//! What was counted in the last hour: a sample each ten seconds, in memory that outlives the process
//! that takes them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::sys::shared;

/// How often a sample is taken.
pub(super) const PACE: Duration = Duration::from_secs(10);

/// How many there are: an hour, and the one before it.
const SAMPLES: usize = 361;

/// How many cells a sample has.
const CELLS: usize = 8;

/// The ring of samples.  One process writes at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    taken: &'static AtomicU64,
    cells: &'static [AtomicU64],
}

/// What there was ever, at a time; but for the busy workers, which are those of the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// In seconds since 1970.
    pub(super) time: u64,
    pub(super) connections: u64,
    pub(super) accepted: u64,
    pub(super) refusals: u64,
    pub(super) busy: u64,
}

impl History {
    /// No samples yet.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn new() -> nix::Result<History> {
        let (head, cells) = shared::cells(1 + SAMPLES * CELLS)?.split_at(1);
        Ok(History { taken: &head[0], cells })
    }

    /// Adds a sample.
    pub(super) fn add(&self, sample: &Sample) {
        let taken = self.taken.load(Acquire);
        let place = taken as usize % SAMPLES * CELLS;
        let Sample { time, connections, accepted, refusals, busy } = *sample;
        let values = [time, connections, accepted, refusals, busy];
        for (cell, value) in self.cells[place..].iter().zip(values) {
            cell.store(value, Relaxed);
        }
        self.taken.store(taken + 1, Release);
    }

    /// The samples of the last hour, the oldest first.
    pub(super) fn read(&self) -> Vec<Sample> {
        let taken = self.taken.load(Acquire) as usize;
        let first = taken.saturating_sub(SAMPLES);
        let sample = |number: usize| {
            let cells = &self.cells[number % SAMPLES * CELLS..][..CELLS];
            let value = |at: usize| cells[at].load(Relaxed);
            Sample {
                time: value(0),
                connections: value(1),
                accepted: value(2),
                refusals: value(3),
                busy: value(4),
            }
        };
        (first..taken).map(sample).collect()
    }
}

/// From how many samples before a rate is reckoned: a minute, so that a curve is smooth.
const WINDOW: usize = 6;

/// What came a minute, in the minute before each sample.
pub(super) fn rates(samples: &[Sample], of: fn(&Sample) -> u64) -> Vec<(u64, f64)> {
    let rate = |(at, after): (usize, &Sample)| {
        let before = &samples[at.saturating_sub(WINDOW)];
        let seconds = after.time.checked_sub(before.time).filter(|seconds| *seconds > 0)?;
        let count = of(after).saturating_sub(of(before));
        Some((after.time, count as f64 * 60.0 / seconds as f64))
    };
    samples.iter().enumerate().filter_map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hour_is_kept() {
        let history = History::new().unwrap();
        assert!(history.read().is_empty());
        for number in 0..SAMPLES as u64 + 10 {
            history.add(&Sample {
                time: 1000 + 10 * number,
                accepted: 2 * number,
                ..Sample::default()
            });
        }
        let found = history.read();
        assert_eq!((found.len(), found[0].time), (SAMPLES, 1100));
        let rates = rates(&found, |sample| sample.accepted);
        assert_eq!((rates.len(), rates[0]), (SAMPLES - 1, (1110, 12.0)));
    }

    #[test]
    fn a_clock_that_jumps_back_makes_no_rate() {
        let at = |time, connections| Sample { time, connections, ..Sample::default() };
        let samples = [at(1000, 5), at(900, 6), at(910, 7), at(1060, 8)];
        assert_eq!(rates(&samples, |sample| sample.connections), [(1060, 3.0)]);
    }
}
