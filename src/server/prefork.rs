//! qpsmtpd-prefork: a pool of waiting processes that are handed one client after the other.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::server::handoff;
use crate::server::parent::{Dispatch, Parent};
use crate::server::peer::Peer;
use crate::server::scoreboard::Slot;

/// How long there must have been too many waiting processes before they are let go, one a second.
const CALM: Duration = Duration::from_secs(60);

/// Hands clients to waiting processes.
#[derive(Debug)]
pub(crate) struct Prefork {
    /// How many processes there may be.
    most: usize,
    /// How many should be waiting.
    idle: usize,
    /// How many clients a process serves before it ends.
    lifetime: u64,
    /// Since when there are more than that, or when the last of them was let go.
    surplus: Option<Instant>,
}

impl Prefork {
    /// A pool of at most `most` processes, with `idle` of them waiting; each serves `lifetime` clients.
    pub(crate) fn new(most: usize, idle: usize, lifetime: u64) -> Prefork {
        Prefork { most, idle: idle.clamp(1, most), lifetime, surplus: None }
    }

    fn may_spawn(&self, parent: &Parent, now: Instant) -> bool {
        parent.board.len() < self.most && !parent.backoff.is_waiting(now)
    }

    /// Makes a process, which must not keep a copy of the client that the parent has at hand:
    /// the connection would not end when its session does.
    fn spawn(&self, parent: &mut Parent, at_hand: &mut Option<OwnedFd>) -> Option<usize> {
        let (link, jobs) = match handoff::pair() {
            Ok((link, jobs)) => (Ok(Some(link)), Some(jobs)),
            Err(error) => (Err(error), None),
        };
        parent.spawn(None, link, |worker| {
            drop(at_hand.take());
            if let Some(jobs) = jobs {
                worker.pool(&jobs, self.lifetime);
            }
        })
    }
}

impl Dispatch for Prefork {
    fn most(&self) -> usize {
        self.most
    }

    fn has_room(&self, parent: &Parent) -> bool {
        parent.board.idle() > 0 || self.may_spawn(parent, Instant::now())
    }

    fn take(&mut self, parent: &mut Parent, client: OwnedFd, peer: Peer) {
        let mut at_hand = Some(client);
        while let Some(place) = parent.board.waiting().or_else(|| self.spawn(parent, &mut at_hand))
        {
            let Some(client) = &at_hand else { return };
            let link = parent.board.get_mut(place).and_then(|slot| slot.link.as_ref());
            let sent = link.is_some_and(|link| handoff::send_job(link, client, &peer).is_ok());
            parent.board.serves(place, peer);
            if sent {
                return;
            }
            parent.board.client_left(place);
            parent.dismiss(place);
        }
        if let Some(client) = at_hand {
            parent.refuse(&client);
        }
    }

    fn died(&mut self, parent: &mut Parent, slot: &Slot) {
        if slot.served == 0 {
            parent.backoff.failed(Instant::now());
        }
    }

    fn balance(&mut self, parent: &mut Parent, now: Instant) {
        while parent.board.idle() < self.idle && self.may_spawn(parent, now) {
            if self.spawn(parent, &mut None).is_none() {
                break;
            }
        }
        if parent.board.idle() <= self.idle {
            self.surplus = None;
            return;
        }
        let since = *self.surplus.get_or_insert(now);
        if now.duration_since(since) >= CALM {
            self.surplus = Some(now - CALM + Duration::from_secs(1));
            if let Some(place) = parent.board.take_longest_waiting() {
                parent.dismiss(place);
            }
        }
    }
}
