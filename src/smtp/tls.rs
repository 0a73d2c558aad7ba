//! TLS over the client's descriptors: the handshake, and records in and out, each wait with a
//! limit.  What certificates there are is a plugin's business.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::{read, write};
use rustls::{ServerConfig, ServerConnection};

use crate::state::Encryption;

/// One client's TLS connection.
#[derive(Debug)]
pub(crate) struct Tls(Box<ServerConnection>);

/// Why a handshake failed, with the alert that was sent or received.
#[derive(Debug)]
pub(crate) struct Failed(String);

impl Failed {
    pub(crate) fn new(why: impl fmt::Display) -> Failed {
        Failed(why.to_string())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Tls {
    /// The start of a handshake.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Tls, Failed> {
        let mut connection = ServerConnection::new(config).map_err(Failed::new)?;
        connection.set_buffer_limit(None);
        Ok(Tls(Box::new(connection)))
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Reads one piece of the client's records.
    ///
    /// # Errors
    /// The connection is closed or broken, or what came is not TLS; the alert is sent.
    pub(crate) fn receive(
        &mut self,
        input: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> Result<(), Failed> {
        match self.0.read_tls(&mut Raw(input)) {
            Ok(0) => return Err(Failed::new("the client closed the connection")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(Failed::new(error)),
        }
        let processed = self.0.process_new_packets();
        let sent = self.send(output);
        processed.map_err(Failed::new)?;
        sent.map_err(Failed::new)
    }

    /// Sends the records that wait to be sent.
    pub(crate) fn send(&mut self, output: BorrowedFd<'_>) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(&mut Raw(output))?;
        }
        Ok(())
    }

    /// Takes out what has been decrypted; None: nothing yet.
    ///
    /// # Errors
    /// The client has closed its side.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.0.reader().read(buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Encrypts and sends.
    pub(crate) fn put(&mut self, bytes: &[u8], output: BorrowedFd<'_>) -> io::Result<()> {
        self.0.writer().write_all(bytes)?;
        self.send(output)
    }

    /// Says that no more will come.
    pub(crate) fn close(&mut self, output: BorrowedFd<'_>) {
        self.0.send_close_notify();
        let _ = self.send(output);
    }

    /// What the handshake agreed on.
    pub(crate) fn encryption(&self) -> Encryption {
        let protocol = match self.0.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let cipher = self.0.negotiated_cipher_suite();
        let cipher = cipher.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        Encryption {
            protocol: protocol.into(),
            cipher: cipher.replace("TLS13_", "TLS_"),
            server_name: self.0.server_name().map(str::to_owned),
            resumed: self.0.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }
}

/// A descriptor for rustls to read and write.
struct Raw<'a>(BorrowedFd<'a>);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        retried(|| read(self.0, buffer))
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retried(|| write(self.0, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn retried(mut call: impl FnMut() -> nix::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}
