//! TLS over the client's descriptors: the handshake, and records in and out, each wait with a
//! limit.  What certificates there are is a plugin's business.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::mem;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::unistd::read;
use rustls::{ServerConfig, ServerConnection};

use crate::smtp::syntax::sni;
use crate::state::Encryption;

/// One client's TLS connection.
#[derive(Debug)]
pub(crate) struct Tls {
    /// It is shared with the thread that says goodbye when a handler is overdue.
    connection: Arc<Mutex<ServerConnection>>,
    /// How many octets have been decrypted and not taken out yet.
    pending: usize,
    /// What came so far, as long as it may be the client's first message.
    hello: Vec<u8>,
}

/// The most that is kept of a client's first message, in octets.
const LARGEST_HELLO: usize = 64 * 1024;

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
        Ok(Tls { connection: Arc::new(Mutex::new(connection)), pending: 0, hello: vec![] })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.lock().is_handshaking()
    }

    /// What says goodbye from another thread, with octets that are encrypted and sent on `output`.
    /// Nothing can be said any more afterwards: the connection stays locked.
    pub(crate) fn farewell(&self, output: OwnedFd, text: &'static [u8]) -> impl FnOnce() + use<> {
        let connection = self.connection.clone();
        move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = connection.writer().write_all(text);
            connection.send_close_notify();
            let mut output = File::from(output);
            while connection.wants_write() && connection.write_tls(&mut output).is_ok() {}
            mem::forget(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, ServerConnection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut hello = mem::take(&mut self.hello);
        let mut connection = self.lock();
        let mut raw = Raw { from: input, kept: connection.is_handshaking().then_some(&mut hello) };
        match connection.read_tls(&mut raw) {
            Ok(0) => return Err(Failed::new("the client closed the connection")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(Failed::new(error)),
        }
        let processed = connection.process_new_packets();
        let sent = send(&mut connection, output);
        if !connection.is_handshaking() {
            hello = vec![];
        }
        drop(connection);
        let state = processed.map_err(|error| match sni::server_name(&hello) {
            Some(name) => Failed(format!("{error}; the server name it asked for is '{name}'")),
            None => Failed::new(error),
        })?;
        self.hello = hello;
        self.pending = state.plaintext_bytes_to_read();
        sent.map_err(Failed::new)
    }

    /// Sends the records that wait to be sent.
    pub(crate) fn send(&mut self, output: &mut impl Write) -> io::Result<()> {
        send(&mut self.lock(), output)
    }

    /// Is there something decrypted that was not taken out yet?
    pub(crate) fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// Puts decrypted octets at the end of `buffer`, `most` at most, and returns how many; None: there
    /// are none yet.
    ///
    /// # Errors
    /// The client has closed its side.
    pub(crate) fn take(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<Option<usize>> {
        let mut connection = self.lock();
        let mut reader = connection.reader();
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
        drop(connection);
        self.pending = self.pending.saturating_sub(count);
        Ok(Some(count))
    }

    /// Encrypts and sends.
    pub(crate) fn put(&mut self, bytes: &[u8], output: &mut impl Write) -> io::Result<()> {
        let mut connection = self.lock();
        connection.writer().write_all(bytes)?;
        send(&mut connection, output)
    }

    /// Says that no more will come.
    pub(crate) fn close(&mut self, output: &mut impl Write) {
        let mut connection = self.lock();
        connection.send_close_notify();
        let _ = send(&mut connection, output);
    }

    /// The channel binding `tls-exporter` (RFC 9266).  Below TLS 1.3 it would need a handshake with
    /// an extension of which is not known whether the client had it: None.
    pub(crate) fn channel_binding(&self) -> Option<Vec<u8>> {
        let connection = self.lock();
        if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            return None;
        }
        let (label, context) = (b"EXPORTER-Channel-Binding", Some(&[][..]));
        connection.export_keying_material(vec![0; 32], label, context).ok()
    }

    /// What the handshake agreed on.
    pub(crate) fn encryption(&self) -> Encryption {
        let connection = self.lock();
        let protocol = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let cipher = connection.negotiated_cipher_suite();
        let cipher = cipher.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        Encryption {
            protocol: protocol.into(),
            cipher: cipher.replace("TLS13_", "TLS_"),
            server_name: connection.server_name().map(str::to_owned),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }
}

fn send(connection: &mut ServerConnection, output: &mut impl Write) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(output)?;
    }
    Ok(())
}

/// A descriptor for rustls to read, of which some is kept.
struct Raw<'a> {
    from: BorrowedFd<'a>,
    kept: Option<&'a mut Vec<u8>>,
}

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = loop {
            match read(self.from, buffer) {
                Err(Errno::EINTR) => {}
                done => break done?,
            }
        };
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.len() < LARGEST_HELLO) {
            kept.extend_from_slice(&buffer[..count]);
        }
        Ok(count)
    }
}
