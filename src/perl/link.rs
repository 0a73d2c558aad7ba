//! A connection to one Perl process: frames out and in, with a deadline.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::perl::wire::{self, Item, LONGEST};

/// How long writing a frame may take: the other side reads whatever it does next.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How late a deadline may be noticed.  It is the socket's own limit, set once: one for each frame would
/// cost a system call each.
const TICK: Duration = Duration::from_millis(100);

pub(super) struct Link {
    stream: UnixStream,
    /// The process that opened it; one that was forked later must not use it.
    owner: u32,
    input: RefCell<Vec<u8>>,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> Link {
        // Neither fails for a duration that is not zero.
        let _ = stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let _ = stream.set_read_timeout(Some(TICK));
        Link { stream, owner: std::process::id(), input: RefCell::default() }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    /// # Errors
    /// The other side is gone.
    pub(super) fn send(&self, items: Vec<Item>) -> Result<(), String> {
        let frame = wire::frame(items);
        (&self.stream).write_all(&frame).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => "the Perl process died".into(),
            _ => format!("the Perl process does not listen: {error}"),
        })
    }

    /// The next frame.
    ///
    /// # Errors
    /// None came until `deadline`, the other side is gone, or it is no frame.
    pub(super) fn receive(&self, deadline: Instant) -> Result<Vec<Item>, String> {
        let mut input = self.input.borrow_mut();
        loop {
            if let Some((head, rest)) = input.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if length > LONGEST {
                    return Err("the Perl process sent a frame that is too long".into());
                }
                if rest.len() >= length {
                    let items = wire::parse(&rest[..length]).map_err(String::from)?;
                    input.drain(..4 + length);
                    return Ok(items);
                }
                input.reserve(length);
            }
            if Instant::now() >= deadline {
                return Err("the Perl plugin took too long".into());
            }
            let mut chunk = [0; 16 * 1024];
            match (&self.stream).read(&mut chunk) {
                Ok(0) => return Err("the Perl process died".into()),
                Ok(count) => input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(format!("the Perl process died: {error}")),
            }
        }
    }

    /// Ends the connection for everybody who has it, and with it the Perl process.
    pub(super) fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Has the other side ended?
    pub(super) fn is_dead(&self) -> bool {
        use nix::sys::socket::{MsgFlags, recv};
        use std::os::fd::AsRawFd;
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(self.stream.as_raw_fd(), &mut [0], flags) {
            Ok(count) => count == 0,
            Err(error) => error != nix::errno::Errno::EAGAIN && error != nix::errno::Errno::EINTR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_in_pieces_and_together() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let link = Link::new(here);
        let soon = Instant::now() + Duration::from_secs(10);
        let big = vec![Item::text(vec![7; 100_000])];
        let bytes = [wire::frame(vec![Item::text("a")]), wire::frame(big.clone())].concat();
        let writer = std::thread::spawn(move || {
            for piece in bytes.chunks(1021) {
                there.write_all(piece).unwrap();
            }
            there
        });
        assert_eq!(link.receive(soon), Ok(vec![Item::text("a")]));
        assert_eq!(link.receive(soon), Ok(big));
        let there = writer.join().unwrap();
        assert!(!link.is_dead());
        drop(there);
        assert!(link.is_dead());
        assert_eq!(link.receive(soon), Err("the Perl process died".into()));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (here, _there) = UnixStream::pair().unwrap();
        let link = Link::new(here);
        let deadline = Instant::now() + Duration::from_millis(30);
        assert_eq!(link.receive(deadline), Err("the Perl plugin took too long".into()));
    }
}
