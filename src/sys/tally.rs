//! How many clients each worker has served, in memory that the parent and its workers share: a
//! worker that is done need not wake the parent to say so.
#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// Where it is noted that the parent wants to be told, how many were served by all, and from where
/// on by each.
const ASKED: usize = 0;
const ALL: usize = 1;
const EACH: usize = 2;

/// The parent's view.
#[derive(Debug)]
pub struct Tallies(&'static [AtomicU64]);

/// A worker's view.
#[derive(Debug)]
pub struct Tally {
    cells: &'static [AtomicU64],
    place: usize,
}

impl Tallies {
    /// Places for so many workers.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(places: usize) -> nix::Result<Tallies> {
        let count = EACH + places;
        let size = NonZeroUsize::new(count * size_of::<AtomicU64>()).unwrap_or(NonZeroUsize::MIN);
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: new memory of whole pages, aligned for anything, zero, and never given back.
        let cells = unsafe {
            let start = mmap_anonymous(None, size, access, MapFlags::MAP_SHARED)?;
            std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), count)
        };
        Ok(Tallies(cells))
    }

    /// What the worker that gets this place is to have.
    pub fn of(&self, place: usize) -> Tally {
        self.0[EACH + place].store(0, Ordering::SeqCst);
        Tally { cells: self.0, place }
    }

    /// How many clients were served at this place since this was asked last.
    pub fn take(&self, place: usize) -> u64 {
        let cell = &self.0[EACH + place];
        // Most are 0, and to read is cheaper than to write.
        if cell.load(Ordering::SeqCst) == 0 { 0 } else { cell.swap(0, Ordering::SeqCst) }
    }

    /// How many clients were served by all workers ever.
    pub fn served_by_all(&self) -> u64 {
        self.0[ALL].load(Ordering::SeqCst)
    }

    /// Whether workers that are done are to say so.  Who was done before is seen here afterwards.
    pub fn ask(&self, wanted: bool) {
        self.0[ASKED].store(wanted.into(), Ordering::SeqCst);
    }
}

impl Tally {
    /// One more was served.  True: the parent wants to be told.
    pub fn add(&self) -> bool {
        self.cells[EACH + self.place].fetch_add(1, Ordering::SeqCst);
        self.cells[ALL].fetch_add(1, Ordering::SeqCst);
        self.cells[ASKED].load(Ordering::SeqCst) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{Forked, exit, fork};
    use nix::sys::wait::waitpid;

    #[test]
    fn what_a_worker_counts_the_parent_sees() {
        let tallies = Tallies::new(3).unwrap();
        let tally = tallies.of(1);
        match fork().unwrap() {
            Forked::Child => {
                let told = tally.add();
                tallies.ask(true);
                exit((told || !tally.add()).into());
            }
            Forked::Parent(pid) => {
                let ended = waitpid(pid, None).unwrap();
                assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(pid, 0));
            }
        }
        assert_eq!((tallies.take(0), tallies.take(1), tallies.served_by_all()), (0, 2, 2));
        assert!(tally.add(), "the wish to be told is shared, too");
        tallies.of(1);
        assert_eq!((tallies.take(1), tallies.served_by_all()), (0, 3));
    }
}
