//! THE table of workers: who exists, who waits, who is connected from where, what each one does.
//!
//! A worker has a slot.  What the parent alone knows of it stands in the parent's memory; what the
//! worker knows first, that its client has left, that it is done, what it does, stands in memory that
//! all of them share, so that nobody needs a system call to say it.  The parent looks when it wants to
//! know, and is woken by who is done only while it has no room for the next client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use nix::errno::Errno;

use crate::server::listener::Peer;
use crate::sys::shared;

/// The shared numbers of the whole table: how much there was to tell ever, to which everybody adds,
/// and whether the parent wants to be woken, which it alone writes.
const NEWS: usize = 0;
const ASKED: usize = 1;
const HEAD: usize = 8;

/// The shared numbers of a slot.  The worker that has the slot writes them, and nobody else; the parent
/// does while nobody has it.  Which session's client has left last, counted from 1, and how many
/// sessions are over: both go on from one worker of the slot to the next.  Then the text of what the
/// worker does, and room for counters.
const LEFT: usize = 0;
const DONE: usize = 1;
const DOES: Range<usize> = 2..5;
const ROW: usize = 16;

/// One worker, as the parent knows it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) pid: i32,
    /// Our end of the socket for its jobs, where it gets some; None once it was told to end.
    pub(crate) link: Option<OwnedFd>,
    /// It was told to end.
    pub(crate) dismissed: bool,
    /// The client that it serves; None while it waits for one, and once its client has left.
    pub(crate) client: Option<Peer>,
    /// Since when.
    since: Instant,
    /// How many clients it has served to the end.
    pub(crate) served: u64,
    /// Made before the configuration was read again: ends after its client.
    pub(crate) outdated: bool,
    /// How many sessions of the slot are over, those of earlier workers included.
    over: u64,
}

/// A worker's own view of its slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    head: &'static [AtomicU64],
    own: &'static [AtomicU64],
}

impl Row {
    /// The client is leaving: it may be back before this returns.
    pub(crate) fn client_left(&self) {
        self.own[LEFT].store(self.own[DONE].load(SeqCst) + 1, SeqCst);
        self.head[NEWS].fetch_add(1, SeqCst);
    }

    /// The worker is done with its client, and waits for the next one.  True: the parent wants to be
    /// woken.
    pub(crate) fn is_done(&self) -> bool {
        self.own[DONE].store(self.own[DONE].load(SeqCst) + 1, SeqCst);
        self.head[NEWS].fetch_add(1, SeqCst);
        self.head[ASKED].load(SeqCst) != 0
    }

    /// Where the worker says what it does; see [`crate::sys::title::share`].
    pub(crate) fn does(&self) -> &'static [AtomicU64] {
        &self.own[DOES]
    }
}

/// All workers of this parent.  They are known by their place in the table.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    shared: &'static [AtomicU64],
    slots: Vec<Option<Slot>>,
    /// Who waits for a client, longest first.
    idle: Vec<usize>,
    /// How many workers there are, and how many clients.
    len: usize,
    busy: usize,
    /// How many clients each address has.
    addresses: HashMap<IpAddr, usize>,
    seen: u64,
    asks: bool,
}

