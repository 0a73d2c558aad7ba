//! The client's end of a session that is played: in the clear, or under TLS.  Nothing in here waits.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::error::Error;
use crate::net::unverified;

/// Whose certificate is asked for, as nobody looks at it.
const ANYBODY: &str = "localhost";

pub(super) struct Wire {
    socket: UnixStream,
    tls: Option<Box<ClientConnection>>,
    /// What the socket did not take yet, in the clear.
    left: Vec<u8>,
    /// Has the server closed the connection?
    is_closed: bool,
}

impl Wire {
    pub(super) fn new(socket: UnixStream) -> Result<Wire> {
        socket.set_nonblocking(true)?;
        Ok(Wire { socket, tls: None, left: vec![], is_closed: false })
    }

    /// From here on everything is under TLS, beginning with the handshake.
    ///
    /// # Errors
    /// There can be no TLS here.
    pub(super) fn start_tls(&mut self) -> crate::error::Result<()> {
        let fail = |error: &dyn ToString| Error::new(error.to_string());
        let name = ServerName::try_from(ANYBODY).map_err(|error| fail(&error))?;
        let tls = ClientConnection::new(unverified()?, name);
        let mut tls = Box::new(tls.map_err(|error| fail(&error))?);
        tls.set_buffer_limit(None);
        self.tls = Some(tls);
        self.send();
        Ok(())
    }

    /// The handshake, if there is one, has not come to its end.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// The version of TLS and its cipher.
    pub(super) fn encryption(&self) -> Option<String> {
        let tls = self.tls.as_ref().filter(|tls| !tls.is_handshaking())?;
        let version = tls.protocol_version()?.as_str()?.replace("TLSv1_", "TLSv1.");
        let cipher = tls.negotiated_cipher_suite()?.suite().as_str()?.replace("TLS13_", "TLS_");
        Some(format!("{version} {cipher}"))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// What the server has said since.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut text = vec![];
        // Both reads end with an error when there is no more for the moment.
        let Some(tls) = &mut self.tls else {
            self.is_closed |= (&self.socket).read_to_end(&mut text).is_ok();
            return text;
        };
        loop {
            match tls.read_tls(&mut &self.socket) {
                Ok(0) => self.is_closed = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => {}
                Ok(_) => {
                    self.is_closed |= tls.process_new_packets().is_err();
                    if !self.is_closed {
                        continue;
                    }
                }
            }
            break;
        }
        self.is_closed |= tls.reader().read_to_end(&mut text).is_ok();
        self.send();
        text
    }

    /// Says something to the server.
    pub(super) fn put(&mut self, octets: &[u8]) {
        match &mut self.tls {
            Some(tls) => self.is_closed |= tls.writer().write_all(octets).is_err(),
            None => self.left.extend(octets),
        }
        self.send();
    }

    /// Sends what the socket takes.  True: nothing is left.
    pub(super) fn send(&mut self) -> bool {
        let done = loop {
            let sent = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut &self.socket).map(drop),
                None if !self.left.is_empty() => {
                    let sent = (&self.socket).write(&self.left);
                    sent.map(|count| drop(self.left.drain(..count)))
                }
                _ => break Ok(true),
            };
            match sent {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
                Ok(()) => {}
            }
        };
        done.unwrap_or_else(|_| {
            self.is_closed = true;
            true
        })
    }

    /// Says that no more will come.
    pub(super) fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.send();
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
