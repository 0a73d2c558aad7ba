//! The client's bytes: buffered lines in, buffered replies out, every wait with a limit, in the
//! clear or under TLS.

mod wait;

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use memchr::memchr;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, setsockopt, shutdown, sockopt};
use nix::unistd::read;
use rustls::ServerConfig;

use self::wait::{Writer, is_sending};
use crate::smtp::tls::{Failed, Tls};
use crate::smtp::waits::{State, Wait, Waits};
use crate::state::Encryption;
use crate::sys::deadline;
use crate::sys::stop::Stop;

pub use crate::smtp::waits::End;

/// How many octets are read at a time while commands are expected, and while a message is.
const COMMANDS: usize = 4 * 1024;
const MESSAGE: usize = 64 * 1024;

/// A line longer than this is not waited for: the client talks no SMTP.
const ENDLESS: usize = 256 * 1024;

/// What is sent with this flag waits for what follows: the end of the connection, in one packet.
const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);

/// How long a client is waited for until a session says it better.
const PATIENCE: Duration = Duration::from_secs(1200);

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
            waits: Waits::all(PATIENCE),
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

    /// Replies are collected here; they are sent when the client has to speak next.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what has been collected.  When that fails the client is gone.
    pub fn flush(&mut self) {
        self.send(false);
    }

    /// `last`: the connection is closed next, and in the clear that can go out with it.
    fn send(&mut self, last: bool) {
        if self.out.is_empty() || self.broken.is_some() {
            return self.out.clear();
        }
        let out = std::mem::take(&mut self.out);
        let (_, tls, mut writer) = self.parts();
        let done = match tls {
            Some(tls) => tls.put(&out, &mut writer),
            None => {
                if last {
                    writer.flags = MORE;
                }
                writer.write_all(&out)
            }
        };
        self.broken = done.is_err().then(|| writer.end.unwrap_or(End::Closed));
        // Its room serves the next replies.
        self.out = out;
        self.out.clear();
    }

    /// What is read, what is under TLS, and what is written.
    fn parts(&mut self) -> (BorrowedFd<'_>, Option<&mut Tls>, Writer<'_>) {
        let Stream { input, output, tls, waits, stop, .. } = self;
        let input: &OwnedFd = input;
        let to = output.as_ref().unwrap_or(input).as_fd();
        let writer = Writer { to, waits, stop: *stop, flags: MsgFlags::empty(), end: None };
        (input.as_fd(), tls.as_mut(), writer)
    }

    /// Takes part in a TLS handshake.  What the client sent ahead, before it could know that
    /// anybody would listen in the clear, is forgotten (RFC 3207 4.2).
    ///
    /// # Errors
    /// The handshake failed or was not done in time; the connection is of no use then.
    pub(crate) fn start_tls(&mut self, config: Arc<ServerConfig>) -> Result<Encryption, Failed> {
        self.flush();
        self.forget_input();
        let mut wait = self.waits.begin(State::Handshake);
        let done = self.handshake(config, &mut wait);
        self.waits.end(&wait);
        if done.is_err() {
            self.broken.get_or_insert(End::Closed);
        }
        done
    }

    fn handshake(
        &mut self,
        config: Arc<ServerConfig>,
        wait: &mut Wait,
    ) -> Result<Encryption, Failed> {
        let mut tls = Tls::new(config)?;
        while tls.is_handshaking() {
            let came = self.unless_asked(State::Handshake, |stream| stream.wait_for_input(wait));
            came.map_err(|end| match end {
                End::Timeout => Failed::new("it took too long"),
                End::Stopping => Failed::new("the client was asked to leave"),
                _ => Failed::new("the client went away"),
            })?;
            let (input, _, mut writer) = self.parts();
            tls.receive(input, &mut writer)?;
        }
        tls.send(&mut self.parts().2).map_err(Failed::new)?;
        let encryption = tls.encryption();
        if let Ok(output) = self.output().try_clone_to_owned() {
            deadline::set_farewell(tls.farewell(output, deadline::REPLY));
        }
        self.tls = Some(tls);
        Ok(encryption)
    }

    /// What this TLS connection has and no other one (RFC 9266); None where there is none.
    pub(crate) fn channel_binding(&self) -> Option<Vec<u8>> {
        self.tls.as_ref()?.channel_binding()
    }

    /// Sends what has been collected, and says that nothing more will come: the client need not
    /// wait for what the server still does on its own.
    pub fn close(&mut self) {
        self.end();
        let _ = shutdown(self.output().as_raw_fd(), Shutdown::Write);
    }

    /// Sends what has been collected, and under TLS that nothing more will come, just before the
    /// connection is closed.
    pub fn end(&mut self) {
        self.send(true);
        let is_broken = self.broken.is_some();
        if let (_, Some(tls), mut writer) = self.parts()
            && !is_broken
        {
            tls.close(&mut writer);
        }
        // Not before: who takes no replies has not left.
        if let Some(run) = self.on_close.0.take() {
            run();
        }
    }

    /// Has the client sent something that was not read yet?
    pub fn has_input(&self) -> bool {
        self.at < self.buffer.len() || self.tls.as_ref().is_some_and(Tls::has_pending)
    }

    /// Reads a line without its end, which is CRLF or a bare LF: from its first octet to its last it
    /// is one wait.
    ///
    /// # Errors
    /// There is no line.
    pub fn line(&mut self, state: State) -> Result<Vec<u8>, End> {
        let mut wait = None;
        let line = self.line_in(state, &mut wait);
        self.over(wait);
        line
    }

    fn line_in(&mut self, state: State, wait: &mut Option<Wait>) -> Result<Vec<u8>, End> {
        let mut seen = 0;
        loop {
            let pending = &self.buffer[self.at..];
            if let Some(found) = memchr(b'\n', &pending[seen..]) {
                let line = &pending[..seen + found];
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.at += seen + found + 1;
                return Ok(line);
            }
            seen = pending.len();
            if seen > ENDLESS {
                return Err(End::Endless);
            }
            self.more(state, wait, COMMANDS)?;
        }
    }

    /// A wait, if there was one, is over.
    pub(crate) fn over(&mut self, wait: Option<Wait>) {
        if let Some(wait) = wait {
            self.waits.end(&wait);
        }
    }

    /// Reads `most` octets at most past the buffer and past TLS, for what comes before SMTP; several
    /// calls are one wait.
    ///
    /// # Errors
    /// Nothing comes in time.
    pub(crate) fn exactly(
        &mut self,
        most: usize,
        state: State,
        wait: &mut Option<Wait>,
        into: &mut Vec<u8>,
    ) -> Result<(), End> {
        let start = into.len();
        into.resize(start + most, 0);
        let wait = wait.get_or_insert_with(|| self.waits.begin(state));
        let done = self.unless_asked(state, |stream| {
            loop {
                stream.wait_for_input(wait)?;
                match read(&*stream.input, &mut into[start..]) {
                    Ok(0) => return Err(End::Closed),
                    Ok(count) => return Ok(count),
                    Err(Errno::EINTR | Errno::EAGAIN) => {}
                    Err(_) => return Err(End::Closed),
                }
            }
        });
        into.truncate(start + done.unwrap_or(0));
        done.map(drop)
    }

    /// Some octets of a message; [`Stream::consume`] says how many of them were used.
    ///
    /// # Errors
    /// There are none.
    pub fn octets(&mut self, state: State) -> Result<&[u8], End> {
        if self.at == self.buffer.len() {
            let mut wait = None;
            let done = self.more(state, &mut wait, MESSAGE);
            self.over(wait);
            done?;
        }
        Ok(&self.buffer[self.at..])
    }

    /// Was the client asked to leave?
    pub(crate) fn is_to_leave(&self) -> bool {
        self.stop.is_some_and(Stop::is_requested)
    }

    /// `count` octets of those that [`Stream::octets`] gave were used.
    pub fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.buffer.len());
    }

    /// Forgets what the client sent ahead.
    pub fn forget_input(&mut self) {
        self.at = self.buffer.len();
    }

    /// A question that can be asked without the stream: does the client send something within a
    /// time?  It reads nothing, and does not know of what the stream has read, see
    /// [`Stream::has_input`].
    pub fn early_check(&self) -> impl Fn(Duration) -> bool + use<> {
        let (socket, stop) = (self.input.clone(), self.stop);
        move |limit| is_sending(&socket, limit, stop)
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
