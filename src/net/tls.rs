//! The records of a TLS connection to a back end.  Nothing in here waits.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};

/// A connection from its handshake on.
#[derive(Debug)]
pub struct Tls(Box<ClientConnection>);

impl Tls {
    /// The start of a handshake with the server `host`, a name or an address.
    ///
    /// # Errors
    /// `InvalidData`: no certificate can have that name.
    pub fn new(config: &Arc<ClientConfig>, host: &str) -> io::Result<Tls> {
        let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
        let connection = ClientConnection::new(config.clone(), name).map_err(invalid)?;
        Ok(Tls(Box::new(connection)))
    }

    /// Is there a part of the handshake that has not been read, or not been sent?
    pub(super) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking() || self.0.wants_write()
    }

    /// Are there records to be sent?
    pub(super) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Has the peer said something that has not been taken out, or that it will say no more?
    pub(super) fn has_heard(&mut self) -> io::Result<bool> {
        let state = self.0.process_new_packets().map_err(invalid)?;
        Ok(state.plaintext_bytes_to_read() > 0 || state.peer_has_closed())
    }

    /// Reads the records that have come.
    ///
    /// # Errors
    /// `UnexpectedEof` where the connection has been closed; `InvalidData` where what came is not
    /// what it has to be, and the peer has been told so; what the system says.
    pub(super) fn receive(&mut self, mut socket: &File) -> io::Result<()> {
        match self.0.read_tls(&mut socket) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if is_again(&error) => return Ok(()),
            done => done?,
        };
        if let Err(error) = self.0.process_new_packets() {
            // The alert.
            let _ = self.send(socket);
            return Err(invalid(error));
        }
        Ok(())
    }

    /// Sends as many records as can be sent at once.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn send(&mut self, mut socket: &File) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut socket) {
                Err(error) if is_again(&error) => return Ok(()),
                done => done?,
            };
        }
        Ok(())
    }

    /// Takes out what has been decrypted; None: nothing yet.
    ///
    /// # Errors
    /// `UnexpectedEof`: the peer has closed the connection.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.0.reader().read(buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Encrypts some of `bytes`; how many.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.writer().write(bytes)
    }

    /// Says that no more will come, if that can be said at once.
    pub(super) fn close(&mut self, socket: &File) {
        self.0.send_close_notify();
        let _ = self.send(socket);
    }
}

/// The protocol and the cipher, for the log.
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.0.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let cipher = self.0.negotiated_cipher_suite();
        let cipher = cipher.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        write!(f, "{protocol} {}", cipher.replace("TLS13_", "TLS_"))
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::TcpListener;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, Stream, crypto::ring};

    use super::*;
    use crate::net::{Endpoint, Wire, unverified};

    /// The configuration of a server with a self-signed certificate for `name`, and that certificate as
    /// PEM.
    pub(crate) fn self_signed(name: &str) -> (Arc<ServerConfig>, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        (Arc::new(config), made.cert.pem())
    }

    /// Runs a client against what `serve` does with a connection.
    fn with_server(
        serve: impl FnOnce(Stream<'_, ServerConnection, std::net::TcpStream>) + Send + 'static,
        client: impl FnOnce(&mut Wire, Instant),
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(self_signed("mx.test").0).unwrap();
            serve(Stream::new(&mut connection, &mut stream));
        });
        let until = Instant::now() + Duration::from_secs(60);
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port };
        let mut wire = Wire::connect(&endpoint, until).unwrap();
        wire.encrypt(Tls::new(&unverified().unwrap(), "localhost").unwrap(), until).unwrap();
        client(&mut wire, until);
        drop(wire);
        server.join().unwrap();
    }

    #[test]
    fn tickets_are_no_words_but_words_are_heeded() {
        let serve = |mut stream: Stream<'_, ServerConnection, std::net::TcpStream>| {
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"no").unwrap();
            // Until the client closes.
            let _ = io::copy(&mut stream.sock, &mut io::sink());
        };
        with_server(serve, |wire, until| {
            wire.stop_at_input(true);
            wire.write_all(b"x").unwrap();
            let error = wire.write_all(&vec![0; 64 << 20]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            let error = wire.write_all(b"x").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            assert_eq!(wire.octet(until).unwrap(), b'n');
            assert_eq!(wire.octet(until).unwrap(), b'o');
        });
    }

    #[test]
    fn much_is_sent_whole_and_the_end_is_seen() {
        let much: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
        let want = much.clone();
        let serve = move |mut stream: Stream<'_, ServerConnection, std::net::TcpStream>| {
            let mut heard = vec![0; want.len()];
            stream.read_exact(&mut heard).unwrap();
            assert!(heard == want);
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        };
        with_server(serve, |wire, until| {
            wire.write_all(&much).unwrap();
            assert_eq!(wire.octet(until).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        });
    }

    #[test]
    fn silence_under_tls_is_not_waited_for_longer_than_it_may_take() {
        let serve = |mut stream: Stream<'_, ServerConnection, std::net::TcpStream>| {
            let _ = stream.read(&mut [0]);
        };
        with_server(serve, |wire, _| {
            let error = wire.octet(Instant::now() + Duration::from_millis(10)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        });
    }
}
