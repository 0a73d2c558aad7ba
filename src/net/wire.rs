//! A connection to a back end on which every wait has a limit, in the clear or under TLS.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use memchr::memchr;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Endpoint;
use super::connect::{tcp, unix};
use super::tls::Tls;
use super::wait::{is_again, left, wait};

/// The longest wait until the peer takes more of what is written (RFC 5321 4.5.3.2.5).
const WRITE: Duration = Duration::from_secs(180);

/// How much is read at a time, in octets.
const CHUNK: usize = 4096;

/// An open connection to a server.  What is written goes out at once; a write that waits ends as the
/// reads do, and after three minutes in any case.
pub struct Wire {
    socket: File,
    tls: Option<Tls>,
    /// Is the peer on this machine?
    is_local: bool,
    /// When all waiting ends.
    until: Instant,
    input: Vec<u8>,
    at: usize,
    /// Does a write stop when the peer says something?
    stops_at_input: bool,
}

impl Wire {
    /// Connects.  Waits end at `until`, now and later.
    ///
    /// # Errors
    /// The host has no address, none of them answers, or time is over.
    pub fn connect(endpoint: &Endpoint, until: Instant) -> io::Result<Wire> {
        let (socket, is_local): (OwnedFd, bool) = match endpoint {
            Endpoint::Tcp { host, port } => {
                let stream = tcp(host, *port, until)?;
                let is_local = stream.peer_addr()?.ip().to_canonical().is_loopback();
                (stream.into(), is_local)
            }
            Endpoint::Unix(path) => (unix(path)?, true),
        };
        let socket = socket.into();
        Ok(Wire { socket, tls: None, is_local, until, input: vec![], at: 0, stops_at_input: false })
    }

    /// Is the peer reached over the loopback interface or a socket in the file system?
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// For tests: a peer that counts as one elsewhere.
    #[cfg(test)]
    pub(crate) fn set_remote(&mut self) {
        self.is_local = false;
    }

    /// The TLS that is spoken.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Makes the handshake; from then on everything is encrypted.  After an error the connection
    /// is of no use.
    ///
    /// # Errors
    /// `InvalidData` where the peer has said more in the clear than was heard, or where the
    /// handshake fails; else as [`Wire::octet`].
    pub fn encrypt(&mut self, tls: Tls, until: Instant) -> io::Result<()> {
        if self.at < self.input.len() {
            let what = "something in the clear instead of a handshake";
            return Err(io::Error::new(ErrorKind::InvalidData, what));
        }
        let tls = self.tls.insert(tls);
        while tls.is_handshaking() {
            exchange(&self.socket, tls, until)?;
        }
        Ok(())
    }

