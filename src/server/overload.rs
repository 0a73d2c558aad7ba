//! When every process is busy and others wait: how long clients may stay then, and who has to stand
//! back because it was asked to leave.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::net::network;

/// How often somebody may be asked to leave.
const PACE: Duration = Duration::from_millis(250);

/// How long a session lasts at least when others begin to wait.
const SHORTEST: Duration = Duration::from_secs(10);
/// How long a session lasts at least when others have waited for a long time.
const SHORTEST_IN_LONG_OVERLOAD: Duration = Duration::from_secs(2);

/// How long the address of a client that was asked to leave is turned away while there is little
/// room.
const COOLDOWN: Duration = Duration::from_secs(300);

/// The most addresses that are remembered.
const MOST: usize = 10_000;

/// What is remembered of the clients that wait and of those that had to leave.
#[derive(Debug)]
pub(crate) struct Overload {
    looked: Instant,
    longest_session: Duration,
    left: HashMap<IpAddr, Instant>,
}

impl Overload {
    /// Nobody waits yet.
    pub(crate) fn new(now: Instant) -> Overload {
        Overload { looked: now, longest_session: SHORTEST, left: HashMap::new() }
    }

    /// There is no room.  If it is time for clients to leave: those that came before the moment that
    /// is returned have to.
    pub(crate) fn limit(&mut self, waits: impl FnOnce() -> bool, now: Instant) -> Option<Instant> {
        if now.duration_since(self.looked) < PACE {
            return None;
        }
        self.looked = now;
        if !waits() {
            self.longest_session = SHORTEST;
            return None;
        }
        let limit = now.checked_sub(self.longest_session);
        self.longest_session = (self.longest_session * 7 / 8).max(SHORTEST_IN_LONG_OVERLOAD);
        limit
    }

    /// A client was asked to leave.
    pub(crate) fn asked(&mut self, ip: IpAddr, now: Instant) {
        if self.left.len() >= MOST {
            self.left.retain(|_, until| *until > now);
        }
        if self.left.len() < MOST {
            self.left.insert(network(ip), now + COOLDOWN);
        }
    }

    /// Was a client of this address asked to leave a short time ago?
    pub(crate) fn is_cooling_down(&self, ip: IpAddr, now: Instant) -> bool {
        self.left.get(&network(ip)).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_others_wait_the_shorter_clients_may_stay() {
        let mut now = Instant::now() + Duration::from_secs(3600);
        let mut overload = Overload::new(now);
        assert_eq!(overload.limit(|| true, now), None, "not so soon");
        let mut stays = vec![];
        for _ in 0..20 {
            now += PACE;
            stays.push(now - overload.limit(|| true, now).unwrap());
        }
        assert_eq!(stays[0], SHORTEST);
        assert!(stays.is_sorted_by(|one, next| one >= next));
        assert_eq!(stays[19], SHORTEST_IN_LONG_OVERLOAD);
        assert_eq!(overload.limit(|| false, now + PACE), None);
        let now = now + 2 * PACE;
        assert_eq!(overload.limit(|| true, now), Some(now - SHORTEST));
    }

    #[test]
    fn who_was_asked_to_leave_stands_back_for_a_while() {
        let now = Instant::now();
        let mut overload = Overload::new(now);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        overload.asked(ip("192.0.2.1"), now);
        overload.asked(ip("2001:db8::1"), now);
        assert!(overload.is_cooling_down(ip("192.0.2.1"), now));
        assert!(overload.is_cooling_down(ip("2001:db8::2"), now), "a network is one address");
        assert!(!overload.is_cooling_down(ip("192.0.2.2"), now));
        assert!(!overload.is_cooling_down(ip("192.0.2.1"), now + COOLDOWN));
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let now = Instant::now();
        let mut overload = Overload::new(now);
        let ip = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..MOST as u32 + 1 {
            overload.asked(ip(number), now);
        }
        assert!(!overload.is_cooling_down(ip(MOST as u32), now));
        let later = now + COOLDOWN;
        overload.asked(ip(MOST as u32), later);
        assert!(overload.is_cooling_down(ip(MOST as u32), later), "old ones make room");
    }
}
