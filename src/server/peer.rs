//! Who a client is, and where it came.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{UnixAddr, getsockname};

/// An address and a port.
pub(crate) type End = (IpAddr, u16);

/// Who a client is, and where it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A client on the network: both ends of the connection.
    Tcp { remote: End, local: End },
    /// A client of a socket in the file system: somebody on this machine.
    Unix,
}

impl Peer {
    /// IPv4 clients of a dual-stack listener become plain IPv4 clients here, once and for all.
    pub(crate) fn tcp(remote: SocketAddr, local: SocketAddr) -> Peer {
        let plain = |end: SocketAddr| (end.ip().to_canonical(), end.port());
        Peer::Tcp { remote: plain(remote), local: plain(local) }
    }

    /// The address with whose others the client counts.  Clients of a path have none: they are not held
    /// against those of the loopback interface.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Tcp { remote, .. } => Some(remote.0),
            Peer::Unix => None,
        }
    }

    /// Both ends as sessions and plugins see them, the client's first: those of a client of a path are
    /// the loopback address without ports.
    pub(crate) fn ends(&self) -> (End, End) {
        let here = (Ipv4Addr::LOCALHOST.into(), 0);
        match self {
            Peer::Tcp { remote, local } => (*remote, *local),
            Peer::Unix => (here, here),
        }
    }
}

/// For the log.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp { remote, .. } => remote.0.fmt(f),
            Peer::Unix => f.write_str("a client of a path"),
        }
    }
}

/// Has this socket, or the one that accepted it, a place in the file system?
pub(crate) fn has_path(socket: &OwnedFd) -> bool {
    getsockname::<UnixAddr>(socket.as_raw_fd()).is_ok_and(|own| own.path().is_some())
}
