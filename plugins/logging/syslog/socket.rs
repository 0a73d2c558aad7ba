//! Ways to the logger.

use std::io::{self, BufWriter};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use syslog::{LogFormat, Logger, LoggerBackend, Severity};

use super::format::Format;
use crate::plugins::host_name;

/// Where the logger's socket may be.
pub(super) const PATHS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// A way to the logger.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Socket {
    Unix(Vec<String>),
    Stream(Vec<String>),
    Udp(SocketAddr),
    Tcp(SocketAddr),
}

impl Socket {
    /// A connection on which a line waits `timeout` at most.
    ///
    /// # Errors
    /// None of the places works.
    pub(super) fn connect(
        &self,
        format: &Format,
        timeout: Duration,
    ) -> io::Result<Logger<LoggerBackend, Format>> {
        let distant = || Format { host: Some(host_name()), ..format.clone() };
        let logger = match self {
            Socket::Unix(paths) => {
                let backend = first(paths, |path| datagram(path, timeout))?;
                Logger::new(backend, format.clone())
            }
            Socket::Stream(paths) => {
                Logger::new(first(paths, |path| stream(path, timeout))?, format.clone())
            }
            Socket::Udp(server) => {
                let local = (Ipv4Addr::LOCALHOST, 0);
                syslog::udp(distant(), local, server).map_err(io_error)?
            }
            Socket::Tcp(server) => {
                let stream = TcpStream::connect_timeout(server, timeout)?;
                stream.set_write_timeout(Some(timeout))?;
                let backend = LoggerBackend::Tcp(BufWriter::new(stream));
                Logger::new(backend, Format { end: "\n", ..distant() })
            }
        };
        Ok(logger)
    }
}

/// A datagram socket, or a stream socket where the logger's is one.
fn datagram(path: &str, timeout: Duration) -> io::Result<LoggerBackend> {
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Ok(()) => socket.set_write_timeout(Some(timeout))?,
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            return stream(path, timeout);
        }
        Err(error) => return Err(error),
    }
    Ok(LoggerBackend::Unix(socket))
}

/// A stream socket.  To connect to one may take as long as to write.
fn stream(path: &str, timeout: Duration) -> io::Result<LoggerBackend> {
    let (family, kind) = (AddressFamily::Unix, SockType::Stream);
    let socket = UnixStream::from(socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?);
    socket.set_write_timeout(Some(timeout))?;
    let address = UnixAddr::new(path)?;
    while let Err(error) = connect(socket.as_raw_fd(), &address) {
        if error != Errno::EINTR {
            return Err(error.into());
        }
    }
    Ok(LoggerBackend::UnixStream(BufWriter::new(socket)))
}

/// Does the connection let a line wait, for as long as was said when it was made?
pub(super) fn set_waiting(backend: &LoggerBackend, waits: bool) -> io::Result<()> {
    match backend {
        LoggerBackend::Unix(socket) => socket.set_nonblocking(!waits),
        LoggerBackend::UnixStream(stream) => stream.get_ref().set_nonblocking(!waits),
        LoggerBackend::Tcp(stream) => stream.get_ref().set_nonblocking(!waits),
        LoggerBackend::Udp(..) => Ok(()),
    }
}

/// Did the logger take too long?
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn first<T>(paths: &[String], connect: impl Fn(&str) -> io::Result<T>) -> io::Result<T> {
    let mut failed = io::ErrorKind::NotFound.into();
    for path in paths {
        match connect(path) {
            Ok(connected) => return Ok(connected),
            Err(error) => failed = io::Error::new(error.kind(), format!("{path}: {error}")),
        }
    }
    Err(failed)
}

/// Writes a line.
///
/// # Errors
/// What the system says.
pub(super) fn send(
    logger: &mut Logger<LoggerBackend, Format>,
    severity: Severity,
    text: &str,
) -> io::Result<()> {
    loop {
        match logger.formatter.format(&mut logger.backend, severity, text).map_err(io_error) {
            // A signal came while a datagram waited.  Streams go on by themselves.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn io_error(error: syslog::Error) -> io::Error {
    match error {
        syslog::Error::Write(error) | syslog::Error::Io(error) => error,
        syslog::Error::Initialization(error) => io::Error::other(error),
    }
}
