//! What is decided about a client before it costs a process: the core's own limit, then the
//! `pre-connection` hook.  This runs in the parent, so nothing here waits.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};

use crate::hook::{CORE, Hook, Incoming, Shared, Verdict};
use crate::log::Level;
use crate::metrics::{self, Metric};
use crate::server::peer::Peer;
use crate::server::scoreboard::Scoreboard;
use crate::smtp::refusals::refusal;
use crate::smtp::service;
use crate::smtp::syntax::reply::{Form, Reply};

/// What plugins see among the addresses of others for a client that has none.
const NOBODYS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// May this client have a process?  None: yes; else the reply that sends it away.  `is_cooling_down`:
/// it was asked to leave before, and there is little room.  Proxies bring clients of many
/// addresses, so nothing that is about one address holds them; nor those who come by a socket in the
/// file system.
pub(crate) fn check(
    peer: &Peer,
    board: &Scoreboard,
    max_from_ip: usize,
    is_cooling_down: bool,
    shared: &Shared,
) -> Option<Reply> {
    let (remote, local) = peer.ends();
    let ip = remote.0;
    let is_free = match peer {
        Peer::Tcp { .. } => service::is_proxy(ip, local.1, &shared.config),
        Peer::Unix => true,
    };
    let max_from_ip = match max_from_ip {
        0 => 0,
        _ if is_free => 0,
        _ => shared.plugins.max_from_ip(ip, max_from_ip),
    };
    if max_from_ip > 0 && board.connections_from(ip) >= max_from_ip {
        shared.plugins.log(Level::Notice, format_args!("too many connections from {ip}"));
        count("4xx-disconnect");
        let text = format!("too many connections from {ip}, try again later");
        let refused = Ok(Verdict::denysoft(text));
        return refusal(Hook::PreConnection, &refused, "").map(|answer| answer.0);
    }
    if max_from_ip > 0 && is_cooling_down {
        shared.plugins.log(Level::Info, format_args!("others wait: {ip} is turned away"));
        count("4xx-disconnect");
        return Some(Reply::new(421, "4.3.2", "too busy for you now, try again later"));
    }
    if !shared.plugins.has(Hook::PreConnection) {
        return None;
    }
    let address = |client: Peer| client.ip().unwrap_or(NOBODYS);
    let others: Vec<IpAddr> = board.clients().map(address).collect();
    let mut incoming = Incoming::new(remote, local, max_from_ip, &others, &shared.config);
    incoming.is_free = is_free;
    let decision = shared.plugins.pre_connection(&incoming);
    refusal(Hook::PreConnection, &decision, "").map(|answer| answer.0)
}

/// The core itself refuses a client.
fn count(class: &str) {
    metrics::add(Metric::Refusals, &[Hook::PreConnection.name(), CORE, class], 1);
}

/// Says so and hangs up, without waiting for the client to listen.
pub(crate) fn send_away(client: &OwnedFd, reply: &Reply) {
    let mut text = vec![];
    reply.write(Form::default(), &mut text);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let _ = send(client.as_raw_fd(), &text, flags);
    let _ = shutdown(client.as_raw_fd(), Shutdown::Write);
}
