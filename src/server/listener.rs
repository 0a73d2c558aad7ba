//! A socket that clients come to.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::server::peer::Peer;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    /// On the network, at this address.
    Tcp(TcpListener, SocketAddr),
    /// In the file system.
    Unix(UnixListener),
}

impl Listener {
    /// The next client; `WouldBlock` when there is none.
    pub(crate) fn accept(&self) -> io::Result<(OwnedFd, Peer)> {
        match self {
            Listener::Tcp(listener, own) => {
                let (client, remote) = listener.accept()?;
                let local = if own.ip().is_unspecified() { client.local_addr()? } else { *own };
                Ok((client.into(), Peer::tcp(remote, local)))
            }
            Listener::Unix(listener) => Ok((listener.accept()?.0.into(), Peer::Unix)),
        }
    }

    /// Does a client wait to be accepted?
    pub(crate) fn has_client(&self) -> bool {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener, _) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match self {
            Listener::Tcp(_, own) => Some(own.to_string()),
            Listener::Unix(listener) => listener
                .local_addr()
                .ok()
                .and_then(|own| Some(own.as_pathname()?.display().to_string())),
        };
        f.write_str(address.as_deref().unwrap_or("a socket"))
    }
}
