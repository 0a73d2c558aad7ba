//! Which clients have left and which workers are done, in memory that the parent and its workers
//! share: a worker need not wake the parent to say so.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::shared;

/// Where it is noted that the parent wants to be told, how much there was to tell ever, and from
/// where on for each place whether its client has left, and whether the worker is done.
const ASKED: usize = 0;
const ALL: usize = 1;
const EACH: usize = 2;

/// The two cells of a place.
const LEFT: usize = 0;
const DONE: usize = 1;

/// The parent's view.
#[derive(Debug)]
pub struct Tallies(&'static [AtomicU64]);

/// A worker's view.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    cells: &'static [AtomicU64],
    place: usize,
}

/// What is new of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Its client has left.
    Left,
    /// It is done with its client, which has left, too.
    Done,
}

impl Tallies {
    /// Places for so many workers.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(places: usize) -> nix::Result<Tallies> {
        Ok(Tallies(shared::cells(EACH + 2 * places)?))
    }

    /// What the worker that gets this place is to have.
    pub fn of(&self, place: usize) -> Tally {
        self.take(place);
        Tally { cells: self.0, place }
    }

    /// What is new at this place since this was asked last.
    pub fn take(&self, place: usize) -> Option<News> {
        // The last that a worker notes comes first, so that nothing of a client stays behind for the
        // next one.
        let [done, left] = [DONE, LEFT].map(|which| {
            let cell = &self.0[EACH + 2 * place + which];
            // Most are 0, and to read is cheaper than to write.
            cell.load(Ordering::SeqCst) != 0 && cell.swap(0, Ordering::SeqCst) != 0
        });
        match (done, left) {
            (true, _) => Some(News::Done),
            (false, true) => Some(News::Left),
            (false, false) => None,
        }
    }

    /// How much there was to tell ever.
    pub fn told(&self) -> u64 {
        self.0[ALL].load(Ordering::SeqCst)
    }

    /// Whether workers that are done are to say so.  Who was done before is seen here afterwards.
    pub fn ask(&self, wanted: bool) {
        self.0[ASKED].store(wanted.into(), Ordering::SeqCst);
    }
}

impl Tally {
    /// The client is leaving: it may be back before this returns.
    pub fn left(&self) {
        self.note(LEFT);
    }

    /// The worker is done with its client.  True: the parent wants to be told.
    pub fn done(&self) -> bool {
        self.note(DONE);
        self.cells[ASKED].load(Ordering::SeqCst) != 0
    }

    fn note(&self, which: usize) {
        self.cells[EACH + 2 * self.place + which].store(1, Ordering::SeqCst);
        self.cells[ALL].fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{Forked, exit, fork};
    use nix::sys::wait::waitpid;

    #[test]
    fn what_a_worker_notes_the_parent_sees() {
        let tallies = Tallies::new(3).unwrap();
        let tally = tallies.of(1);
        match fork().unwrap() {
            Forked::Child => {
                tally.left();
                let told = tally.done();
                tallies.ask(true);
                exit((told || !tally.done()).into());
            }
            Forked::Parent(pid) => {
                let ended = waitpid(pid, None).unwrap();
                assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(pid, 0));
            }
        }
        assert_eq!((tallies.take(0), tallies.take(1), tallies.told()), (None, Some(News::Done), 3));
        assert_eq!(tallies.take(1), None, "it was told already");
        tally.left();
        assert_eq!(tallies.take(1), Some(News::Left));
        assert!(tally.done(), "the wish to be told is shared, too");
        tallies.of(1);
        assert_eq!((tallies.take(1), tallies.told()), (None, 5));
    }
}
