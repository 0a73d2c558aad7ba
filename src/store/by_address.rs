//! What the parent has to know of addresses before it spends a process: a number for each, in memory
//! of this host that all processes share.
//!
//! Sessions write it, the parent reads it without waiting for anybody.  There is room for some tens of
//! thousands of addresses; of others, and after a restart, nothing is known until a session says it
//! again.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sys::shared;

/// How many numbers there are; a power of two.
const CELLS: usize = 1 << 16;

/// In how many places the number of an address may be.
const PLACES: usize = 4;

/// A cell has a number, the minute at which it ends, and a mark by which its address is known; 0 is
/// none.
const NUMBER_BITS: u32 = 16;
const MINUTE_BITS: u32 = 20;
const LATEST: u64 = (1 << MINUTE_BITS) - 1;

/// Those that were made, by their names.  They outlive the plugins, which a HUP loads anew.
static MADE: Mutex<Vec<(&str, ByAddress)>> = Mutex::new(vec![]);

/// A number for each address; a clone has the same.
#[derive(Debug, Clone)]
pub struct ByAddress {
    cells: &'static [AtomicU64],
    hash: RandomState,
    begun: Instant,
}

impl ByAddress {
    /// Those of that name.  To be called by a plugin's `register`, so that all processes have the same.
    ///
    /// # Errors
    /// There is no memory.
    pub fn named(name: &'static str) -> Result<ByAddress> {
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = made.iter().find(|(known, _)| *known == name) {
            return Ok(known.clone());
        }
        let new = ByAddress::new()?;
        made.push((name, new.clone()));
        Ok(new)
    }

    fn new() -> Result<ByAddress> {
        let cells = shared::cells(CELLS);
        let cells =
            cells.map_err(|error| Error::new(format!("no memory for addresses: {error}")))?;
        Ok(ByAddress { cells, hash: RandomState::new(), begun: Instant::now() })
    }

    /// The number of `ip`; None where none is known, or its time is over.
    pub fn get(&self, ip: IpAddr) -> Option<i16> {
        self.get_at(ip, self.minute())
    }

    /// Gives `ip` a number for so long, rounded up to minutes.
    pub fn set(&self, ip: IpAddr, number: i16, time: Duration) {
        self.set_at(ip, number, time, self.minute());
    }

    fn get_at(&self, ip: IpAddr, minute: u64) -> Option<i16> {
        let (places, mark) = self.places(ip);
        let found = places.map(|place| self.cells[place].load(Relaxed));
        let is_own = |cell: &u64| mark_of(*cell) == mark && end_of(*cell) > minute;
        found.into_iter().find(is_own).map(|cell| cell as u16 as i16)
    }

    fn set_at(&self, ip: IpAddr, number: i16, time: Duration, minute: u64) {
        let end = minute.saturating_add(time.as_secs().div_ceil(60)).min(LATEST);
        let (places, mark) = self.places(ip);
        let found = places.map(|place| (place, self.cells[place].load(Relaxed)));
        // Its own, else the one that ends first.
        let own = found.iter().find(|(_, cell)| mark_of(*cell) == mark);
        let place = own.or_else(|| found.iter().min_by_key(|(_, cell)| end_of(*cell)));
        if let Some((place, _)) = place {
            let cell = (mark << MINUTE_BITS | end) << NUMBER_BITS | u64::from(number as u16);
            self.cells[*place].store(cell, Relaxed);
        }
    }

    fn places(&self, ip: IpAddr) -> ([usize; PLACES], u64) {
        let hash = self.hash.hash_one(ip);
        let mark = hash >> (NUMBER_BITS + MINUTE_BITS);
        let first = hash as usize;
        (std::array::from_fn(|place| (first.wrapping_add(place)) % CELLS), mark)
    }

    fn minute(&self) -> u64 {
        self.begun.elapsed().as_secs() / 60
    }
}

fn mark_of(cell: u64) -> u64 {
    cell >> (NUMBER_BITS + MINUTE_BITS)
}

fn end_of(cell: u64) -> u64 {
    cell >> NUMBER_BITS & LATEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{Forked, exit, fork};
    use nix::sys::wait::waitpid;

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    #[test]
    fn numbers_of_other_processes_are_known_until_their_time_is_over() {
        let addresses = ByAddress::named("a test").unwrap();
        let again = ByAddress::named("a test").unwrap();
        match fork().unwrap() {
            Forked::Child => {
                addresses.set(ip(1), -7, Duration::from_secs(3600));
                exit(0);
            }
            Forked::Parent(pid) => drop(waitpid(pid, None)),
        }
        assert_eq!((again.get(ip(1)), again.get(ip(2))), (Some(-7), None));
        again.set_at(ip(1), 9, Duration::from_secs(61), 5);
        assert_eq!((again.get_at(ip(1), 6), again.get_at(ip(1), 7)), (Some(9), None));
    }

    #[test]
    fn what_ends_first_makes_room() {
        let addresses = ByAddress::new().unwrap();
        let many = CELLS as u32 * 2;
        for number in 0..many {
            addresses.set_at(ip(number), (number % 1000) as i16, Duration::from_secs(90), 0);
        }
        addresses.set_at(ip(0), 1, Duration::from_secs(9000), 0);
        let known = (0..many).filter_map(|number| Some((number, addresses.get_at(ip(number), 0)?)));
        let known: Vec<_> = known.collect();
        assert!(known.len() > CELLS / 2, "{}", known.len());
        let wrong = known.iter().filter(|(number, found)| *found != (number % 1000) as i16);
        // The one that was set again, and by chance another with the same mark.
        assert!(wrong.count() <= 2);
        assert_eq!(addresses.get_at(ip(0), 149), Some(1));
        assert_eq!(addresses.get_at(ip(1), LATEST), None);
    }
}
