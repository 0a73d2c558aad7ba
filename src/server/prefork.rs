//! qpsmtpd-prefork: a pool of waiting processes that are handed one client after the other.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::server::children::Child;
use crate::server::handoff;
use crate::server::listener::Peer;
use crate::server::parent::{Dispatch, Parent};
use crate::server::seats::Seats;
use crate::server::worker::{self, Duty};
use crate::sys::tally::News;

/// How long there must have been too many waiting processes before they are let go, one a second.
const CALM: Duration = Duration::from_secs(60);

/// Hands clients to waiting processes.
#[derive(Debug)]
pub(crate) struct Prefork {
    /// How many processes there may be.
    pub(crate) most: usize,
    /// How many should be waiting.
    pub(crate) idle: usize,
    pub(crate) duty: Duty,
    /// Since when there are more than that, or when the last of them was let go.
    pub(crate) surplus: Option<Instant>,
    /// Who is done, and whose client has left.
    pub(crate) seats: Seats,
}

impl Prefork {
    fn may_spawn(&self, parent: &Parent, now: Instant) -> bool {
        parent.children.len() < self.most && !parent.backoff.is_waiting(now)
    }

    /// Makes a process, which must not keep a copy of the client that the parent has at hand:
    /// the connection would not end when its session does.
    fn spawn(&mut self, parent: &mut Parent, at_hand: &mut Option<OwnedFd>) -> Option<i32> {
        let duty = self.duty;
        let (place, tally) = self.seats.free(|pid| parent.children.has(pid))?;
        let (link, jobs) = match handoff::pair() {
            Ok((link, jobs)) => (Ok(Some(link)), Some(jobs)),
            Err(error) => (Err(error), None),
        };
        let pid = parent.spawn(None, link, |post, shared| {
            drop(at_hand.take());
            if let Some(jobs) = jobs {
                worker::pool(jobs, tally, post, shared, duty);
            }
        })?;
        self.seats.take(place, pid);
        Some(pid)
    }
}

impl Dispatch for Prefork {
    fn most(&self) -> usize {
        self.most
    }

    fn has_room(&mut self, parent: &mut Parent) -> bool {
        self.look(parent);
        let mut room = parent.children.idle() > 0 || self.may_spawn(parent, Instant::now());
        if self.seats.ask(!room) {
            self.look(parent);
            room = parent.children.idle() > 0;
        }
        room
    }

    fn take(&mut self, parent: &mut Parent, client: OwnedFd, peer: &Peer) {
        let mut at_hand = Some(client);
        while let Some(pid) = parent.children.waiting().or_else(|| self.spawn(parent, &mut at_hand))
        {
            let Some(client) = &at_hand else { return };
            let link = parent.children.get_mut(pid).and_then(|child| child.link.as_ref());
            let sent = link.is_some_and(|link| handoff::send_job(link, client, peer).is_ok());
            parent.children.serves(pid, peer.counts_as());
            if sent {
                return;
            }
            parent.children.is_done(pid, false);
            parent.dismiss(pid);
        }
        if let Some(client) = at_hand {
            parent.refuse(&client);
        }
    }

    fn look(&mut self, parent: &mut Parent) {
        for (pid, news) in self.seats.news() {
            if news == News::Left {
                parent.children.client_left(pid);
                continue;
            }
            parent.backoff.worked();
            let outdated = parent.children.get_mut(pid).is_some_and(|child| child.outdated);
            parent.children.is_done(pid, !outdated);
            if outdated {
                parent.dismiss(pid);
            }
        }
    }

    fn done(&mut self, parent: &mut Parent, pid: i32, leaving: bool) {
        match leaving {
            true => {
                parent.children.is_done(pid, false);
                parent.dismiss(pid);
            }
            false => self.look(parent),
        }
    }

    fn died(&mut self, parent: &mut Parent, child: &Child) {
        if child.served == 0 {
            parent.backoff.failed(Instant::now());
        }
    }

    fn balance(&mut self, parent: &mut Parent, now: Instant) {
        while parent.children.idle() < self.idle && self.may_spawn(parent, now) {
            if self.spawn(parent, &mut None).is_none() {
                break;
            }
        }
        if parent.children.idle() <= self.idle {
            self.surplus = None;
            return;
        }
        let since = *self.surplus.get_or_insert(now);
        if now.duration_since(since) >= CALM {
            self.surplus = Some(now - CALM + Duration::from_secs(1));
            if let Some(pid) = parent.children.take_longest_waiting() {
                parent.dismiss(pid);
            }
        }
    }
}
