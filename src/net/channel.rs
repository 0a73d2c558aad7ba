//! Lines to and from another process, without waiting: what cannot be written at once is kept, and
//! what has come is kept until it is a line.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::wait::left;

/// How much is read at a time, in octets.
const PIECE: usize = 64 * 1024;

/// Two ends, or the same one twice, on which lines come and go.
#[derive(Debug)]
pub(crate) struct Channel {
    input: File,
    output: File,
    come: Vec<u8>,
    /// Where in `come` the next line begins, and how much of it was searched for its end.
    at: usize,
    searched: usize,
    going: Vec<u8>,
    sent: usize,
    is_at_end: bool,
}

impl Channel {
    /// Reads from `input` and writes to `output`.
    ///
    /// # Errors
    /// What the system says of the descriptors.
    pub(crate) fn new(input: OwnedFd, output: OwnedFd) -> io::Result<Channel> {
        let not_waiting = |fd: OwnedFd| {
            fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            Ok::<_, io::Error>(File::from(fd))
        };
        let (input, output) = (not_waiting(input)?, not_waiting(output)?);
        let (come, going) = (vec![], vec![]);
        Ok(Channel { input, output, come, at: 0, searched: 0, going, sent: 0, is_at_end: false })
    }

    /// Both ends are one socket.
    ///
    /// # Errors
    /// What the system says of the descriptor.
    pub(crate) fn over(socket: OwnedFd) -> io::Result<Channel> {
        let other = socket.try_clone()?;
        Channel::new(socket, other)
    }

    /// Adds octets to what is to be written, and writes what goes without waiting.
    ///
    /// # Errors
    /// What the system says: `BrokenPipe` where nobody reads any more.
    pub(crate) fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.going.extend_from_slice(octets);
        self.flush()
    }

    /// Writes what goes without waiting.
    ///
    /// # Errors
    /// As for [`Channel::send`].
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.going.len() {
            match self.output.write(&self.going[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.sent == self.going.len() || self.sent > PIECE {
            self.going.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// Writes what goes without waiting, and then never anything again: the other side comes to the end
    /// of its input.
    ///
    /// # Errors
    /// As for [`Channel::send`].
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let done = self.flush();
        self.going.clear();
        self.sent = 0;
        self.output = File::options().write(true).open("/dev/null")?;
        done
    }

    /// How many octets wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.going.len() - self.sent
    }

    /// How many octets have come and are in no line that was taken.
    pub(crate) fn pending(&self) -> usize {
        self.come.len() - self.at
    }

    /// Has the other side ended?  There may be lines of it still.
    pub(crate) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Reads what has come, unless `most` octets are there already.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn fill(&mut self, most: usize) -> io::Result<()> {
        let mut piece = [0; PIECE];
        while !self.is_at_end && self.pending() < most {
            match self.input.read(&mut piece) {
                Ok(0) => self.is_at_end = true,
                Ok(count) => self.keep(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The other end of a socket whose process was killed.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.is_at_end = true,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn keep(&mut self, octets: &[u8]) {
        if self.at > 0 {
            self.come.drain(..self.at);
            self.searched -= self.at;
            self.at = 0;
        }
        self.come.extend_from_slice(octets);
    }

    /// The next whole line that has come, without its LF.
    pub(crate) fn line(&mut self) -> Option<&[u8]> {
        self.searched = self.searched.max(self.at);
        let Some(length) = memchr::memchr(b'\n', &self.come[self.searched..]) else {
            self.searched = self.come.len();
            return None;
        };
        let (from, to) = (self.at, self.searched + length);
        self.at = to + 1;
        self.searched = self.at;
        Some(&self.come[from..to])
    }

    /// Throws away what has come and is in no line yet.
    pub(crate) fn forget(&mut self) {
        self.come.clear();
        (self.at, self.searched) = (0, 0);
    }

    /// What it waits for: something to come, unless `is_full`, and to write what is left.
    pub(crate) fn wants(&self, is_full: bool) -> [Option<PollFd<'_>>; 2] {
        let reads = !is_full && !self.is_at_end;
        let input = reads.then(|| PollFd::new(self.input.as_fd(), PollFlags::POLLIN));
        let writes = self.waiting() > 0;
        let output = writes.then(|| PollFd::new(self.output.as_fd(), PollFlags::POLLOUT));
        [input, output]
    }
}

/// Waits until one of them is ready, or `until`.
///
/// # Errors
/// `TimedOut`; what the system says.
pub(crate) fn wait_for(mut fds: Vec<PollFd<'_>>, until: Instant) -> io::Result<()> {
    let left = left(until)?;
    if fds.is_empty() {
        std::thread::sleep(left.min(Duration::from_millis(20)));
        return Ok(());
    }
    // A wait is rounded up, so that the last one does not spin.
    let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
    match poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Channel::over(ours.into()).unwrap(), theirs)
    }

    #[test]
    fn lines_come_in_whatever_pieces() {
        let (mut channel, mut peer) = pair();
        let text = b"one\n\nthree\r\nfour";
        for piece in text.chunks(3) {
            peer.write_all(piece).unwrap();
            channel.fill(PIECE).unwrap();
        }
        assert_eq!(channel.line(), Some(&b"one"[..]));
        assert_eq!(channel.line(), Some(&b""[..]));
        assert_eq!(channel.line(), Some(&b"three\r"[..]));
        assert_eq!(channel.line(), None);
        assert_eq!(channel.pending(), 4);
        peer.write_all(b"\n").unwrap();
        channel.fill(PIECE).unwrap();
        assert_eq!(channel.line(), Some(&b"four"[..]));
        drop(peer);
        channel.fill(PIECE).unwrap();
        assert!(channel.is_at_end() && channel.line().is_none());
    }

    #[test]
    fn what_cannot_be_written_is_kept_and_who_never_stops_is_not_read_for_ever() {
        let (mut channel, mut peer) = pair();
        let much = vec![b'x'; 4 << 20];
        channel.send(&much).unwrap();
        assert!(channel.waiting() > 0 && channel.wants(true)[1].is_some());
        let mut got = vec![0; much.len()];
        let reader = std::thread::spawn(move || {
            peer.read_exact(&mut got).unwrap();
            peer.write_all(&got).map(|()| got == much)
        });
        let until = Instant::now() + Duration::from_secs(60);
        while channel.waiting() > 0 {
            wait_for(channel.wants(true).into_iter().flatten().collect(), until).unwrap();
            channel.flush().unwrap();
        }
        while channel.pending() < 1 << 20 {
            wait_for(channel.wants(false).into_iter().flatten().collect(), until).unwrap();
            channel.fill(1 << 20).unwrap();
        }
        assert!(channel.pending() <= (1 << 20) + PIECE);
        drop(channel);
        assert!(reader.join().unwrap().is_err());
    }
}
