//! qpsmtpd-forkserver: a new process for every connection.

use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::server::parent::{Dispatch, Parent};
use crate::server::peer::Peer;

/// Forks for each client.
#[derive(Debug)]
pub(crate) struct Forkserver {
    /// How many clients are served at a time.
    pub(crate) limit: usize,
}

impl Dispatch for Forkserver {
    fn most(&self) -> usize {
        self.limit
    }

    fn has_room(&self, parent: &Parent) -> bool {
        parent.board.len() < self.limit && !parent.backoff.is_waiting(Instant::now())
    }

    fn take(&mut self, parent: &mut Parent, client: OwnedFd, peer: Peer) {
        let mut client = Some(client);
        let made = parent.spawn(Some(peer), Ok(None), |worker| {
            if let Some(client) = client.take() {
                worker.one_client(client, &peer);
            }
        });
        if let (None, Some(client)) = (made, client) {
            parent.refuse(&client);
        }
    }
}
