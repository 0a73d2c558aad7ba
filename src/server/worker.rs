//! A child process: serves its client or, in a pool, one client after the other.

use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::unistd::Pid;

use crate::hook::{Rest, Shared};
use crate::log::Level;
use crate::metrics::{self, Cells};
use crate::server::growth::{self, Growth};
use crate::server::handoff;
use crate::server::peer::{Peer, has_path};
use crate::server::scoreboard::Row;
use crate::smtp::{Stream, serve, serve_last, stream};
use crate::state::Connection;
use crate::sys::fork::exit;
use crate::sys::{deadline, memory, panics, process, stop, title};

/// The exit status of a child in which the core itself failed.
pub(super) const EXIT_BUG: i32 = 70;

/// What every worker of a parent is told: whose it is, and how it serves.
#[derive(Debug)]
pub(crate) struct WorkerSettings {
    pub(crate) parent: Pid,
    /// Where it makes its reports.
    pub(crate) reports: OwnedFd,
    /// Look up the names of clients?
    pub(crate) rdns: bool,
    /// By how much the parent raised its priority, which is not for workers.
    pub(crate) renice: i32,
}

/// How a session is served.
type Serve = fn(Stream, Connection, &Shared) -> u64;

/// A worker, in its own process.
pub(crate) struct Worker<'a> {
    pub(crate) settings: &'a WorkerSettings,
    pub(crate) row: Row,
    /// Where it counts, and says what it does, if anybody can see it.
    pub(crate) counts: Option<Cells>,
    pub(crate) shared: &'a Shared,
}

impl Worker<'_> {
    /// Serves one client.
    pub(crate) fn one_client(&self, client: OwnedFd, peer: &Peer) {
        self.begin();
        self.session(client, peer, serve_last);
        self.shared.plugins.rest(Rest::Ends);
    }

    /// Serves the clients that come as `jobs`, up to `lifetime` of them, until it is told to end.
    pub(crate) fn pool(&self, jobs: &OwnedFd, lifetime: u64) {
        self.begin();
        self.serve(jobs, lifetime);
        self.shared.plugins.rest(Rest::Ends);
    }

    fn serve(&self, jobs: &OwnedFd, lifetime: u64) {
        memory::keep_freed();
        let growth = Growth::begin();
        for served in 1..=lifetime.max(1) {
            title::waits();
            let rest = || self.shared.plugins.rest(Rest::Waits);
            let Some((client, peer)) = handoff::receive_job(jobs, rest) else { return };
            let octets = self.session(client, &peer, serve);
            let is_big = octets >= growth::BIG && self.is_too_big(&growth);
            if is_big || served == lifetime.max(1) || stop::PARENT.is_requested() {
                // The end of the process says it all.
                return;
            }
            if self.row.is_done() {
                handoff::wake(&self.settings.reports);
            }
        }
    }

    /// After a session with a lot of mail: processes of plugins that keep too much are let go; is this
    /// one to go, too?
    fn is_too_big(&self, growth: &Growth) -> bool {
        let plugins = &self.shared.plugins;
        plugins.let_go();
        let Some(octets) = growth.too_much() else { return false };
        let grown = octets >> 20;
        plugins.log(Level::Info, format_args!("this process has grown by {grown} MiB and ends"));
        true
    }

    fn begin(&self) {
        process::raise_priority(-self.settings.renice);
        process::ignore_group_signals();
        stop::install(self.settings.parent);
        deadline::install(Some(self.settings.reports.as_raw_fd()));
        self.row.begins();
        metrics::keep(self.counts);
        if self.counts.is_some() {
            title::share(self.row.shown());
        }
        self.shared.plugins.confine();
        self.shared.plugins.post_fork(&self.shared.config);
    }

    /// Returns how many octets of messages there were.
    fn session(&self, client: OwnedFd, peer: &Peer, serve: Serve) -> u64 {
        let (remote, local) = peer.ends();
        let mut connection = Connection::new(remote, local);
        connection.passed_parent = true;
        if self.settings.rdns {
            connection = connection.with_look_up();
        }
        if *peer == Peer::Unix {
            connection.by_path = has_path(&client);
            // Clients of other listeners inherit it.
            stream::prepare(&client);
        }
        let row = self.row;
        let stream = Stream::new(client).until(&stop::PARENT).on_close(move || row.client_left());
        let served = catch_unwind(AssertUnwindSafe(|| serve(stream, connection, self.shared)));
        served.unwrap_or_else(|_| {
            let why = panics::last();
            let text = format_args!("the session from {peer} failed: {why}");
            self.shared.plugins.log(Level::Crit, text);
            exit(EXIT_BUG)
        })
    }
}
