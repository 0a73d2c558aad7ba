//! The client's bytes: buffered lines in, buffered replies out, every wait with a limit, in the
//! clear or under TLS.

mod handshake;
mod input;
mod output;
mod wait;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, setsockopt, sockopt};

use self::output::Writer;
use crate::smtp::tls::Tls;
use crate::smtp::waits::Waits;
use crate::sys::stop::Stop;

pub use crate::smtp::waits::End;

/// How many octets are read at a time while a message is expected.
const MESSAGE: usize = 64 * 1024;

/// How long a client is waited for until a session says it better.
const TIMEOUT: Duration = Duration::from_secs(1200);

/// The connection to one client.
#[derive(Debug)]
pub struct Stream {
    input: Rc<OwnedFd>,
    output: Option<OwnedFd>,
    /// Whether the server wants sessions to end.
    stop: Option<&'static Stop>,
    /// What happens when the client is leaving.
    on_close: OnClose,
    /// What happens before the client is waited for.
    before_wait: BeforeWait,
    /// What was read; from `at` on it was not used yet.
    buffer: Vec<u8>,
    at: usize,
    out: Vec<u8>,
    read_limit: ReadLimit,
    tls: Option<Tls>,
    /// How long the client was waited for.
    pub(crate) waits: Waits,
    /// Does the client have all the time that it wants?
    is_patient: bool,
    /// Why nothing can be said to the client any more.
    broken: Option<End>,
}

/// See [`Stream::on_close`].
struct OnClose(Option<Box<dyn FnOnce()>>);

impl fmt::Debug for OnClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnClose")
    }
}

/// See [`Stream::before_wait`].
struct BeforeWait(Option<Box<Waiting>>);

type Waiting = dyn Fn(&dyn Fn() -> bool);

impl fmt::Debug for BeforeWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeforeWait")
    }
}

/// How long the kernel lets a read wait (SO_RCVTIMEO).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadLimit {
    /// It was not told.
    Unknown,
    Known(Duration),
    /// It cannot be told: this is no socket.
    None,
}

impl Stream {
    /// A stream over one descriptor, usually a socket.
    pub fn new(socket: OwnedFd) -> Stream {
        Stream {
            input: Rc::new(socket),
            output: None,
            stop: None,
            on_close: OnClose(None),
            before_wait: BeforeWait(None),
            // It would grow to that with the first message; what is not used of it costs nothing.
            buffer: Vec::with_capacity(MESSAGE),
            at: 0,
            out: Vec::with_capacity(512),
            read_limit: ReadLimit::Unknown,
            tls: None,
            waits: Waits::all(TIMEOUT),
            is_patient: false,
            broken: None,
        }
    }

    /// A stream that reads one descriptor and writes another.
    pub fn pair(input: OwnedFd, output: OwnedFd) -> Stream {
        Stream { output: Some(output), ..Stream::new(input) }
    }

    /// The same stream; the request to stop ends waits for its client, as the table of waits says.
    pub fn until(mut self, stop: &'static Stop) -> Stream {
        self.stop = Some(stop);
        self
    }

    /// The same stream, whose client is waited for without a limit: a person who types, say.
    pub(crate) fn patient(mut self) -> Stream {
        self.is_patient = true;
        self
    }

    /// The same stream; `run` runs once, when all has been said to the client and the connection is
    /// about to be closed: the client may be back before `run` returns.
    pub fn on_close(mut self, run: impl FnOnce() + 'static) -> Stream {
        self.on_close = OnClose(Some(Box::new(run)));
        self
    }

    /// `run` runs each time before the client is waited for.  Its argument finds out whether the client
    /// lets us wait.
    pub(crate) fn before_wait(&mut self, run: impl Fn(&dyn Fn() -> bool) + 'static) {
        self.before_wait = BeforeWait(Some(Box::new(run)));
    }

    /// The descriptor on which the client reads.
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_ref().unwrap_or(&*self.input).as_fd()
    }

    /// What is read, what is under TLS, and what is written.
    fn parts(&mut self) -> (BorrowedFd<'_>, Option<&mut Tls>, Writer<'_>) {
        let Stream { input, output, tls, waits, stop, .. } = self;
        let input: &OwnedFd = input;
        let to = output.as_ref().unwrap_or(input).as_fd();
        let writer = Writer { to, waits, stop: *stop, flags: MsgFlags::empty(), end: None };
        (input.as_fd(), tls.as_mut(), writer)
    }
}

/// Prepares a client's socket, or a listening one whose clients inherit it: what is written goes out
/// at once, since replies are collected here, and a handshake must not wait for acknowledgements.
pub(crate) fn prepare(socket: &impl AsFd) {
    let _ = setsockopt(socket, sockopt::TcpNoDelay, &true);
}

/// Is this descriptor the same open file as that one?
///
/// # Errors
/// One of them is not open.
pub fn is_same(one: &impl AsRawFd, other: &impl AsFd) -> io::Result<bool> {
    // The raw descriptor may be closed: fstat is what finds out.
    let path = format!("/proc/self/fd/{}", one.as_raw_fd());
    let one = nix::sys::stat::stat(path.as_str())?;
    let other = nix::sys::stat::fstat(other)?;
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests;
