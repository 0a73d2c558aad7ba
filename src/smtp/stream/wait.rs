//! How a client is waited for.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::{End, ReadLimit, Stream};
use crate::sys::descriptors;

/// How much longer than asked for a read may wait.
const LATE: Duration = Duration::from_secs(1);

impl Stream {
    /// Reads at most `size` octets more into the buffer.
    pub(super) fn more(&mut self, until: Instant, idle: bool, size: usize) -> Result<(), End> {
        self.flush();
        if self.broken {
            return Err(End::Closed);
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        self.unless_stopped(idle, |stream| match stream.tls {
            None => stream.more_in_the_clear(until, size),
            Some(_) => stream.more_of_tls(until, size),
        })
    }

    /// Waits for a client.  If it is idle the wish to stop ends the wait, and looks as if the client
    /// had closed the connection.  So it does if the wish came when the client was just not idle any
    /// more.
    pub(super) fn unless_stopped<T>(
        &mut self,
        idle: bool,
        wait: impl FnOnce(&mut Stream) -> Result<T, End>,
    ) -> Result<T, End> {
        let Some(stop) = self.stop else { return wait(self) };
        let input = self.input.clone();
        let ends = idle.then(|| stop.unless_wished(input.as_fd()));
        if matches!(ends, Some(None)) {
            return Err(End::Stopping);
        }
        wait(self).map_err(|end| match end {
            End::Closed if stop.is_wished() => End::Stopping,
            _ => end,
        })
    }

    fn more_in_the_clear(&mut self, until: Instant, size: usize) -> Result<(), End> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !self.limit_reads(left) {
                self.wait(until)?;
            }
            match descriptors::read_to(&*self.input, &mut self.buffer, size) {
                Ok(0) => return Err(End::Closed),
                Ok(_) => return Ok(()),
                Err(Errno::EINTR | Errno::EAGAIN) if Instant::now() < until => {}
                Err(Errno::EINTR | Errno::EAGAIN) => return Err(End::Timeout),
                Err(_) => return Err(End::Closed),
            }
        }
    }

    fn more_of_tls(&mut self, until: Instant, size: usize) -> Result<(), End> {
        loop {
            let output = self.output.as_ref().unwrap_or(&*self.input).as_fd();
            let Some(tls) = &mut self.tls else { return Err(End::Closed) };
            if tls.take(&mut self.buffer, size).map_err(|_| End::Closed)?.is_some() {
                return Ok(());
            }
            self.wait(until)?;
            let Some(tls) = &mut self.tls else { return Err(End::Closed) };
            tls.receive(self.input.as_fd(), output).map_err(|_| End::Closed)?;
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
        let time = limit.clamp(Duration::from_millis(1), Duration::from_secs(1 << 30));
        let time = TimeVal::new(time.as_secs() as libc::time_t, time.subsec_micros().into());
        self.read_limit = match setsockopt(&*self.input, sockopt::ReceiveTimeout, &time) {
            Ok(()) => ReadLimit::Known(limit),
            Err(_) => ReadLimit::None,
        };
        self.read_limit != ReadLimit::None
    }

    /// Waits until the client has sent something or closed the connection.
    pub(super) fn wait(&self, until: Instant) -> Result<(), End> {
        match poll_until(&mut [PollFd::new(self.input.as_fd(), PollFlags::POLLIN)], until) {
            Ok(0) => Err(End::Timeout),
            Ok(_) => Ok(()),
            Err(_) => Err(End::Closed),
        }
    }
}

/// Waits for the first of some descriptors; 0 when the time is up.
fn poll_until(fds: &mut [PollFd<'_>], until: Instant) -> Result<i32, Errno> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left.as_millis().min(1 << 30)).unwrap_or(PollTimeout::MAX);
        match poll(fds, left) {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Does something come before `until`?  The end of the connection is nothing.
pub(super) fn is_sending(socket: &OwnedFd, until: Instant) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    if !poll_until(&mut fds, until).is_ok_and(|count| count > 0) {
        return false;
    }
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    match recv(socket.as_raw_fd(), &mut [0], flags) {
        Ok(count) => count > 0,
        Err(error) => error == Errno::ENOTSOCK,
    }
}
