//! Connections that do not block, made in time.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};

use super::wait::left;

/// The longest wait for a connection to be made.
const CONNECT: Duration = Duration::from_secs(30);

/// A connection that does not block to the first address of `host` that answers.
///
/// # Errors
/// The host has no address, none of them answers, or time is over.
pub(crate) fn tcp(host: &str, port: u16, until: Instant) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(until)?.min(CONNECT)) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// The same to a socket in the file system.  This does not wait at all: a server whose queue of
/// clients is full counts as one that is down.
///
/// # Errors
/// What the system says.
pub(crate) fn unix(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}
