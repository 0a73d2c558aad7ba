//! The questions to qmail-deliverabled, and its answers.

use std::fmt::Write;
use std::io;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::net::{Http, protocol_error};

/// The longest answer, in octets; a code has three.
const LONGEST: u64 = 100;

/// Asks daemons, each time over a connection of its own.
pub(super) struct Daemon(Http);

impl Daemon {
    pub(super) fn new() -> Daemon {
        Daemon(Http::new(None))
    }

    /// The code for `address`, from the daemon at `server`.
    ///
    /// # Errors
    /// It does not answer by `until`, or with something else.
    pub(super) fn deliverable(&self, server: &str, address: &str, until: Instant) -> Result<u8> {
        let question = question(address).ok_or("no such question")?;
        let url = format!("http://{server}/qd1/deliverable?{question}");
        let answer = self.0.get(&url, LONGEST, until).and_then(|page| match page.status {
            200 => code(&page.content),
            status => Err(io::Error::other(format!("{status} {}", page.reason))),
        });
        answer.map_err(|error| Error::new(format!("qmail-deliverabled at {server}: {error}")))
    }
}

/// An address as it is asked about, in an URL; None: the daemon would not take it.
pub(super) fn question(address: &str) -> Option<String> {
    let is_atom = |atom: &str| {
        let is_text = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b);
        !atom.is_empty() && atom.bytes().all(is_text)
    };
    let is_taken = address.matches('@').count() <= 1 && address.split(['.', '@']).all(is_atom);
    is_taken.then(|| escaped(address))
}

/// All but unreserved characters (RFC 3986 2.3) with their numbers.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(octet.into());
            }
            _ => drop(write!(out, "%{octet:02X}")),
        }
    }
    out
}

/// A number as it is written.
///
/// # Errors
/// `InvalidData`: it is no code.
pub(super) fn code(content: &[u8]) -> io::Result<u8> {
    let text = str::from_utf8(content).unwrap_or_default().trim();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let code = text.parse().ok().filter(|_| is_number);
    code.ok_or_else(|| protocol_error("no code"))
}
