//! How long something took, many times.

/// The seconds of everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Sample {
    seconds: Vec<f32>,
    total: f64,
}

impl Sample {
    pub(super) fn add(&mut self, seconds: f64) {
        if seconds.is_finite() {
            self.seconds.push(seconds as f32);
            self.total += seconds;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.seconds.len()
    }

    /// All of it together, in seconds.
    pub(super) fn total(&self) -> f64 {
        self.total
    }

    /// The time that so many of a hundred do not exceed; 0 for an empty sample.
    pub(super) fn percentile(&mut self, percent: usize) -> f64 {
        let Some(last) = self.seconds.len().checked_sub(1) else { return 0.0 };
        let place = last * percent.min(100) / 100;
        let (_, found, _) = self.seconds.select_nth_unstable_by(place, f32::total_cmp);
        f64::from(*found)
    }

    /// How many took less than each of the limits, and not less than the one before; then the rest.
    pub(super) fn buckets(&self, limits: &[f64]) -> Vec<u64> {
        let mut counts = vec![0; limits.len() + 1];
        for seconds in &self.seconds {
            counts[limits.partition_point(|limit| *limit <= f64::from(*seconds))] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_buckets() {
        let mut sample = Sample::default();
        assert_eq!(sample.percentile(50), 0.0);
        for n in (1..=100).rev() {
            sample.add(f64::from(n));
        }
        sample.add(f64::NAN);
        assert_eq!([0, 50, 90, 100].map(|p| sample.percentile(p)), [1.0, 50.0, 90.0, 100.0]);
        assert_eq!(sample.buckets(&[1.0, 10.0, 99.0]), [0, 9, 89, 2]);
        assert_eq!((sample.len(), sample.total()), (100, 5050.0));
    }
}
