//! What servers say: lines, words, or all that they have to say, each with a limit.

use std::io::{self, ErrorKind};
use std::time::Instant;

use super::Wire;

/// Room for so many octets is made before they are there.
const LARGE: usize = 64 * 1024;

impl Wire {
    /// The next line in at most `longest` octets, without LF or CRLF at its end.
    ///
    /// # Errors
    /// `TimedOut`, `UnexpectedEof`, in words about the back end; `InvalidData` for a line that is
    /// longer; what the system says.
    pub fn line(&mut self, longest: usize, until: Instant) -> io::Result<String> {
        let line = self.up_to(b'\n', longest, until).map_err(peer_error)?;
        let line = line.ok_or_else(|| protocol_error("a line that is too long"))?;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    /// The next `count` octets.
    ///
    /// # Errors
    /// `TimedOut`, `UnexpectedEof`, in words about the back end; what the system says.
    pub fn octets(&mut self, count: usize, until: Instant) -> io::Result<Vec<u8>> {
        let mut said = vec![];
        let mut got = 0;
        while got < count {
            said.resize(count.min(got + LARGE), 0);
            got += self.some(&mut said[got..], until).map_err(peer_error)?;
        }
        Ok(said)
    }

    /// All that the peer says until it closes the connection, at most `longest` octets.
    ///
    /// # Errors
    /// `TimedOut`, in words about the back end; `InvalidData` for more; what the system says.
    pub fn rest(&mut self, longest: usize, until: Instant) -> io::Result<Vec<u8>> {
        let mut said = vec![];
        loop {
            let (taken, _) = match self.take(None, until) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(said),
                taken => taken.map_err(peer_error)?,
            };
            said.extend_from_slice(taken);
            if said.len() > longest {
                return Err(protocol_error("an answer that is too long"));
            }
        }
    }

    /// The octets before the next `end`, which is left out; None: there are more than `longest`, and
    /// the connection is of no use any more.
    ///
    /// # Errors
    /// As [`Wire::octet`].
    pub fn up_to(
        &mut self,
        end: u8,
        longest: usize,
        until: Instant,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut said = vec![];
        loop {
            let (taken, is_end) = self.take(Some(end), until)?;
            said.extend_from_slice(taken);
            if said.len() > longest {
                return Ok(None);
            }
            if is_end {
                return Ok(Some(said));
            }
        }
    }
}

/// The error of an answer that the protocol does not have; `what` is what came.
pub fn protocol_error(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the back end gave a wrong answer: {what}"))
}

/// What a peer has not done, in words in place of the system's: `TimedOut`, `UnexpectedEof`.
fn peer_error(error: io::Error) -> io::Error {
    let what = match error.kind() {
        ErrorKind::UnexpectedEof => "the back end closed the connection",
        ErrorKind::TimedOut => "the back end does not answer",
        _ => return error,
    };
    io::Error::new(error.kind(), what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Endpoint;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    fn wire() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port };
        let wire = Wire::connect(&endpoint, Instant::now() + LONG).unwrap();
        (wire, listener.accept().unwrap().0)
    }

    #[test]
    fn lines_end_in_lf_or_crlf_and_have_a_limit() {
        let (mut wire, mut peer) = wire();
        peer.write_all(b"one\r\n\ntwo\xff\nlonger\r\n").unwrap();
        let until = Instant::now() + LONG;
        assert_eq!(wire.line(4, until).unwrap(), "one");
        assert_eq!(wire.line(4, until).unwrap(), "");
        assert_eq!(wire.line(4, until).unwrap(), "two\u{fffd}");
        let error = wire.line(4, until).unwrap_err();
        let text = "the back end gave a wrong answer: a line that is too long";
        assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::InvalidData, text));
    }

    #[test]
    fn a_line_that_does_not_come_is_explained() {
        let (mut wire, mut peer) = wire();
        peer.write_all(b"half").unwrap();
        let error = wire.line(9, Instant::now() + Duration::from_millis(50)).unwrap_err();
        let text = "the back end does not answer";
        assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::TimedOut, text));
        drop(peer);
        let error = wire.line(9, Instant::now() + LONG).unwrap_err();
        let text = "the back end closed the connection";
        assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::UnexpectedEof, text));
    }

    #[test]
    fn words_end_where_they_are_said_to_and_all_is_up_to_the_end() {
        let (mut wire, mut peer) = wire();
        peer.write_all(b"a\0bc\0all\nof it").unwrap();
        drop(peer);
        let until = Instant::now() + LONG;
        assert_eq!(wire.up_to(0, 1, until).unwrap(), Some(b"a".to_vec()));
        assert_eq!(wire.up_to(0, 2, until).unwrap(), Some(b"bc".to_vec()));
        assert_eq!(wire.rest(9, until).unwrap(), b"all\nof it");
        assert_eq!(wire.rest(9, until).unwrap(), b"");
        let error = wire.up_to(0, 9, until).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn more_than_the_limit_is_not_taken() {
        let (mut wire, mut peer) = wire();
        peer.write_all(b"abc\0").unwrap();
        drop(peer);
        let until = Instant::now() + LONG;
        assert_eq!(wire.up_to(0, 2, until).unwrap(), None);
        let (mut wire, mut peer) = self::wire();
        peer.write_all(b"abc").unwrap();
        drop(peer);
        let text = "the back end gave a wrong answer: an answer that is too long";
        assert_eq!(wire.rest(2, until).unwrap_err().to_string(), text);
    }
}
