//! THE table of workers: who exists, who waits, who is connected from where, what each one does.
//!
//! A worker has a slot.  What the parent alone knows of it stands in the parent's memory; what the
//! worker knows first, that its client has left, that it is done, what it does, stands in memory that
//! all of them share, so that nobody needs a system call to say it.  The parent looks when it wants to
//! know, and is woken by who is done only while it has no room for the next client.

mod row;

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use self::row::Rows;
pub(crate) use self::row::{Row, Seen};
use crate::metrics::{Board, Cells};
use crate::net::network;
use crate::server::peer::Peer;

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

/// What is seen in the shared memory, by whatever process has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    rows: Rows,
    /// What all have counted.
    pub(crate) counts: Board,
}

impl View {
    /// How many workers there may be.
    pub(crate) fn most(&self) -> usize {
        self.rows.len()
    }

    /// All workers.
    pub(crate) fn workers(&self) -> Vec<Seen> {
        (0..self.most()).filter_map(|place| self.rows.get(place)?.seen()).collect()
    }
}

/// All workers of this parent.  They are known by their place in the table.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    rows: Rows,
    /// What the parent counts, and behind it what each worker does.
    counts: Board,
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
        Ok(Scoreboard {
            rows: Rows::new(most)?,
            counts: Board::new(most.saturating_add(1))?,
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
        let row = self.rows.get(place)?;
        row.clear();
        Some((place, row))
    }

    /// What another process can see of all this.
    pub(crate) fn view(&self) -> View {
        View { rows: self.rows, counts: self.counts }
    }

    /// Where the parent counts.
    pub(crate) fn own_counts(&self) -> Option<Cells> {
        self.counts.row(0)
    }

    /// Where the worker of that place counts; it goes on from where the last one has stopped.
    pub(crate) fn counts(&self, place: usize) -> Option<Cells> {
        self.counts.row(place + 1)
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
            over: self.rows.get(place).map_or(0, |row| row.over()),
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
        let changes = self.rows.changes();
        if std::mem::replace(&mut self.seen, changes) == changes {
            return done;
        }
        for place in 0..self.slots.len() {
            let Some((slot, row)) = self.slots[place].as_ref().zip(self.rows.get(place)) else {
                continue;
            };
            if row.over() > slot.over {
                self.is_done(place);
                done.push(place);
            } else if row.left() > slot.over {
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
            self.rows.ask(wanted);
        }
        is_new && wanted
    }

    /// The process has ended: its slot is free.
    pub(crate) fn remove(&mut self, pid: i32) -> Option<Slot> {
        let has_it = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.pid == pid);
        let place = self.slots.iter().position(has_it)?;
        let client = self.slots[place].as_ref()?.client;
        if let Some(row) = self.rows.get(place) {
            row.clear();
        }
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
}

#[cfg(test)]
mod tests;
