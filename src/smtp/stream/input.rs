//! What the client sends: lines, octets of a message, what comes before SMTP.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use memchr::memchr;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::read;

use super::wait::{LOOK, poll_once};
use super::{End, MESSAGE, Stream};
use crate::smtp::tls::Tls;
use crate::smtp::waits::{State, Wait};
use crate::sys::stop::Stop;

/// How many octets are read at a time while commands are expected.
pub(super) const COMMANDS: usize = 4 * 1024;

/// A line longer than this is not waited for: the client talks no SMTP.
pub(super) const ENDLESS: usize = 256 * 1024;

/// A client that has been silent for this long lets us wait.
const SOON: Duration = Duration::from_millis(100);

impl Stream {
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

    /// `count` octets of those that [`Stream::octets`] gave were used.
    pub fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.buffer.len());
    }

    /// Forgets what the client sent ahead.
    pub fn forget_input(&mut self) {
        self.at = self.buffer.len();
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
        self.is_to_wait();
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

    /// A wait, if there was one, is over.
    pub(crate) fn over(&mut self, wait: Option<Wait>) {
        if let Some(wait) = wait {
            self.waits.end(&wait);
        }
    }

    /// A question that can be asked without the stream: does the client send something within a
    /// time?  It reads nothing, and does not know of what the stream has read, see
    /// [`Stream::has_input`].
    pub fn early_check(&self) -> impl Fn(Duration) -> bool + use<> {
        let (socket, stop) = (self.input.clone(), self.stop);
        move |limit| is_sending(&socket, limit, stop)
    }

    /// Was the client asked to leave?
    pub(crate) fn is_to_leave(&self) -> bool {
        self.stop.is_some_and(Stop::is_requested)
    }

    /// The client is waited for next.
    pub(super) fn is_to_wait(&self) {
        if let Some(run) = &self.before_wait.0 {
            let comes = || poll_once(self.input.as_fd(), PollFlags::POLLIN, SOON);
            run(&|| matches!(comes(), Ok(false)));
        }
    }

    /// Reads at most `size` octets more into the buffer.
    pub(super) fn more(
        &mut self,
        state: State,
        wait: &mut Option<Wait>,
        size: usize,
    ) -> Result<(), End> {
        self.flush();
        if let Some(end) = self.broken {
            return Err(end);
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let before = self.buffer.len();
        let wait = wait.get_or_insert_with(|| self.waits.begin(state));
        self.is_to_wait();
        self.unless_asked(state, |stream| match stream.tls {
            None => stream.more_in_the_clear(wait, size),
            Some(_) => stream.more_of_tls(wait, size),
        })?;
        self.waits.got_octets(state, self.buffer.len() - before);
        Ok(())
    }
}

/// Does something come within `limit`?  The end of the connection is nothing, and a client that is
/// to leave is not waited for.
fn is_sending(socket: &OwnedFd, limit: Duration, stop: Option<&Stop>) -> bool {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match poll_once(socket.as_fd(), PollFlags::POLLIN, left.min(LOOK)) {
            Ok(true) => break,
            Ok(false) if !left.is_zero() && !stop.is_some_and(Stop::is_requested) => {}
            _ => return false,
        }
    }
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    match recv(socket.as_raw_fd(), &mut [0], flags) {
        Ok(count) => count > 0,
        Err(error) => error == Errno::ENOTSOCK,
    }
}
