//! Durations by size.

use std::time::Duration;

/// The upper bounds of the buckets, in seconds; what took longer is in one more bucket.
pub const BOUNDS: [f64; 13] =
    [0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How many cells a duration's series has: the buckets, and the sum in nanoseconds.
pub(super) const WIDTH: usize = BOUNDS.len() + 2;

/// The place of the sum.
pub(super) const SUM: usize = BOUNDS.len() + 1;

/// The bucket of `time`.
pub(super) fn bucket(time: Duration) -> usize {
    let seconds = time.as_secs_f64();
    BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        for (millis, want) in [(0, 0), (1, 2), (2, 3), (30_000, 12), (30_001, 13), (1 << 40, 13)] {
            assert_eq!(bucket(Duration::from_millis(millis)), want, "{millis} ms");
        }
        assert!(BOUNDS.is_sorted());
    }
}
