//! The client's bytes: buffered lines in, buffered replies out, every wait with a limit, in the
//! clear or under TLS.

mod wait;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memchr;
use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, Shutdown, UnixAddr, getsockname, send, setsockopt, shutdown, sockopt,
};
use nix::sys::time::TimeVal;
use nix::unistd::{read, write};
use rustls::ServerConfig;

use self::wait::is_sending;
use crate::smtp::tls::{Failed, Tls};
use crate::state::Encryption;
use crate::sys::stop::Stop;
use crate::sys::tally::Tally;

/// How many octets are read at a time while commands are expected, and while a message is.
const COMMANDS: usize = 4 * 1024;
const MESSAGE: usize = 64 * 1024;

/// A line longer than this is not waited for: the client talks no SMTP.
const ENDLESS: usize = 256 * 1024;

/// What is sent with this flag waits for what follows: the end of the connection, in one packet.
const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);

/// How many seconds a reply may take to get into the client's receive window.
const WRITE_TIMEOUT: libc::time_t = 300;

/// What came instead of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client has closed the connection, or it broke.
    Closed,
    /// Nothing came in time.
    Timeout,
    /// The line has no end.
    Endless,
    /// The server stops, and the client had sent no whole line yet.
    Stopping,
}

/// The connection to one client.
#[derive(Debug)]
pub struct Stream {
    input: Rc<OwnedFd>,
    output: Option<OwnedFd>,
    /// Whether the server wants sessions to end.
    stop: Option<&'static Stop>,
    /// Where it is noted that the client leaves.
    tally: Option<Tally>,
    /// What was read; from `at` on it was not used yet.
    buffer: Vec<u8>,
    at: usize,
    out: Vec<u8>,
    read_limit: ReadLimit,
    tls: Option<Tls>,
    broken: bool,
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
            tally: None,
            buffer: Vec::new(),
            at: 0,
            out: Vec::with_capacity(512),
            read_limit: ReadLimit::Unknown,
            tls: None,
            broken: false,
        }
    }

    /// A stream that reads one descriptor and writes another.
    pub fn pair(input: OwnedFd, output: OwnedFd) -> Stream {
        Stream { output: Some(output), ..Stream::new(input) }
    }

    /// The same stream; waiting for a client that is idle ends with the wish to stop.
    pub fn until(mut self, stop: &'static Stop) -> Stream {
        self.stop = Some(stop);
        self
    }

    /// The same stream; at its end it is noted that the client leaves.
    pub fn counted(mut self, tally: Tally) -> Stream {
        self.tally = Some(tally);
        self
    }

    /// Is it a socket that clients find in the file system?
    pub(crate) fn has_path(&self) -> bool {
        getsockname::<UnixAddr>(self.input.as_raw_fd()).is_ok_and(|own| own.path().is_some())
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
        let output = self.output.as_ref().unwrap_or(&*self.input).as_fd();
        if let Some(tls) = self.tls.as_mut().filter(|_| !self.out.is_empty() && !self.broken) {
            self.broken = tls.put(&self.out, output).is_err();
            return self.out.clear();
        }
        let mut sent = 0;
        while sent < self.out.len() && !self.broken {
            let rest = &self.out[sent..];
            let done = match last {
                true => send(output.as_raw_fd(), rest, MORE),
                false => write(output, rest),
            };
            match done {
                Ok(count) => sent += count,
                Err(Errno::EINTR) => {}
                Err(Errno::ENOTSOCK) if last => return self.send(false),
                Err(_) => self.broken = true,
            }
        }
        self.out.clear();
    }

    /// Takes part in a TLS handshake.  What the client sent ahead, before it could know that
    /// anybody would listen in the clear, is forgotten (RFC 3207 4.2).
    ///
    /// # Errors
    /// The handshake failed, or was not done within `limit`; the connection is of no use then.
    pub(crate) fn start_tls(
        &mut self,
        config: Arc<ServerConfig>,
        limit: Duration,
    ) -> Result<Encryption, Failed> {
        self.flush();
        self.forget_input();
        let done = self.handshake(config, limit);
        self.broken |= done.is_err();
        done
    }

    fn handshake(
        &mut self,
        config: Arc<ServerConfig>,
        limit: Duration,
    ) -> Result<Encryption, Failed> {
        let until = Instant::now() + limit;
        let mut tls = Tls::new(config)?;
        while tls.is_handshaking() {
            self.wait(until).map_err(|end| match end {
                End::Timeout => Failed::new("it took too long"),
                _ => Failed::new("the client went away"),
            })?;
            tls.receive(self.input.as_fd(), self.output())?;
        }
        tls.send(self.output()).map_err(Failed::new)?;
        let encryption = tls.encryption();
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
        let output = self.output.as_ref().unwrap_or(&*self.input).as_fd();
        if let Some(tls) = &mut self.tls {
            tls.close(output);
        }
        // Not before: who takes no replies has not left.
        if let Some(tally) = self.tally {
            tally.left();
        }
    }

    /// Has the client sent something that was not read yet?
    pub fn has_input(&self) -> bool {
        self.at < self.buffer.len() || self.tls.as_ref().is_some_and(Tls::has_pending)
    }

    /// Reads a line without its end, which is CRLF or a bare LF.  `idle`: the server may stop
    /// instead of waiting, even for the rest of a line, which may take its time.
    ///
    /// # Errors
    /// There is no line.
    pub fn line(&mut self, limit: Duration, idle: bool) -> Result<Vec<u8>, End> {
        let until = Instant::now() + limit;
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
            self.more(until, idle, COMMANDS)?;
        }
    }

    /// Reads at most so many octets past the buffer and past TLS, for what comes before SMTP.
    ///
    /// # Errors
    /// Nothing comes before `until`.
    pub(crate) fn exactly(
        &mut self,
        most: usize,
        until: Instant,
        idle: bool,
        into: &mut Vec<u8>,
    ) -> Result<(), End> {
        let start = into.len();
        into.resize(start + most, 0);
        let done = self.unless_stopped(idle, |stream| {
            loop {
                stream.wait(until)?;
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
    pub fn octets(&mut self, limit: Duration) -> Result<&[u8], End> {
        if self.at == self.buffer.len() {
            self.more(Instant::now() + limit, false, MESSAGE)?;
        }
        Ok(&self.buffer[self.at..])
    }

    /// So many octets that [`Stream::octets`] gave were used.
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
    pub fn ear(&self) -> impl Fn(Duration) -> bool + use<> {
        let socket = self.input.clone();
        move |limit| is_sending(&socket, Instant::now() + limit)
    }
}

/// Prepares a client's socket, or a listening one whose clients inherit it: how long a write may
/// take before the client is given up; and what is written goes out at once, since replies are
/// collected here, and a handshake must not wait for acknowledgements.
pub(crate) fn prepare(socket: &impl AsFd) {
    let limit = TimeVal::new(WRITE_TIMEOUT, 0);
    let _ = setsockopt(socket, sockopt::TcpNoDelay, &true);
    let _ = setsockopt(socket, sockopt::SendTimeout, &limit);
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
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    const SOON: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(20);

    fn pair() -> (UnixStream, Stream) {
        let (client, server) = UnixStream::pair().unwrap();
        (client, Stream::new(server.into()))
    }

    #[test]
    fn lines_come_however_they_were_sent() {
        let (mut client, mut stream) = pair();
        client.write_all(b"EHLO a\r\nNOOP\nQU").unwrap();
        assert_eq!(stream.line(LONG, false).unwrap(), b"EHLO a");
        assert!(stream.has_input());
        assert_eq!(stream.line(LONG, false).unwrap(), b"NOOP");
        client.write_all(b"IT\r\n\r\n").unwrap();
        assert_eq!(stream.line(LONG, false).unwrap(), b"QUIT");
        assert_eq!(stream.line(LONG, false).unwrap(), b"");
        assert_eq!(stream.line(SOON, false), Err(End::Timeout));
        drop(client);
        assert_eq!(stream.line(LONG, false), Err(End::Closed));
    }

    #[test]
    fn replies_wait_until_the_client_has_to_speak() {
        let (mut client, mut stream) = pair();
        client.write_all(b"one\r\ntwo\r\n").unwrap();
        stream.line(LONG, false).unwrap();
        stream.out().extend_from_slice(b"250 one\r\n");
        stream.line(LONG, false).unwrap();
        stream.out().extend_from_slice(b"250 two\r\n");
        client.set_nonblocking(true).unwrap();
        let mut answers = [0; 100];
        assert!(client.read(&mut answers).is_err());
        assert_eq!(stream.line(SOON, false), Err(End::Timeout));
        let count = client.read(&mut answers).unwrap();
        assert_eq!(&answers[..count], b"250 one\r\n250 two\r\n");
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let (mut client, mut stream) = pair();
        let sender = std::thread::spawn(move || {
            let _ = client.write_all(&vec![b'x'; ENDLESS + 2 * COMMANDS]);
            client
        });
        assert_eq!(stream.line(LONG, false), Err(End::Endless));
        drop(stream);
        sender.join().unwrap();
    }

    #[test]
    fn an_ear_hears_what_comes_and_leaves_it_to_the_stream() {
        let (mut client, mut stream) = pair();
        let ear = stream.ear();
        assert!(!ear(Duration::ZERO) && !ear(SOON));
        client.write_all(b"EHLO a\r\n").unwrap();
        assert!(ear(LONG) && ear(Duration::ZERO));
        assert_eq!(stream.line(LONG, false).unwrap(), b"EHLO a");
        assert!(!ear(Duration::ZERO));
        drop(client);
        assert!(!ear(LONG));
    }

    /// The kernel limits reads of sockets only.
    #[test]
    fn what_is_no_socket_has_a_limit_too() {
        let (read, write) = nix::unistd::pipe().unwrap();
        let mut stream = Stream::new(read);
        assert_eq!(stream.line(SOON, false), Err(End::Timeout));
        nix::unistd::write(&write, b"NOOP\r\n").unwrap();
        assert_eq!(stream.line(LONG, false).unwrap(), b"NOOP");
        assert_eq!(stream.octets(SOON), Err(End::Timeout));
        drop(write);
        assert_eq!(stream.line(LONG, false), Err(End::Closed));
    }

    #[test]
    fn a_limit_changes_from_read_to_read() {
        let (_client, mut stream) = pair();
        for _ in 0..2 {
            assert!(stream.limit_reads(LONG) && stream.limit_reads(SOON));
            assert_eq!(stream.octets(SOON), Err(End::Timeout));
        }
    }

    #[test]
    fn only_an_idle_client_is_stopped() {
        static STOP: Stop = Stop::new();
        let (mut client, stream) = pair();
        let mut stream = stream.until(&STOP);
        assert_eq!(stream.line(SOON, true), Err(End::Timeout));
        STOP.wish();
        assert_eq!(stream.line(LONG, true), Err(End::Stopping));
        assert_eq!(stream.line(SOON, false), Err(End::Timeout));
        client.write_all(b"half").unwrap();
        assert_eq!(stream.line(SOON, true), Err(End::Stopping));
        assert_eq!(stream.line(SOON, false), Err(End::Timeout));
    }

    /// The wish may come while the client is waited for, in the middle of a line, too.
    #[test]
    fn a_client_that_takes_its_time_is_stopped() {
        static STOP: Stop = Stop::new();
        let (mut client, stream) = pair();
        let mut stream = stream.until(&STOP);
        client.write_all(b"NOOP\r\nNO").unwrap();
        assert_eq!(stream.line(LONG, true).unwrap(), b"NOOP");
        let wisher = std::thread::spawn(|| {
            std::thread::sleep(SOON);
            STOP.wish();
        });
        assert_eq!(stream.line(LONG, true), Err(End::Stopping));
        wisher.join().unwrap();
        stream.out().extend_from_slice(b"421 later\r\n");
        stream.flush();
        let mut answers = [0; 100];
        let count = client.read(&mut answers).unwrap();
        assert_eq!(&answers[..count], b"421 later\r\n");
    }
}
