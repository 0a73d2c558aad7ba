//! A message through a filter, line by line.

use std::io::{self, Write};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::link::Link;
use super::protocol::{self, Line, Request, Version};
use crate::state::{Body, Transaction};

/// What a filter may add to a message, beside as much as there is already, in octets.
const MOST_ADDED: u64 = 1024 * 1024;

/// How much may wait for the filter before it is waited for, in octets.
const WAITING: usize = 256 * 1024;

/// Sends the message, as it would be queued now, and takes what comes back.  None: that is the same.
///
/// # Errors
/// `TimedOut`; the filter ends, sends what it may not, too much or nothing; the spool file cannot be read
/// or written.
pub(super) fn through(
    link: &mut Link,
    (version, request): (Version, Request),
    transaction: &Transaction,
    until: Instant,
    report: &mut dyn FnMut(u64, &str),
) -> io::Result<Option<Body>> {
    let most = transaction.message_len().saturating_mul(2).saturating_add(MOST_ADDED);
    let back = Back {
        message: transaction.new_message(),
        digest: Sha256::new(),
        most,
        is_complete: false,
        may_end: false,
    };
    let head = protocol::data_head(version, request);
    let digest = Sha256::new();
    let mut lines = Lines { link, head, request, digest, line: vec![], back, until, report };
    transaction.write_message(&mut lines)?;
    let Lines { link, digest, mut back, report, .. } = lines.end()?;
    if !back.is_complete {
        link.await_answer(request, until, report, |line| {
            back.take(line).map(|()| back.is_complete.then_some(()))
        })?;
    }
    if back.message.is_empty() {
        return Err(io::Error::other("it gave back no message"));
    }
    let is_same = back.digest.finalize() == digest.finalize();
    Ok((!is_same).then_some(back.message))
}

/// Writes a message to the filter as lines, and reads meanwhile, so that neither waits for the other.
struct Lines<'a> {
    link: &'a mut Link,
    /// What stands before each line.
    head: Vec<u8>,
    request: Request,
    digest: Sha256,
    /// The line so far.
    line: Vec<u8>,
    back: Back,
    until: Instant,
    report: &'a mut dyn FnMut(u64, &str),
}

impl Lines<'_> {
    /// Sends the line that is complete.
    fn send(&mut self) -> io::Result<()> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        add(&mut self.digest, line);
        let dot: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
        let octets = [&self.head, dot, line, b"\n"].concat();
        self.line.clear();
        self.put(&octets)
    }

    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.link.send(octets)?;
        while self.link.waiting() > WAITING {
            self.link.turn(self.until)?;
            let back = &mut self.back;
            self.link.take_answers(self.request, self.report, |line| back.take(line))?;
        }
        Ok(())
    }

    /// Sends the end of the message.
    fn end(mut self) -> io::Result<Self> {
        if !self.line.is_empty() {
            self.send()?;
        }
        self.back.may_end = true;
        let end = [&self.head[..], b".\n"].concat();
        self.put(&end)?;
        Ok(self)
    }
}

impl Write for Lines<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        for piece in octets.split_inclusive(|octet| *octet == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(rest) => {
                    self.line.extend_from_slice(rest);
                    self.send()?;
                }
                None => self.line.extend_from_slice(piece),
            }
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What comes back.
struct Back {
    message: Body,
    digest: Sha256,
    most: u64,
    is_complete: bool,
    /// Has the filter the whole message?
    may_end: bool,
}

impl Back {
    fn take(&mut self, line: Line<'_>) -> io::Result<()> {
        let Line::Text(_, line) = line else {
            return Err(io::Error::other("it answers a line of a message with a decision"));
        };
        if line == b"." {
            self.is_complete = true;
            return match self.may_end {
                true => Ok(()),
                false => Err(io::Error::other("it ends the message before it has all of it")),
            };
        }
        if self.is_complete {
            return Err(io::Error::other("it goes on after the end of the message"));
        }
        let line = line.strip_prefix(b".").unwrap_or(line);
        add(&mut self.digest, line);
        self.message.write(line)?;
        self.message.write(b"\r\n")?;
        match self.message.len() > self.most {
            true => Err(io::Error::other("it makes the message too large")),
            false => Ok(()),
        }
    }
}

/// Lines are the same where only what ends them differs.
fn add(digest: &mut Sha256, line: &[u8]) {
    let end = line.iter().rposition(|octet| *octet != b'\r').map_or(0, |at| at + 1);
    digest.update(&line[..end]);
    digest.update(b"\n");
}
