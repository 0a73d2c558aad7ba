//! qpsmtpd-forkserver: a new process for every connection.

use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::server::listener::Peer;
use crate::server::parent::{Model, Parent};
use crate::server::worker::{self, Duty};

/// Forks for each client.
#[derive(Debug)]
pub(crate) struct Forkserver {
    /// How many clients are served at a time.
    pub(crate) limit: usize,
    pub(crate) duty: Duty,
}

impl Model for Forkserver {
    fn most(&self) -> usize {
        self.limit
    }

    fn has_room(&mut self, parent: &mut Parent) -> bool {
        parent.children.len() < self.limit && !parent.backoff.is_waiting(Instant::now())
    }

    fn take(&mut self, parent: &mut Parent, client: OwnedFd, peer: &Peer) {
        let duty = self.duty;
        let mut client = Some(client);
        let made = parent.spawn(Some(peer.counts_as()), Ok(None), |post, shared| {
            if let Some(client) = client.take() {
                worker::one_client(client, peer, post, shared, duty);
            }
        });
        if let (None, Some(client)) = (made, client) {
            parent.refuse(&client);
        }
    }
}