impl Scoreboard {
    /// A table for so many workers.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn new(most: usize) -> nix::Result<Scoreboard> {
        let count = most.checked_mul(ROW).and_then(|count| count.checked_add(HEAD));
        Ok(Scoreboard {
            shared: shared::cells(count.ok_or(Errno::ENOMEM)?)?,
            slots: vec![],
            idle: vec![],
            len: 0,
            busy: 0,
            addresses: HashMap::new(),
            seen: 0,
            asks: false,
        })
    }

    /// A place for a new worker, and what the worker gets to know of it.
    pub(crate) fn free(&self) -> Option<(usize, Row)> {
        let gap = self.slots.iter().position(Option::is_none);
        let place = gap.unwrap_or(self.slots.len());
        let (head, rows) = self.shared.split_at(HEAD);
        let own = rows.chunks_exact(ROW).nth(place)?;
        // An earlier worker may have ended while its session did.
        own[LEFT].store(own[DONE].load(SeqCst), SeqCst);
        Some((place, Row { head, own }))
    }

    /// The new worker is there, and serves `client` or waits.
    pub(crate) fn add(
        &mut self,
        place: usize,
        pid: i32,
        link: Option<OwnedFd>,
        client: Option<Peer>,
    ) {
        let slot = Slot {
            pid,
            link,
            dismissed: false,
            client: None,
            since: Instant::now(),
            served: 0,
            outdated: false,
            over: self.row(place)[DONE].load(SeqCst),
        };
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, || None);
        }
        self.slots[place] = Some(slot);
        self.len += 1;
        match client {
            Some(client) => self.serves(place, client),
            None => self.idle.push(place),
        }
    }

    /// The worker has got a client.
    pub(crate) fn serves(&mut self, place: usize, client: Peer) {
        self.idle.retain(|idle| *idle != place);
        let Some(slot) = self.get_mut(place) else { return };
        (slot.client, slot.since) = (Some(client), Instant::now());
        self.busy += 1;
        if let Some(ip) = client.ip() {
            *self.addresses.entry(network(ip)).or_default() += 1;
        }
    }

    /// The worker's client has left, or never got to it; the worker may be at work for it still.
    pub(crate) fn client_left(&mut self, place: usize) {
        let Some(client) = self.get_mut(place).and_then(|slot| slot.client.take()) else { return };
        self.busy -= 1;
        if let Some(ip) = client.ip()
            && let Some(count) = self.addresses.get_mut(&network(ip))
        {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&network(ip));
            }
        }
    }

    /// Finds out whose clients have left and who is done since the last look.  Returns the places of
    /// those who are done; they wait for a client again, but for those who are to end.
    pub(crate) fn look(&mut self) -> Vec<usize> {
        let mut done = vec![];
        let news = self.shared[NEWS].load(SeqCst);
        if std::mem::replace(&mut self.seen, news) == news {
            return done;
        }
        for place in 0..self.slots.len() {
            let Some(slot) = &self.slots[place] else { continue };
            let row = self.row(place);
            if row[DONE].load(SeqCst) > slot.over {
                self.is_done(place);
                done.push(place);
            } else if row[LEFT].load(SeqCst) > slot.over {
                self.client_left(place);
            }
        }
        done
    }

    /// Whether to be woken by who is done from now on.  True: that is new, and who was done before did
    /// not do so.
    pub(crate) fn ask(&mut self, wanted: bool) -> bool {
        let is_new = std::mem::replace(&mut self.asks, wanted) != wanted;
        if is_new {
            self.shared[ASKED].store(wanted.into(), SeqCst);
        }
        is_new && wanted
    }

    /// The process has ended: its slot is free.
    pub(crate) fn remove(&mut self, pid: i32) -> Option<Slot> {
        let has_it = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.pid == pid);
        let place = self.slots.iter().position(has_it)?;
        let client = self.slots[place].as_ref()?.client;
        self.client_left(place);
        self.idle.retain(|idle| *idle != place);
        self.len -= 1;
        // Who reads the slot wants to know whom the worker served.
        self.slots[place].take().map(|slot| Slot { client, ..slot })
    }

    /// A worker that waits: the one that has waited least, so that others can be let go.
    pub(crate) fn waiting(&self) -> Option<usize> {
        self.idle.last().copied()
    }

    /// Takes the worker that has waited longest out of those that wait.
    pub(crate) fn take_longest_waiting(&mut self) -> Option<usize> {
        (!self.idle.is_empty()).then(|| self.idle.remove(0))
    }

    /// The worker that has had its client longest, since before `limit`, of those that were not told to
    /// end.
    pub(crate) fn longest_busy(&self, limit: Instant) -> Option<usize> {
        let slots = self.slots.iter().enumerate();
        let all = slots.filter_map(|(place, slot)| Some((place, slot.as_ref()?)));
        let busy =
            all.filter(|(_, slot)| slot.client.is_some() && !slot.dismissed && slot.since < limit);
        busy.min_by_key(|(_, slot)| slot.since).map(|(place, _)| place)
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Slot> {
        self.slots.get_mut(place)?.as_mut()
    }

    /// The places of all workers.
    pub(crate) fn places(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|place| self.slots[*place].is_some()).collect()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().flatten()
    }

    /// How many workers there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many wait for a client.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// How many serve a client.
    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    /// How many clients the address has; an IPv6 address counts with its whole /64.
    pub(crate) fn connections_from(&self, ip: IpAddr) -> usize {
        self.addresses.get(&network(ip)).copied().unwrap_or(0)
    }

    /// All clients.
    pub(crate) fn clients(&self) -> impl Iterator<Item = Peer> {
        self.slots.iter().flatten().filter_map(|slot| slot.client)
    }

    /// In a new worker: closes the links of the others.  The memory of all this is left alone, see
    /// `parent/inherit.rs`.
    pub(crate) fn close_links(&mut self) {
        self.iter_mut().filter(|slot| slot.link.is_some()).for_each(|slot| slot.link = None);
    }

    fn is_done(&mut self, place: usize) {
        self.client_left(place);
        let Some(slot) = self.get_mut(place) else { return };
        slot.served += 1;
        slot.over += 1;
        if !slot.outdated && !slot.dismissed {
            self.idle.push(place);
        }
    }

    /// The shared numbers of a slot.
    fn row(&self, place: usize) -> &'static [AtomicU64] {
        let start = HEAD + ROW * place;
        &self.shared[start..start + ROW]
    }
}

