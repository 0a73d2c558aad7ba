//! qpsmtpd-forkserver: a new process for every connection.

use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::server::listener::Peer;
use crate::server::parent::{Dispatch, Parent};
use crate::server::seats::Seats;
use crate::server::worker::{self, Duty};

/// Forks for each client.
#[derive(Debug)]
pub(crate) struct Forkserver {
    /// How many clients are served at a time.
    pub(crate) limit: usize,
    pub(crate) duty: Duty,
    /// Whose client has left.
    pub(crate) seats: Seats,
}

impl Dispatch for Forkserver {
    fn most(&self) -> usize {
        self.limit
    }

    fn has_room(&mut self, parent: &mut Parent) -> bool {
        self.look(parent);
        parent.children.len() < self.limit && !parent.backoff.is_waiting(Instant::now())
    }

    fn take(&mut self, parent: &mut Parent, client: OwnedFd, peer: &Peer) {
        let duty = self.duty;
        let Some((place, tally)) = self.seats.free(|pid| parent.children.has(pid)) else {
            return parent.refuse(&client);
        };
        let mut client = Some(client);
        let made = parent.spawn(Some(peer.counts_as()), Ok(None), |post, shared| {
            if let Some(client) = client.take() {
                worker::one_client(client, peer, tally, post, shared, duty);
            }
        });
        match (made, client) {
            (Some(pid), _) => self.seats.take(place, pid),
            (None, Some(client)) => parent.refuse(&client),
            (None, None) => {}
        }
    }

    fn look(&mut self, parent: &mut Parent) {
        for (pid, _) in self.seats.news() {
            parent.children.client_left(pid);
        }
    }
}
