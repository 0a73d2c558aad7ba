//! Which worker has which tally: so the parent finds out whose client has left and who is done, when
//! it looks, and is woken for it only when it has nobody left.

use crate::sys::tally::{News, Tallies, Tally};

/// The places for workers.
#[derive(Debug)]
pub(crate) struct Seats {
    tallies: Tallies,
    /// Who has each; 0: nobody yet.
    pids: Vec<i32>,
    seen: u64,
    asks: bool,
}

impl Seats {
    /// Places for so many workers.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn new(most: usize) -> nix::Result<Seats> {
        let pids = vec![0; most];
        Ok(Seats { tallies: Tallies::new(most)?, pids, seen: 0, asks: false })
    }

    /// A place for a new worker, where none is that `exists`.
    pub(crate) fn free(&self, exists: impl Fn(i32) -> bool) -> Option<(usize, Tally)> {
        let place = self.pids.iter().position(|pid| *pid == 0 || !exists(*pid))?;
        Some((place, self.tallies.of(place)))
    }

    /// The new worker is there.
    pub(crate) fn take(&mut self, place: usize, pid: i32) {
        // Another one may have had this process id.
        self.pids.iter_mut().filter(|old| **old == pid).for_each(|old| *old = 0);
        self.pids[place] = pid;
    }

    /// What is new of which workers since the last look.
    pub(crate) fn news(&mut self) -> Vec<(i32, News)> {
        let told = self.tallies.told();
        if std::mem::replace(&mut self.seen, told) == told {
            return vec![];
        }
        let places = self.pids.iter().enumerate();
        places.filter_map(|(place, pid)| Some((*pid, self.tallies.take(place)?))).collect()
    }

    /// Whether to be told from now on.  True: that is new, and who was done before did not say so.
    pub(crate) fn ask(&mut self, wanted: bool) -> bool {
        let news = std::mem::replace(&mut self.asks, wanted) != wanted;
        if news {
            self.tallies.ask(wanted);
        }
        news && wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_found_once() {
        let mut seats = Seats::new(2).unwrap();
        let (place, first) = seats.free(|_| true).unwrap();
        seats.take(place, 71);
        let (place, second) = seats.free(|_| true).unwrap();
        seats.take(place, 72);
        assert!(seats.free(|_| true).is_none());
        assert!(seats.news().is_empty());
        second.left();
        assert_eq!(seats.news(), [(72, News::Left)]);
        assert!(!second.done());
        first.left();
        assert_eq!(seats.news(), [(71, News::Left), (72, News::Done)]);
        assert!(seats.news().is_empty());
        first.done();
        assert_eq!(seats.news(), [(71, News::Done)]);
    }

    #[test]
    fn a_place_is_free_again_when_its_worker_is_gone() {
        let mut seats = Seats::new(1).unwrap();
        let (place, old) = seats.free(|_| true).unwrap();
        seats.take(place, 71);
        old.left();
        old.done();
        let (place, tally) = seats.free(|pid| pid != 71).unwrap();
        seats.take(place, 71);
        assert!(seats.news().is_empty(), "what the old one did is not the new one's");
        tally.done();
        assert_eq!(seats.news(), [(71, News::Done)]);
    }

    #[test]
    fn workers_speak_up_while_they_are_asked_to() {
        let mut seats = Seats::new(1).unwrap();
        let (place, tally) = seats.free(|_| true).unwrap();
        seats.take(place, 71);
        assert!(!tally.done());
        assert!(seats.ask(true));
        assert!(!seats.ask(true) && tally.done());
        assert!(!seats.ask(false) && !tally.done());
    }
}
