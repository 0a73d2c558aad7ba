//! The typed messages between the parent and a child, the passed socket included.
//!
//! They go over Unix sockets that keep them apart (SOCK_SEQPACKET).  Each worker of a pool has a
//! socket for its jobs; when the parent closes its end, the worker finishes what it is doing and ends.
//! All children report over one socket that they share.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, send, sendmsg, socketpair,
};

use crate::server::peer::Peer;
use crate::sys::{deadline, descriptors};

/// A client as octets: [`TCP`] or 0, and both ends: each an IPv6 (or mapped IPv4) address and a port.
const JOB: usize = 1 + 2 * END;
const END: usize = 18;
const TCP: u8 = 1;

/// The report that is not the text about an overdue handler.
const WAKE: &[u8] = b"W";

/// What a child says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// There is room for a client again: a look at the scoreboard says where.
    Wake,
    /// A handler passed its deadline; the child is gone.
    Overdue(Overdue),
}

/// Which handler was overdue, in which session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) session: String,
    pub(crate) hook: String,
    pub(crate) plugin: String,
}

/// A new pair of sockets: the parent's end and that of one child, or all.
///
/// # Errors
/// No descriptors are left.
pub(crate) fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
    socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC)
}

/// Parent: passes a client to a worker.
///
/// # Errors
/// The worker is gone.
pub(crate) fn send_job(link: &OwnedFd, client: &OwnedFd, peer: &Peer) -> nix::Result<()> {
    let octets = encode(peer);
    let fds = [client.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(link.as_raw_fd(), &[IoSlice::new(&octets)], &control, flags, None).map(drop)
}

/// Child: waits for the next client; None when the parent wants it to end.  Meanwhile `rest` is called,
/// at once and then after as long as it says.
pub(crate) fn receive_job(
    link: &OwnedFd,
    rest: impl Fn() -> Option<Duration>,
) -> Option<(OwnedFd, Peer)> {
    while let Some(time) = rest() {
        let mut fds = [PollFd::new(link.as_fd(), PollFlags::POLLIN)];
        // Rounded up, so that it does not spin.
        let time = PollTimeout::try_from(time + Duration::from_millis(1));
        match poll(&mut fds, time.unwrap_or(PollTimeout::MAX)) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => break,
        }
    }
    loop {
        let mut octets = [0; JOB];
        match descriptors::receive(link, &mut octets) {
            Ok((JOB, Some(client))) => return Some((client, decode(&octets))),
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

/// Child: wakes the parent, which has asked for that.
pub(crate) fn wake(reports: &OwnedFd) {
    let _ = send(reports.as_raw_fd(), WAKE, MsgFlags::MSG_NOSIGNAL);
}

/// Parent: the next report; None when there is none.
pub(crate) fn receive_report(reports: &OwnedFd) -> Option<Report> {
    let mut octets = [0; 512];
    let count = recv(reports.as_raw_fd(), &mut octets, MsgFlags::MSG_DONTWAIT).ok()?;
    Some(match &octets[..count] {
        WAKE => Report::Wake,
        told => {
            let mut texts = told.chunks(deadline::LONGEST);
            let mut next = || {
                let text = texts.next().and_then(|text| text.split(|octet| *octet == 0).next());
                String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
            };
            Report::Overdue(Overdue { session: next(), hook: next(), plugin: next() })
        }
    })
}

fn encode(peer: &Peer) -> [u8; JOB] {
    let mut octets = [0; JOB];
    let Peer::Tcp { remote, local } = peer else { return octets };
    octets[0] = TCP;
    for (half, (ip, port)) in octets[1..].chunks_exact_mut(END).zip([remote, local]) {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => *ip,
        };
        half[..16].copy_from_slice(&ip.octets());
        half[16..].copy_from_slice(&port.to_be_bytes());
    }
    octets
}

fn decode(octets: &[u8; JOB]) -> Peer {
    let end = |half: &[u8]| {
        let mut ip = [0; 16];
        ip.copy_from_slice(&half[..16]);
        (IpAddr::V6(Ipv6Addr::from(ip)).to_canonical(), u16::from_be_bytes([half[16], half[17]]))
    };
    match octets[0] {
        TCP => Peer::Tcp { remote: end(&octets[1..1 + END]), local: end(&octets[1 + END..]) },
        _ => Peer::Unix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn peer() -> Peer {
        let remote = ([192, 0, 2, 1].into(), 40000);
        Peer::Tcp { remote, local: (Ipv6Addr::LOCALHOST.into(), 25) }
    }

    #[test]
    fn every_peer_comes_back_from_its_octets() {
        for peer in [peer(), Peer::Unix] {
            assert_eq!(decode(&encode(&peer)), peer);
        }
    }

    #[test]
    fn a_socket_arrives_with_its_peer() {
        let (parent, child) = pair().unwrap();
        let (mut client, server) = UnixStream::pair().unwrap();
        send_job(&parent, &server.into(), &peer()).unwrap();
        let (passed, found) = receive_job(&child, || None).unwrap();
        assert_eq!(found, peer());
        UnixStream::from(passed).write_all(b"220 hi").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "220 hi");
    }

    #[test]
    fn reports_come_one_by_one() {
        let (parent, child) = pair().unwrap();
        assert_eq!(receive_report(&parent), None);
        wake(&child);
        let told = ["6b1.2f.0", "rcpt", "slow"].map(|text| {
            let mut octets = [0; deadline::LONGEST];
            octets[..text.len()].copy_from_slice(text.as_bytes());
            octets
        });
        send(child.as_raw_fd(), &told.concat(), MsgFlags::empty()).unwrap();
        assert_eq!(receive_report(&parent), Some(Report::Wake));
        let [session, hook, plugin] = ["6b1.2f.0", "rcpt", "slow"].map(str::to_owned);
        let overdue = Report::Overdue(Overdue { session, hook, plugin });
        assert_eq!(receive_report(&parent), Some(overdue));
        assert_eq!(receive_report(&parent), None);
    }

    #[test]
    fn without_a_parent_there_are_no_jobs() {
        let (parent, child) = pair().unwrap();
        drop(parent);
        assert!(receive_job(&child, || None).is_none());
    }
}
