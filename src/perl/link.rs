//! A connection to one Perl process: messages out and in, with a deadline.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::read;

use crate::perl::protocol::{FromPerl, ToPerl};
use crate::perl::wire::{self, LONGEST};

/// How long writing a message may take: the other side reads whatever it does next.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How late a deadline may be noticed, and after what time the pipe is looked at.  It is the socket's
/// own limit, set once: one for each message would cost a system call each.
const TICK: Duration = Duration::from_millis(100);

/// How many octets a message of the socket has before it: its length, and how many were put into the
/// pipe.
const HEAD: usize = 8;

/// How many octets are read at once.
const CHUNK: usize = 16 * 1024;

pub(super) struct Link {
    stream: UnixStream,
    /// What wakes nobody; reading it does not wait.
    pipe: Option<OwnedFd>,
    /// The process that opened it; one that was forked later must not use it.
    owner: u32,
    input: RefCell<Input>,
}

/// What has come.
#[derive(Default)]
struct Input {
    socket: Vec<u8>,
    pipe: Vec<u8>,
    /// How many octets of the pipe were read before a message of the socket has told of them.
    early: usize,
    messages: VecDeque<FromPerl>,
}

type Result<T> = std::result::Result<T, String>;

impl Link {
    pub(super) fn new(stream: UnixStream, pipe: Option<OwnedFd>) -> Link {
        // Neither fails for a duration that is not zero.
        let _ = stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let _ = stream.set_read_timeout(Some(TICK));
        Link { stream, pipe, owner: std::process::id(), input: RefCell::default() }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    /// Sends messages at once.
    ///
    /// # Errors
    /// The other side is gone.
    pub(super) fn send(&self, messages: impl IntoIterator<Item = ToPerl>) -> Result<()> {
        let mut out = vec![];
        for message in messages {
            wire::write_frame(message.into_items(), &mut out);
        }
        (&self.stream).write_all(&out).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => "the Perl process died".into(),
            _ => format!("the Perl process does not listen: {error}"),
        })
    }

    /// The next message.
    ///
    /// # Errors
    /// None came until `deadline`, the other side is gone, or it is no message.
    pub(super) fn receive(&self, deadline: Instant) -> Result<FromPerl> {
        let mut input = self.input.borrow_mut();
        loop {
            if let Some(message) = input.messages.pop_front() {
                return Ok(message);
            }
            if self.take_from_socket(&mut input)? {
                continue;
            }
            let is_late = Instant::now() >= deadline;
            let end = match is_late {
                true => Some("the Perl plugin took too long".into()),
                false => self.fill(&mut input)?,
            };
            if let Some(end) = end {
                // What was said before counts.
                self.look_into_pipe(&mut input)?;
                if input.messages.is_empty() {
                    return Err(end);
                }
            }
        }
    }

    /// Ends the connection for everybody who has it, and with it the Perl process.
    pub(super) fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Has the other side ended?
    pub(super) fn is_dead(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(self.stream.as_raw_fd(), &mut [0], flags) {
            Ok(count) => count == 0,
            Err(error) => error != Errno::EAGAIN && error != Errno::EINTR,
        }
    }

    /// Waits for a moment for octets in the socket.  Some: there will be no more.
    fn fill(&self, input: &mut Input) -> Result<Option<String>> {
        let mut chunk = [0; CHUNK];
        match (&self.stream).read(&mut chunk) {
            Ok(0) => return Ok(Some("the Perl process died".into())),
            Ok(count) => input.socket.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.look_into_pipe(input)?;
            }
            Err(error) => return Ok(Some(format!("the Perl process died: {error}"))),
        }
        Ok(None)
    }

    /// Takes a message from what has come in the socket, after what was put into the pipe before.
    fn take_from_socket(&self, input: &mut Input) -> Result<bool> {
        let Some((head, rest)) = input.socket.split_first_chunk::<HEAD>() else { return Ok(false) };
        let number =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, announced) = (number(0) as usize, number(4) as usize);
        if length > LONGEST || announced > LONGEST {
            return Err("the Perl process sent a frame that is too long".into());
        }
        if rest.len() < length {
            let missing = length - rest.len();
            input.socket.reserve(missing);
            return Ok(false);
        }
        let message = message(&rest[..length])?;
        while input.early < announced {
            if self.read_pipe(input)? == 0 {
                return Err("the Perl process did not say all that it said it would".into());
            }
        }
        input.early -= announced;
        input.messages.push_back(message);
        input.socket.drain(..HEAD + length);
        Ok(true)
    }

    /// Takes what there is in the pipe.
    fn look_into_pipe(&self, input: &mut Input) -> Result<()> {
        while self.read_pipe(input)? > 0 {}
        Ok(())
    }

    fn read_pipe(&self, input: &mut Input) -> Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        let mut chunk = [0; CHUNK];
        let count = match read(pipe, &mut chunk) {
            Ok(count) => count,
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            Err(error) => return Err(format!("the Perl process's pipe: {error}")),
        };
        input.early += count;
        input.pipe.extend_from_slice(&chunk[..count]);
        let mut at = 0;
        while let Some((head, rest)) = input.pipe[at..].split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*head) as usize;
            if length > LONGEST {
                return Err("the Perl process sent a frame that is too long".into());
            }
            if rest.len() < length {
                break;
            }
            input.messages.push_back(message(&rest[..length])?);
            at += 4 + length;
        }
        input.pipe.drain(..at);
        Ok(count)
    }
}

