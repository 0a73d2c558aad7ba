//! The marks of connections, in the memory of the process that counts them: the parent.

use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

use super::rate::{Mark, Rate};

/// How many marks there are; a power of two.  What nobody has written to costs no memory.
const CELLS: usize = 1 << 16;

/// In how many places a mark may be.
const PLACES: usize = 8;

/// Marks by what was counted; when there is no place for another, the one that ends first goes.
#[derive(Debug)]
pub(super) struct Recent {
    cells: Vec<(u64, Mark)>,
    hash: RandomState,
    begun: Instant,
}

impl Recent {
    pub(super) fn new() -> Recent {
        Recent { cells: vec![(0, 0); CELLS], hash: RandomState::new(), begun: Instant::now() }
    }

    /// Counts one of `key`; the error is how long it takes until it may happen.
    pub(super) fn take(&mut self, key: impl Hash, rate: &Rate) -> Result<(), Duration> {
        // Not 0, which is what an empty cell has, at the beginning.
        let now = self.begun.elapsed() + Duration::from_secs(1);
        self.take_at(key, rate, now)
    }

    /// Counts one less.
    pub(super) fn give_back(&mut self, key: impl Hash, rate: &Rate) {
        let hash = self.hash.hash_one(key);
        if let Some((_, mark)) = self.own(hash) {
            *mark = rate.give_back(*mark, 1);
        }
    }

    fn take_at(&mut self, key: impl Hash, rate: &Rate, now: Duration) -> Result<(), Duration> {
        let hash = self.hash.hash_one(key);
        let known = self.own(hash).map(|(_, mark)| *mark);
        let mark = rate.take(known, 1, now)?;
        let own = |cell: &(u64, Mark)| cell.0 == hash;
        let places = places(hash);
        let place = places.clone().find(|place| own(&self.cells[*place]));
        let place = place.or_else(|| places.min_by_key(|place| self.cells[*place].1));
        if let Some(place) = place {
            self.cells[place] = (hash, mark);
        }
        Ok(())
    }

    fn own(&mut self, hash: u64) -> Option<&mut (u64, Mark)> {
        let place = places(hash).find(|place| self.cells[*place].0 == hash)?;
        self.cells.get_mut(place)
    }
}

fn places(hash: u64) -> impl Iterator<Item = usize> + Clone {
    (0..PLACES).map(move |place| (hash as usize).wrapping_add(place) % CELLS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tens_of_thousands_are_counted_exactly_and_more_do_no_harm() {
        let rate = Rate::parse("2/1h", None).unwrap();
        let mut recent = Recent::new();
        let at = Duration::from_secs;
        let taken = |recent: &mut Recent, key: u32, now| recent.take_at(key, &rate, now).is_ok();
        for key in 0..10_000u32 {
            assert!(taken(&mut recent, key, at(1)) && taken(&mut recent, key, at(1)));
        }
        let third = (0..10_000u32).filter(|key| taken(&mut recent, *key, at(1))).count();
        assert!(third < 100, "{third}");
        // Old marks make room, however many come.
        for key in 0..200_000u32 {
            taken(&mut recent, key, at(1));
        }
        for key in 300_000..310_000u32 {
            taken(&mut recent, key, at(9000));
            taken(&mut recent, key, at(9000));
        }
        let third = (300_000..310_000u32).filter(|key| taken(&mut recent, *key, at(9000))).count();
        assert!(third < 100, "{third}");
        assert_eq!(recent.cells.len(), CELLS);
        recent.give_back(300_000u32, &rate);
        assert!(taken(&mut recent, 300_000, at(9000)));
    }
}
