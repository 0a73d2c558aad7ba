//! The client of a session that is played: lines of standard input, and replies on standard output.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, ErrorKind, IsTerminal, Read, Result, Write, stdin};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::server::console::say;

/// The longest line that is taken, in octets; more than any that the server waits for.
const LONGEST: u64 = 1024 * 1024;

/// The client's end of the session.
pub(super) struct Terminal {
    socket: UnixStream,
    /// The server's end, to see whether it has read what was sent.
    server: OwnedFd,
    /// Is standard input no terminal, which would show the lines itself?
    shows_lines: bool,
    /// What the socket did not take yet.
    left: RefCell<Vec<u8>>,
    /// Is the next line part of a message or of an authentication?
    goes_on: Cell<bool>,
    /// Has the client no more to say?
    has_ended: Cell<bool>,
    /// Has the server closed the connection?
    is_closed: Cell<bool>,
}

impl Terminal {
    pub(super) fn new(socket: UnixStream, server: &UnixStream) -> Result<Terminal> {
        socket.set_nonblocking(true)?;
        Ok(Terminal {
            socket,
            server: server.try_clone()?.into(),
            shows_lines: !stdin().is_terminal(),
            left: RefCell::default(),
            goes_on: Cell::new(false),
            has_ended: Cell::new(false),
            is_closed: Cell::new(false),
        })
    }

    /// The server waits: it gets the rest of the last line, or the next one.
    pub(super) fn turn(&self) {
        self.show();
        if self.is_unread() || self.has_ended.get() || self.is_closed.get() {
            return;
        }
        if self.left.borrow().is_empty() {
            match self.next_line() {
                Some(line) => self.left.replace(line),
                None => {
                    self.has_ended.set(true);
                    let _ = self.socket.shutdown(Shutdown::Write);
                    return;
                }
            };
        }
        let mut left = self.left.borrow_mut();
        match (&self.socket).write(&left) {
            Ok(count) => drop(left.drain(..count)),
            Err(error)
                if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {}
            Err(_) => {
                left.clear();
                self.has_ended.set(true);
            }
        }
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
        loop {
            let mut line = vec![];
            let count = stdin().lock().take(LONGEST).read_until(b'\n', &mut line).ok()?;
            if count == 0 {
                return None;
            }
            let is_whole = line.pop_if(|last| *last == b'\n').is_some();
            if is_whole {
                line.pop_if(|last| *last == b'\r');
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            if self.shows_lines {
                say(&format!("C: {}\n", shown(&text)));
            }
            if !self.goes_on.get() && text.trim().eq_ignore_ascii_case("STARTTLS") {
                say(
                    "   STARTTLS is not possible here: with --client-tls the client already has TLS\n",
                );
                continue;
            }
            if is_whole || count < LONGEST as usize {
                line.extend(b"\r\n");
            }
            return Some(line);
        }
    }

    /// Shows what the server has sent.
    fn show(&self) {
        let mut text = vec![];
        // It ends with an error when there is no more for the moment.
        let ends = (&self.socket).read_to_end(&mut text).is_ok();
        self.is_closed.set(self.is_closed.get() || ends);
        if let Some(last) = show_replies(&text) {
            self.goes_on.set(last == b'3');
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
