//! The process that keeps a filter which all processes of a daemon share.
//!
//! Who needs the filter connects to a socket in the spool folder, and is told what the filter has
//! registered for.  From then on lines go through: to the filter as they are, and from the filter to
//! whoever has said something of the session that the line is about.  Whoever finds nobody at the socket
//! makes this process.  It ends when all processes that have the other end of its lifeline are gone.

mod clients;
mod filter;

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use self::clients::{Client, Owner};
use self::filter::{Filter, tell};
use super::program::{Backoff, Program};
use crate::net::{Channel, wait_for};

/// The most octets that are read before they are taken, and that may wait for somebody before more are
/// read.
const MOST: usize = 1024 * 1024;

/// How often is looked whether somebody takes too long.
const TICK: Duration = Duration::from_secs(1);

pub(super) struct Broker {
    listener: UnixListener,
    end: File,
    program: Program,
    me: String,
    filter: Option<Filter>,
    backoff: Backoff,
    clients: HashMap<u64, Client>,
    next_client: u64,
    sessions: HashMap<u64, Owner>,
    complaints: Vec<String>,
}

impl Broker {
    pub(super) fn new(
        listener: UnixListener,
        end: OwnedFd,
        program: Program,
        me: String,
    ) -> Broker {
        Broker {
            listener,
            end: end.into(),
            program,
            me,
            filter: None,
            backoff: Backoff::default(),
            clients: HashMap::new(),
            next_client: 0,
            sessions: HashMap::new(),
            complaints: vec![],
        }
    }

    /// Until nobody is left who could need the filter.
    pub(super) fn run(mut self) {
        while !self.is_over() {
            self.accept();
            self.hear_filter();
            self.hear_clients();
            self.write();
            self.part();
            self.wait();
        }
    }

    fn is_over(&mut self) -> bool {
        let mut fds = [PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
        let is_ready = nix::poll::poll(&mut fds, 0u8).is_ok_and(|count| count > 0);
        // Nobody ever writes there.
        is_ready
            && !matches!(self.end.read(&mut [0]), Err(error) if error.kind() == ErrorKind::Interrupted)
    }

    fn wait(&self) {
        let is_full = self
            .filter
            .as_ref()
            .is_none_or(|filter| !filter.is_ready || filter.process.lines.waiting() > MOST);
        let is_jammed = self.is_jammed();
        let mut fds = vec![
            PollFd::new(self.end.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.filter.iter().flat_map(|filter| filter.process.wants(is_jammed)));
        for client in self.clients.values() {
            fds.extend(client.channel.wants(is_full || client.is_leaving).into_iter().flatten());
        }
        // It is over when nothing has happened.
        let _ = wait_for(fds, Instant::now() + TICK);
    }

    /// Does too much wait for somebody?  Then the filter has to wait.
    fn is_jammed(&self) -> bool {
        let is_slow = |client: &Client| !client.is_leaving && client.channel.waiting() > MOST;
        self.clients.values().any(is_slow)
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let Ok(mut channel) = Channel::over(stream.into()) else { continue };
            if self.filter.is_none() {
                self.start();
            }
            let is_leaving = self.filter.is_none();
            if is_leaving {
                tell(&mut channel, &self.complaints);
                let left = self.backoff.left().unwrap_or_default().as_secs() + 1;
                tell(&mut channel, &[format!("it is started again in {left} s")]);
            }
            let client =
                Client { channel, is_greeted: false, is_gone: false, is_leaving, stuck: None };
            self.clients.insert(self.next_client, client);
            self.next_client += 1;
        }
    }
}
