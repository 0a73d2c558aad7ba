//! The client of a session that is played: lines of standard input, and replies on standard output.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, IsTerminal, Read, Result, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::wire::Wire;
use crate::server::console::say;

/// The longest line that is taken, in octets; more than any that the server waits for.
const LONGEST: u64 = 1024 * 1024;

/// What stands before a line of the client.
const CLIENT: &str = "C: ";

/// What comes before the greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Nothing,
    Tls,
    /// A PROXY header, and then TLS or nothing.
    Proxy {
        tls: bool,
    },
}

/// The client's end of the session.
pub(super) struct Terminal {
    wire: RefCell<Wire>,
    /// The server's end, to see whether it has read what was sent.
    server: OwnedFd,
    /// Does a person write the lines, and see them?
    is_person: bool,
    /// What is still to come before the greeting.
    first: Cell<First>,
    /// Is the next line part of a message or of an authentication?
    goes_on: Cell<bool>,
    /// Was STARTTLS the last command?
    asks_for_tls: Cell<bool>,
    /// Was it not said yet what the handshake has agreed on?
    is_secret: Cell<bool>,
    /// Has the client no more to say?
    has_ended: Cell<bool>,
    /// Has the server no more to say?
    is_left: Cell<bool>,
}

impl Terminal {
    pub(super) fn new(socket: UnixStream, server: &UnixStream, first: First) -> Result<Terminal> {
        Ok(Terminal {
            wire: RefCell::new(Wire::new(socket)?),
            server: server.try_clone()?.into(),
            is_person: stdin().is_terminal() && stdout().is_terminal(),
            first: Cell::new(first),
            goes_on: Cell::new(false),
            asks_for_tls: Cell::new(false),
            is_secret: Cell::new(false),
            has_ended: Cell::new(false),
            is_left: Cell::new(false),
        })
    }

    /// The server waits: it gets the rest of the last line, or the next one.
    pub(super) fn turn(&self) {
        self.show();
        let is_sent = self.wire.borrow_mut().send();
        let over = self.has_ended.get() || self.is_left.get() || self.wire.borrow().is_closed();
        if over || !is_sent || self.is_unread() || self.wire.borrow().is_handshaking() {
            return;
        }
        match self.first.replace(First::Nothing) {
            First::Nothing => {}
            First::Tls => return self.start_tls(),
            First::Proxy { tls } => {
                say("   this client is a proxy (proxy_from): a PROXY header comes first\n");
                self.first.set(if tls { First::Tls } else { First::Nothing });
            }
        }
        match self.next_line() {
            Some(line) => self.wire.borrow_mut().put(&line),
            None => {
                self.has_ended.set(true);
                self.wire.borrow_mut().end();
            }
        }
    }

    /// The server closes the connection next, and waits for nobody any more.
    pub(super) fn is_left(&self) {
        self.is_left.set(true);
    }

    /// The session is over.
    pub(super) fn end(&self) {
        self.show();
        if !self.has_ended.get() {
            say("   the server has closed the connection\n");
        }
    }

    /// Has the server something to read?
    fn is_unread(&self) -> bool {
        let mut ends = [PollFd::new(self.server.as_fd(), PollFlags::POLLIN)];
        poll(&mut ends, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// The next line of standard input, with CRLF.  None: there is no more.
    fn next_line(&self) -> Option<Vec<u8>> {
        if self.is_person {
            say(CLIENT);
        }
        let mut line = vec![];
        let count = stdin().lock().take(LONGEST).read_until(b'\n', &mut line).ok()?;
        if count == 0 {
            if self.is_person {
                say("\n");
            }
            return None;
        }
        let is_whole = line.pop_if(|last| *last == b'\n').is_some();
        if is_whole {
            line.pop_if(|last| *last == b'\r');
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        if !self.is_person {
            say(&format!("{CLIENT}{}\n", shown(&text)));
        }
        let is_starttls = text.trim().eq_ignore_ascii_case("STARTTLS");
        self.asks_for_tls.set(is_starttls && !self.goes_on.get());
        if is_whole || count < LONGEST as usize {
            line.extend(b"\r\n");
        }
        Some(line)
    }

    /// Shows what the server has sent.
    fn show(&self) {
        let (text, encryption) = {
            let mut wire = self.wire.borrow_mut();
            (wire.take(), wire.encryption())
        };
        if let Some(encryption) = encryption
            && self.is_secret.replace(false)
        {
            say(&format!("   under TLS now: {encryption}; nobody has looked at the certificate\n"));
        }
        if let Some(last) = show_replies(&text) {
            self.first.set(First::Nothing);
            self.goes_on.set(last == b'3');
            if self.asks_for_tls.replace(false) && last == b'2' {
                self.start_tls();
            }
        }
    }

    fn start_tls(&self) {
        self.is_secret.set(true);
        if let Err(error) = self.wire.borrow_mut().start_tls() {
            say(&format!("   no TLS: {error}\n"));
        }
    }
}

/// Shows replies; the first digit of the last one.
pub(super) fn show_replies(text: &[u8]) -> Option<u8> {
    let text = String::from_utf8_lossy(text);
    for line in text.lines() {
        say(&format!("S: {}\n", shown(line)));
    }
    text.lines().last()?.bytes().next()
}

/// A text without what a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}
