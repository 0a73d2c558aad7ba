//! What the client is told: replies are collected and sent when it has to speak next.

use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use nix::unistd::write;

use super::wait::{LOOK, poll_once};
use super::{End, Stream};
use crate::smtp::waits::{State, Waits};
use crate::sys::stop::Stop;

/// What is sent with this flag waits for what follows: the end of the connection, in one packet.
const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);

/// How many octets a pipe takes at once, if it takes any.
const PIPE: usize = libc::PIPE_BUF;

impl Stream {
    /// Replies are collected here; they are sent when the client has to speak next.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what has been collected.  When that fails the client is gone.
    pub fn flush(&mut self) {
        self.send(false);
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
            // As to a socket, what it takes at once goes out whoever has to leave.
            let has_room = poll_once(self.to, PollFlags::POLLOUT, Duration::ZERO);
            if !has_room.map_err(|_| End::Closed)? {
                self.wait_for_room()?;
            }
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