fn message(frame: &[u8]) -> Result<FromPerl> {
    let items = wire::parse(frame)?;
    FromPerl::from_items(items).ok_or_else(|| "the Perl process sent an unknown frame".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perl::wire::Item;
    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    fn statement(text: impl AsRef<[u8]>) -> FromPerl {
        FromPerl::Statement { what: "log".into(), args: vec![Item::text(text)] }
    }

    fn octets(text: impl AsRef<[u8]>) -> Vec<u8> {
        let mut out = vec![];
        wire::write_frame(vec![Item::text("t"), Item::text("log"), Item::texts([text])], &mut out);
        out
    }

    /// As Perl puts a message into the socket after so many octets in the pipe.
    fn in_socket(text: impl AsRef<[u8]>, announced: usize) -> Vec<u8> {
        let frame = octets(text);
        [&frame[..4], &(announced as u32).to_be_bytes(), &frame[4..]].concat()
    }

    #[test]
    fn messages_arrive_in_pieces_and_together() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let link = Link::new(here, None);
        let soon = Instant::now() + Duration::from_secs(10);
        let big = [7; 100_000];
        let bytes = [in_socket("a", 0), in_socket(big, 0)].concat();
        let writer = std::thread::spawn(move || {
            for piece in bytes.chunks(1021) {
                there.write_all(piece).unwrap();
            }
            there
        });
        assert_eq!(link.receive(soon), Ok(statement("a")));
        assert_eq!(link.receive(soon), Ok(statement(big)));
        let there = writer.join().unwrap();
        assert!(!link.is_dead());
        drop(there);
        assert!(link.is_dead());
        assert_eq!(link.receive(soon), Err("the Perl process died".into()));
    }

    #[test]
    fn what_was_put_into_the_pipe_comes_before_what_was_said_after() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        let link = Link::new(here, Some(ours));
        let mut pipe = std::fs::File::from(theirs);
        let soon = Instant::now() + Duration::from_secs(10);
        let texts: Vec<FromPerl> = ["1", "2", "3", "4"].map(statement).into();
        pipe.write_all(&[octets("1"), octets("2")].concat()).unwrap();
        let announced = octets("1").len() + octets("2").len();
        there.write_all(&[in_socket("3", announced), in_socket("4", 0)].concat()).unwrap();
        let came: Vec<FromPerl> = (0..4).map(|_| link.receive(soon).unwrap()).collect();
        assert_eq!(came, texts);
        // Nobody said anything in the socket.
        pipe.write_all(&octets("late")).unwrap();
        assert_eq!(link.receive(soon), Ok(statement("late")));
        pipe.write_all(&octets("last")).unwrap();
        there.write_all(&in_socket("5", octets("late").len() + octets("last").len())).unwrap();
        drop((there, pipe));
        assert_eq!(link.receive(soon), Ok(statement("last")));
        assert_eq!(link.receive(soon), Ok(statement("5")));
        assert_eq!(link.receive(soon), Err("the Perl process died".into()));
    }

    #[test]
    fn what_was_announced_has_to_be_there() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let (ours, _theirs) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        let link = Link::new(here, Some(ours));
        there.write_all(&in_socket("a", 1)).unwrap();
        assert!(link.receive(Instant::now() + Duration::from_secs(10)).is_err());
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (here, _there) = UnixStream::pair().unwrap();
        let link = Link::new(here, None);
        let deadline = Instant::now() + Duration::from_millis(30);
        assert_eq!(link.receive(deadline), Err("the Perl plugin took too long".into()));
    }
}