    /// Says that nothing more will be said.
    pub fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&self.socket);
        }
    }

    /// From now on waits end at `until`.
    pub fn set_end(&mut self, until: Instant) {
        self.until = until;
    }

    /// Has the peer said something that nobody has taken yet, or closed the connection?  Does not wait.
    ///
    /// # Errors
    /// What the system says; under TLS `InvalidData` or `UnexpectedEof`.
    pub(crate) fn has_heard(&mut self) -> io::Result<bool> {
        if self.at < self.input.len() {
            return Ok(true);
        }
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::ZERO)? == 0 {
            return Ok(false);
        }
        match &mut self.tls {
            // It may be a ticket only.
            Some(tls) => {
                tls.receive(&self.socket)?;
                tls.has_heard()
            }
            None => Ok(true),
        }
    }

    /// Says whether a write fails with `ConnectionAborted` when the peer says something meanwhile, or
    /// has closed the connection.
    pub(crate) fn stop_at_input(&mut self, stops_at_input: bool) {
        self.stops_at_input = stops_at_input;
    }

    /// When a wait ends that may take `most`.
    pub fn within(&self, most: Duration) -> Instant {
        self.until.min(Instant::now() + most)
    }

    /// The next octet, waited for until `until` at most.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` where the peer has closed; what the system says.
    pub fn octet(&mut self, until: Instant) -> io::Result<u8> {
        if self.at == self.input.len() {
            self.fill(until)?;
        }
        self.at += 1;
        Ok(self.input[self.at - 1])
    }

    /// What has come, waited for until `until` at most: at least one octet, and not more than up to
    /// `end`.  `end` is left out, and said to have been there.
    ///
    /// # Errors
    /// As [`Wire::octet`].
    pub(super) fn take(&mut self, end: Option<u8>, until: Instant) -> io::Result<(&[u8], bool)> {
        if self.at == self.input.len() {
            self.fill(until)?;
        }
        let from = self.at;
        let found = end.and_then(|end| memchr(end, &self.input[from..]));
        let to = found.map_or(self.input.len(), |count| from + count);
        self.at = to + usize::from(found.is_some());
        Ok((&self.input[from..to], found.is_some()))
    }

    /// Some octets of what has come, at least one, waited for until `until` at most.
    ///
    /// # Errors
    /// As [`Wire::octet`].
    pub(super) fn some(&mut self, room: &mut [u8], until: Instant) -> io::Result<usize> {
        if self.at == self.input.len() {
            self.fill(until)?;
        }
        let count = room.len().min(self.input.len() - self.at);
        room[..count].copy_from_slice(&self.input[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }

    /// Where the peer has closed the connection: perhaps somebody else did, as TLS does not say that
    /// there is no more (RFC 8446 6.1).
    pub(super) fn is_cut_off(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| !tls.has_heard().unwrap_or(false))
    }

    /// Has the peer said nothing that was not heard yet, and is it still there?
    pub(crate) fn is_quiet(&self) -> bool {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        self.at == self.input.len() && poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }

    fn fill(&mut self, until: Instant) -> io::Result<()> {
        self.input.resize(CHUNK, 0);
        self.at = CHUNK;
        let count = self.read(until)?;
        self.input.truncate(count);
        self.at = 0;
        Ok(())
    }

    /// Reads into `input`; at least one octet.
    fn read(&mut self, until: Instant) -> io::Result<usize> {
        loop {
            if let Some(tls) = &mut self.tls {
                if let Some(count) = tls.take(&mut self.input)? {
                    return Ok(count);
                }
                exchange(&self.socket, tls, until)?;
                continue;
            }
            wait(&self.socket, PollFlags::POLLIN, until)?;
            match self.socket.read(&mut self.input) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if is_again(&error) => {}
                done => return done,
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stops_at_input && self.at < self.input.len() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let until = self.within(WRITE);
        if let Some(tls) = &mut self.tls {
            let count = tls.put(bytes)?;
            while tls.wants_write() {
                if self.stops_at_input && tls.has_heard()? {
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                exchange(&self.socket, tls, until)?;
            }
            return Ok(count);
        }
        let input = if self.stops_at_input { PollFlags::POLLIN } else { PollFlags::empty() };
        // There is room most of the time, and then nothing has to be waited for.
        let mut waits = self.stops_at_input || left(until).is_err();
        loop {
            if std::mem::replace(&mut waits, true)
                && wait(&self.socket, PollFlags::POLLOUT | input, until)?.intersects(input)
            {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            match self.socket.write(bytes) {
                Err(error) if is_again(&error) => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until records can go one way or the other, and moves them.  What has been heard is to be
/// taken out before more is read.
fn exchange(socket: &File, tls: &mut Tls, until: Instant) -> io::Result<()> {
    let mut events = PollFlags::empty();
    events.set(PollFlags::POLLIN, !tls.has_heard()?);
    events.set(PollFlags::POLLOUT, tls.wants_write());
    let ready = wait(socket, events, until)?;
    if ready.contains(PollFlags::POLLOUT) {
        tls.send(socket)?;
    }
    if ready.intersects(!PollFlags::POLLOUT) {
        tls.receive(socket)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn soon(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    fn endpoint(listener: &TcpListener) -> Endpoint {
        let port = listener.local_addr().unwrap().port();
        Endpoint::Tcp { host: "127.0.0.1".into(), port }
    }

    #[test]
    fn silence_and_the_end_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::connect(&endpoint(&listener), soon(60_000)).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let kind = |result: io::Result<u8>| result.unwrap_err().kind();
        assert_eq!(kind(wire.octet(soon(10))), ErrorKind::TimedOut);
        peer.write_all(b"ab").unwrap();
        assert_eq!(wire.octet(soon(60_000)).unwrap(), b'a');
        assert_eq!(wire.octet(soon(60_000)).unwrap(), b'b');
        drop(peer);
        assert_eq!(kind(wire.octet(soon(60_000))), ErrorKind::UnexpectedEof);
        assert_eq!(kind(wire.octet(soon(60_000))), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_not_waited_for_longer_than_it_may_take() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::connect(&endpoint(&listener), soon(60_000)).unwrap();
        let (_peer, _) = listener.accept().unwrap();
        wire.set_end(soon(50));
        let error = wire.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_peer_that_speaks_meanwhile_is_heeded() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::connect(&endpoint(&listener), soon(60_000)).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        wire.stop_at_input(true);
        wire.write_all(b"x").unwrap();
        peer.write_all(b"no").unwrap();
        let error = wire.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert_eq!(wire.octet(soon(60_000)).unwrap(), b'n');
        let error = wire.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        wire.stop_at_input(false);
        wire.write_all(b"x").unwrap();
    }

    #[test]
    fn what_is_said_or_closed_unasked_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::connect(&endpoint(&listener), soon(60_000)).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert!(!wire.has_heard().unwrap());
        peer.write_all(b"ab").unwrap();
        assert_eq!(wire.octet(soon(60_000)).unwrap(), b'a');
        assert!(wire.has_heard().unwrap());
        assert_eq!(wire.octet(soon(60_000)).unwrap(), b'b');
        assert!(!wire.has_heard().unwrap());
        drop(peer);
        assert_eq!(wire.octet(soon(60_000)).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(wire.has_heard().unwrap());
    }

    #[test]
    fn sockets_in_the_file_system_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let endpoint = Endpoint::Unix(path.clone());
        assert!(Wire::connect(&endpoint, soon(60_000)).is_err());
        let listener = UnixListener::bind(&path).unwrap();
        let mut wire = Wire::connect(&endpoint, soon(60_000)).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        wire.write_all(b"x").unwrap();
        peer.read_exact(&mut [0]).unwrap();
    }

    #[test]
    fn no_time_is_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Wire::connect(&endpoint(&listener), Instant::now()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
