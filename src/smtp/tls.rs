//! TLS over the client's descriptors: the handshake, and records in and out, each wait with a
//! limit.  What certificates there are is a plugin's business.

use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::read;
use rustls::{ServerConfig, ServerConnection};

use crate::state::Encryption;

/// One client's TLS connection.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: Box<ServerConnection>,
    /// How many octets have been decrypted and not taken out yet.
    pending: usize,
}

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
        Ok(Tls { connection: Box::new(connection), pending: 0 })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Reads one piece of the client's records.
    ///
    /// # Errors
    /// The connection is closed or broken, or what came is not TLS; the alert is sent.
    pub(crate) fn receive(
        &mut self,
        input: BorrowedFd<'_>,
        output: &mut impl Write,
    ) -> Result<(), Failed> {
        match self.connection.read_tls(&mut Raw(input)) {
            Ok(0) => return Err(Failed::new("the client closed the connection")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(Failed::new(error)),
        }
        let processed = self.connection.process_new_packets();
        let sent = self.send(output);
        self.pending = processed.map_err(Failed::new)?.plaintext_bytes_to_read();
        sent.map_err(Failed::new)
    }

    /// Sends the records that wait to be sent.
    pub(crate) fn send(&mut self, output: &mut impl Write) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(output)?;
        }
        Ok(())
    }

    /// Is there something decrypted that was not taken out yet?
    pub(crate) fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// Puts at most so many decrypted octets at the end of `buffer` and returns how many; None:
    /// there are none yet.
    ///
    /// # Errors
    /// The client has closed its side.
    pub(crate) fn take(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<Option<usize>> {
        let mut reader = self.connection.reader();
        let count = match reader.fill_buf() {
            Ok([]) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(octets) => {
                let count = octets.len().min(most);
                buffer.extend_from_slice(&octets[..count]);
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        reader.consume(count);
        self.pending = self.pending.saturating_sub(count);
        Ok(Some(count))
    }

    /// Encrypts and sends.
    pub(crate) fn put(&mut self, bytes: &[u8], output: &mut impl Write) -> io::Result<()> {
        self.connection.writer().write_all(bytes)?;
        self.send(output)
    }

    /// Says that no more will come.
    pub(crate) fn close(&mut self, output: &mut impl Write) {
        self.connection.send_close_notify();
        let _ = self.send(output);
    }

    /// The channel binding `tls-exporter` (RFC 9266).  Below TLS 1.3 it would need a handshake with
    /// an extension of which is not known whether the client had it: None.
    pub(crate) fn channel_binding(&self) -> Option<Vec<u8>> {
        if self.connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            return None;
        }
        let (label, context) = (b"EXPORTER-Channel-Binding", Some(&[][..]));
        self.connection.export_keying_material(vec![0; 32], label, context).ok()
    }

    /// What the handshake agreed on.
    pub(crate) fn encryption(&self) -> Encryption {
        let protocol = match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let cipher = self.connection.negotiated_cipher_suite();
        let cipher = cipher.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        Encryption {
            protocol: protocol.into(),
            cipher: cipher.replace("TLS13_", "TLS_"),
            server_name: self.connection.server_name().map(str::to_owned),
            resumed: self.connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }
}

/// A descriptor for rustls to read.
struct Raw<'a>(BorrowedFd<'a>);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match read(self.0, buffer) {
                Err(Errno::EINTR) => {}
                done => return done.map_err(io::Error::from),
            }
        }
    }
}
