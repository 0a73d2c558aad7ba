//! How a client is waited for.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::{End, ReadLimit, Stream};
use crate::smtp::waits::{Leaves, State, Wait};
use crate::sys::descriptors;
use crate::sys::stop::Stop;

/// How much longer than asked for a read may wait.
const LATE: Duration = Duration::from_secs(1);

/// The longest single wait in the kernel.  After each one the worker looks whether the client was asked
/// to leave, because a signal that comes just before a wait does not end that wait.
pub(super) const LOOK: Duration = Duration::from_secs(10);

impl Stream {
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

    /// Reads up to `size` octets more into the buffer, at least one.
    pub(super) fn more_in_the_clear(&mut self, wait: &mut Wait, size: usize) -> Result<(), End> {
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

    /// The same of a connection under TLS.
    pub(super) fn more_of_tls(&mut self, wait: &mut Wait, size: usize) -> Result<(), End> {
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
        if self.is_patient {
            return Ok(LOOK);
        }
        let asked = self.stop.is_some_and(Stop::is_requested);
        let now = wait.now();
        self.waits.left(wait, now, asked)
    }
}

/// Waits once, for `limit` at most; false: nothing has happened.
pub(super) fn poll_once(
    fd: BorrowedFd<'_>,
    what: PollFlags,
    limit: Duration,
) -> Result<bool, Errno> {
    // A wait of less than a millisecond is one of a millisecond: else it would be none.
    let limit = PollTimeout::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(fd, what)], limit) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error),
    }
}
