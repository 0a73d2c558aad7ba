//! When the next process may be made: at once, or later when making them goes wrong.

use std::time::{Duration, Instant};

/// The first and the longest wait after something went wrong.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Waits, twice as long each time, after what goes wrong right at the start.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    next: Option<Instant>,
    wait: Duration,
}

impl Backoff {
    /// A process could not be made, or ended on its first job.  Returns how long to wait.
    pub(crate) fn failed(&mut self, now: Instant) -> Duration {
        if self.is_waiting(now) {
            return self.wait;
        }
        self.wait = (self.wait * 2).clamp(FIRST, LONGEST);
        self.next = Some(now + self.wait);
        self.wait
    }

    /// A process did its job.
    pub(crate) fn worked(&mut self) {
        *self = Backoff::default();
    }

    /// Must we still wait?
    pub(crate) fn is_waiting(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| now < next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_end_with_success() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut waits = vec![];
        for _ in 0..8 {
            assert!(!backoff.is_waiting(now));
            let wait = backoff.failed(now);
            assert_eq!(backoff.failed(now), wait, "one burst of failures counts once");
            assert!(backoff.is_waiting(now));
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.worked();
        assert!(!backoff.is_waiting(now));
        assert_eq!(backoff.failed(now), FIRST);
    }
}
