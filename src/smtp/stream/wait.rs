//! How a client is waited for.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use nix::unistd::write;

use super::{End, ReadLimit, Stream};
use crate::smtp::waits::{Leaves, State, Wait, Waits};
use crate::sys::descriptors;
use crate::sys::stop::Stop;

/// How much longer than asked for a read may wait.
const LATE: Duration = Duration::from_secs(1);

/// A client that has been silent for this long lets us wait.
const SOON: Duration = Duration::from_millis(100);

/// How long the kernel waits before it is looked whether the client was asked to leave: a signal
/// that comes just before it begins to wait does not end its wait.
const LOOK: Duration = Duration::from_secs(10);

/// How many octets a pipe takes at once, if it takes any.
const PIPE: usize = libc::PIPE_BUF;

impl Stream {
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
        if let Some(run) = &self.before_wait.0 {
            let comes = || poll_once(self.input.as_fd(), PollFlags::POLLIN, SOON);
            run(&|| matches!(comes(), Ok(false)));
        }
        self.unless_asked(state, |stream| match stream.tls {
            None => stream.more_in_the_clear(wait, size),
            Some(_) => stream.more_of_tls(wait, size),
        })?;
        self.waits.got_octets(state, self.buffer.len() - before);
        Ok(())
    }

    /// Waits for a client.  The demand to leave ends the wait, and so does the request in a state in
    /// which the client has to leave at once: the connection looks closed then.  It looks closed as
    /// well if the request came just before, in another state.
    pub(super) fn unless_asked<T>(
        &mut self,
        state: State,
        wait: impl FnOnce(&mut Stream) -> Result<T, End>,
    ) -> Result<T, End> {
        let Some(stop) = self.stop else { return wait(self) };
        let input = self.input.clone();
        let at_once = state.row().leaves == Leaves::AtOnce;
        let Some(_wait) = stop.unless_requested(input.as_fd(), at_once) else {
            return Err(End::Stopping);
        };
        wait(self).map_err(|end| match end {
            End::Closed if stop.is_requested() => End::Stopping,
            _ => end,
        })
    }

    fn more_in_the_clear(&mut self, wait: &mut Wait, size: usize) -> Result<(), End> {
        loop {
            let left = self.left(wait)?;
            if !self.limit_reads(left.min(LOOK)) {
                self.wait_for_input(wait)?;
            }
            match descriptors::read_to(&*self.input, &mut self.buffer, size) {
                Ok(0) => return Err(End::Closed),
                Ok(_) => return Ok(()),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => return Err(End::Closed),
            }
        }
    }

    fn more_of_tls(&mut self, wait: &mut Wait, size: usize) -> Result<(), End> {
        loop {
            let Some(tls) = &mut self.tls else { return Err(End::Closed) };
            if tls.take(&mut self.buffer, size).map_err(|_| End::Closed)?.is_some() {
                return Ok(());
            }
            self.wait_for_input(wait)?;
            let (input, tls, mut writer) = self.parts();
            let Some(tls) = tls else { return Err(End::Closed) };
            if tls.receive(input, &mut writer).is_err() {
                return Err(writer.end.unwrap_or(End::Closed));
            }
        }
    }

    /// Lets reads wait about that long, as there is no need to tell the kernel each time: hardly
    /// longer, and not so much shorter that waiting again would be work.  False: the kernel does
    /// not do that for us.
    pub(super) fn limit_reads(&mut self, limit: Duration) -> bool {
        let about = limit / 8..=limit + LATE.min(limit / 8);
        match self.read_limit {
            ReadLimit::Known(known) if about.contains(&known) => return true,
            ReadLimit::None => return false,
            _ => {}
        }
        // No time at all would mean any time.
        let time = limit.max(Duration::from_millis(1));
        let time = TimeVal::new(time.as_secs() as libc::time_t, time.subsec_micros().into());
        self.read_limit = match setsockopt(&*self.input, sockopt::ReceiveTimeout, &time) {
            Ok(()) => ReadLimit::Known(limit),
            Err(_) => ReadLimit::None,
        };
        self.read_limit != ReadLimit::None
    }

    /// Waits until the client has sent something or closed the connection.
    pub(super) fn wait_for_input(&mut self, wait: &mut Wait) -> Result<(), End> {
        loop {
            let left = self.left(wait)?;
            match poll_once(self.input.as_fd(), PollFlags::POLLIN, left.min(LOOK)) {
                Ok(false) => {}
                Ok(true) => return Ok(()),
                Err(_) => return Err(End::Closed),
            }
        }
    }

    fn left(&mut self, wait: &mut Wait) -> Result<Duration, End> {
        // The input of what is no socket cannot be ended.
        if self.stop.is_some_and(Stop::is_demanded) {
            return Err(End::Stopping);
        }
        let asked = self.stop.is_some_and(Stop::is_requested);
        let now = wait.now();
        self.waits.left(wait, now, asked)
    }
}

/// Writes to the client as fast as it takes it, and waits for it as long as the table says.
pub(super) struct Writer<'a> {
    pub(super) to: BorrowedFd<'a>,
    pub(super) waits: &'a mut Waits,
    pub(super) stop: Option<&'static Stop>,
    pub(super) flags: MsgFlags,
    /// Why there is no more to write to.
    pub(super) end: Option<End>,
}

impl Writer<'_> {
    fn wait_for_room(&mut self) -> Result<(), End> {
        let mut wait = self.waits.begin(State::Reply);
        let done = loop {
            if self.stop.is_some_and(Stop::is_demanded) {
                break Err(End::Stopping);
            }
            let asked = self.stop.is_some_and(Stop::is_requested);
            let now = wait.now();
            let left = match self.waits.left(&mut wait, now, asked) {
                Ok(left) => left,
                Err(end) => break Err(end),
            };
            match poll_once(self.to, PollFlags::POLLOUT, left.min(LOOK)) {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(_) => break Err(End::Closed),
            }
        };
        self.waits.end(&wait);
        done
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, End> {
        let flags = self.flags | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match send(self.to.as_raw_fd(), bytes, flags) {
                Ok(count) => return Ok(count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait_for_room()?,
                Err(Errno::ENOTSOCK) => break,
                Err(_) => return Err(End::Closed),
            }
        }
        loop {
            self.wait_for_room()?;
            match write(self.to, &bytes[..bytes.len().min(PIPE)]) {
                Ok(count) => return Ok(count),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => return Err(End::Closed),
            }
        }
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(|end| {
            self.end = Some(end);
            ErrorKind::BrokenPipe.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits once, for `limit` at most; false: nothing has happened.
fn poll_once(fd: BorrowedFd<'_>, what: PollFlags, limit: Duration) -> Result<bool, Errno> {
    // A wait of less than a millisecond is one of a millisecond: else it would be none.
    let limit = PollTimeout::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(fd, what)], limit) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Does something come within `limit`?  The end of the connection is nothing, and a client that is
/// to leave is not waited for.
pub(super) fn is_sending(socket: &OwnedFd, limit: Duration, stop: Option<&Stop>) -> bool {
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
