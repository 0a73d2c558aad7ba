//! A child process: serves its client or, in a pool, one client after the other.

use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::unistd::Pid;

use crate::hook::Shared;
use crate::log::Level;
use crate::server::growth::{self, Growth};
use crate::server::handoff;
use crate::server::listener::{Peer, has_path};
use crate::smtp::{Stream, serve, stream};
use crate::state::Connection;
use crate::sys::tally::Tally;
use crate::sys::{deadline, descriptors, stop, title};

/// The exit status of a child in which the core itself failed.
const EXIT_BUG: i32 = 70;

/// What a child needs to know besides what all sessions share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Duty {
    /// Look up the names of clients?
    pub(crate) rdns: bool,
    /// After so many clients a worker of a pool ends.
    pub(crate) lifetime: u64,
    /// By how much the parent raised its priority, which is not for children.
    pub(crate) renice: i32,
}

/// Where a child stands: who its parent is, and where it makes its reports.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) parent: Pid,
    pub(crate) reports: OwnedFd,
}

/// A process for one client.
pub(crate) fn one_client(
    client: OwnedFd,
    peer: &Peer,
    tally: Tally,
    post: &Post,
    shared: &Shared,
    duty: Duty,
) {
    begin(post, shared, duty);
    session(client, peer, tally, shared, duty);
}

/// A process of a pool: serves the clients that come as `jobs` until it is told to end.
pub(crate) fn pool(jobs: OwnedFd, tally: Tally, post: &Post, shared: &Shared, duty: Duty) {
    begin(post, shared, duty);
    let growth = Growth::begin();
    for served in 1..=duty.lifetime.max(1) {
        title::set("waiting");
        let Some((client, peer)) = handoff::receive_job(&jobs) else { return };
        let octets = session(client, &peer, tally, shared, duty);
        let is_big = octets >= growth::BIG && is_too_big(&growth, shared);
        if is_big || served == duty.lifetime.max(1) || stop::PARENT.is_wished() {
            return handoff::send_done(&post.reports, true);
        }
        if tally.done() {
            handoff::send_done(&post.reports, false);
        }
    }
}

/// After a session with a lot of mail: processes of plugins that keep too much are let go; is this one
/// to go, too?
fn is_too_big(growth: &Growth, shared: &Shared) -> bool {
    shared.plugins.let_go();
    let Some(octets) = growth.too_much() else { return false };
    let grown = octets >> 20;
    shared.plugins.log(Level::Info, format_args!("this process has grown by {grown} MiB and ends"));
    true
}

fn begin(post: &Post, shared: &Shared, duty: Duty) {
    descriptors::raise_priority(-duty.renice);
    descriptors::ignore_group_signals();
    stop::install(post.parent);
    deadline::install(Some(post.reports.as_raw_fd()));
    shared.plugins.confine();
    shared.plugins.post_fork(&shared.config);
}

/// How many octets of messages there were.
fn session(client: OwnedFd, peer: &Peer, tally: Tally, shared: &Shared, duty: Duty) -> u64 {
    let (remote, local) = peer.ends();
    let mut connection = Connection::new(remote, local);
    if duty.rdns {
        connection = connection.with_look_up();
    }
    if *peer == Peer::Unix {
        connection.by_path = has_path(&client);
        // Clients of other listeners inherit it.
        stream::prepare(&client);
    }
    let stream = Stream::new(client).until(&stop::PARENT).on_close(move || tally.left());
    let served = catch_unwind(AssertUnwindSafe(|| serve(stream, connection, shared)));
    served.unwrap_or_else(|_| {
        let why = crate::sys::panics::last();
        shared.plugins.log(Level::Crit, format_args!("the session from {peer} failed: {why}"));
        crate::sys::fork::exit(EXIT_BUG)
    })
}