/// What counts as one address: a single one for IPv4, the /64 that one site has for IPv6.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::handoff;
    use crate::sys::title;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn peer(text: &str) -> Peer {
        Peer::Tcp { remote: (ip(text), 40000), local: (ip("192.0.2.25"), 25) }
    }

    fn add(board: &mut Scoreboard, pid: i32, client: Option<&str>) -> (usize, Row) {
        let (link, _) = handoff::pair().unwrap();
        let (place, row) = board.free().unwrap();
        board.add(place, pid, Some(link), client.map(peer));
        (place, row)
    }

    #[test]
    fn clients_are_counted_by_address_and_network() {
        let mut board = Scoreboard::new(5).unwrap();
        let (_, first) = add(&mut board, 1, Some("192.0.2.1"));
        add(&mut board, 2, Some("192.0.2.1"));
        add(&mut board, 3, Some("2001:db8::1"));
        add(&mut board, 4, Some("2001:db8::2"));
        assert_eq!(board.connections_from(ip("192.0.2.1")), 2);
        assert_eq!(board.connections_from(ip("192.0.2.2")), 0);
        assert_eq!(board.connections_from(ip("2001:db8::ffff")), 2);
        assert_eq!(board.connections_from(ip("2001:db8:0:1::1")), 0);
        first.is_done();
        assert_eq!(board.look(), [0]);
        assert_eq!(board.remove(3).unwrap().client, Some(peer("2001:db8::1")));
        assert!(board.remove(3).is_none());
        assert_eq!(board.connections_from(ip("192.0.2.1")), 1);
        assert_eq!(board.connections_from(ip("2001:db8::1")), 1);
        assert_eq!((board.len(), board.idle(), board.busy()), (3, 1, 2));
        let (place, _) = board.free().unwrap();
        board.add(place, 5, None, Some(Peer::Unix));
        assert_eq!((board.busy(), board.connections_from(ip("127.0.0.1"))), (3, 0));
        board.client_left(place);
        board.client_left(place);
        assert_eq!((board.busy(), board.clients().count()), (2, 2));
    }

    #[test]
    fn the_last_to_wait_works_first_and_the_first_to_wait_leaves_first() {
        let mut board = Scoreboard::new(3).unwrap();
        let rows = [1, 2, 3].map(|pid| add(&mut board, pid, None).1);
        assert_eq!(board.waiting(), Some(2));
        board.serves(2, peer("192.0.2.1"));
        assert_eq!(board.waiting(), Some(1));
        assert_eq!(board.take_longest_waiting(), Some(0));
        rows[2].is_done();
        assert_eq!(board.look(), [2]);
        assert_eq!(board.waiting(), Some(2));
    }

    #[test]
    fn what_is_new_is_found_once() {
        let mut board = Scoreboard::new(2).unwrap();
        let (first, own) = add(&mut board, 71, Some("192.0.2.1"));
        let (second, other) = add(&mut board, 72, Some("192.0.2.2"));
        assert!(board.free().is_none());
        assert!(board.look().is_empty());
        other.client_left();
        assert!(board.look().is_empty());
        assert_eq!(board.clients().collect::<Vec<_>>(), [peer("192.0.2.1")]);
        assert!(!other.is_done());
        own.client_left();
        assert_eq!(board.look(), [second]);
        assert_eq!((board.busy(), board.idle()), (0, 1));
        assert!(board.look().is_empty());
        own.is_done();
        assert_eq!(board.look(), [first]);
        // What a worker said of one client is not about the next one.
        board.serves(first, peer("192.0.2.3"));
        own.client_left();
        own.is_done();
        assert_eq!((board.look(), board.busy()), (vec![first], 0));
        board.serves(first, peer("192.0.2.4"));
        other.client_left();
        assert_eq!((board.look(), board.busy()), (vec![], 1));
    }

    #[test]
    fn a_slot_is_free_again_when_its_worker_is_gone() {
        let mut board = Scoreboard::new(1).unwrap();
        let (place, old) = add(&mut board, 71, Some("192.0.2.1"));
        old.client_left();
        old.is_done();
        old.client_left();
        assert_eq!(board.remove(71).unwrap().served, 0);
        let (again, own) = add(&mut board, 71, Some("192.0.2.2"));
        assert_eq!(again, place);
        assert!(board.look().is_empty() && board.busy() == 1, "the old one's news");
        own.is_done();
        assert_eq!(board.look(), [place]);
    }

    #[test]
    fn who_is_to_end_does_not_wait() {
        let mut board = Scoreboard::new(1).unwrap();
        let (place, own) = add(&mut board, 71, Some("192.0.2.1"));
        board.get_mut(place).unwrap().outdated = true;
        own.is_done();
        assert_eq!((board.look(), board.idle(), board.busy()), (vec![place], 0, 0));
    }

    #[test]
    fn workers_wake_the_parent_while_they_are_asked_to() {
        let mut board = Scoreboard::new(1).unwrap();
        let (_, own) = add(&mut board, 71, None);
        assert!(!own.is_done());
        assert!(board.ask(true));
        assert!(!board.ask(true) && own.is_done());
        assert!(!board.ask(false) && !own.is_done());
    }

    #[test]
    fn what_a_worker_does_is_seen() {
        let mut board = Scoreboard::new(2).unwrap();
        add(&mut board, 71, None);
        let (place, own) = add(&mut board, 72, None);
        assert_eq!(title::said(&board.row(place)[DOES]), "");
        title::say(own.does(), "RCPT");
        assert_eq!(title::said(&board.row(place)[DOES]), "RCPT");
    }

    #[test]
    fn more_workers_than_there_can_be_are_refused() {
        for most in [usize::MAX, usize::MAX / ROW] {
            assert_eq!(Scoreboard::new(most).err(), Some(Errno::ENOMEM));
        }
    }
}
