//! Standard error: a terminal or a file, or a pipe or socket to a program that may not read it.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::OnceLock;
use std::time::Instant;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};

use super::level::Level;
use super::record::Record;
use super::stall::Stall;
use crate::sys::nowait;

static OUTLET: OnceLock<Outlet> = OnceLock::new();

struct Outlet {
    kind: Kind,
    stall: Stall,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipe,
    Socket,
    /// Anything else: it takes what is written.
    Plain,
}

/// Writes `PID[SESSION] (hook) plugin: text` to standard error in one piece.  A log that cannot be
/// written is dropped.
pub fn to_stderr(record: &Record<'_>) {
    line_to_stderr(&format!("{}{}", std::process::id(), record.entry()));
}

/// Writes a line to standard error in one piece.  A log that cannot be written is dropped; so is one
/// that nobody reads, after a second, and what is missing is counted.
pub fn line_to_stderr(line: &str) {
    prepare();
    let text = format!("{line}\n");
    match OUTLET.get() {
        Some(Outlet { kind, stall }) if *kind != Kind::Plain => {
            let Some(missing) = put_or_lose(*kind, *stall, &text) else { return };
            let level = Level::Warn;
            let news = Record { level, text: &missing, ..Record::default() };
            let news = match line.starts_with('{') {
                true => news.json(Timestamp::now()),
                false => format!("{}{}", std::process::id(), news.entry()),
            };
            put_or_lose(*kind, *stall, &format!("{news}\n"));
        }
        _ => drop(std::io::stderr().write_all(text.as_bytes())),
    }
}

/// Finds out what standard error is, once for all processes that are forked later.
pub(crate) fn prepare() {
    OUTLET.get_or_init(|| Outlet { kind: kind(), stall: Stall::new() });
}

/// Some: what to say of the lines that were lost before this one.
fn put_or_lose(kind: Kind, stall: Stall, text: &str) -> Option<String> {
    let timeout = stall.timeout();
    match put(kind, text.as_bytes(), Instant::now() + timeout) {
        true => return stall.ends(),
        false if timeout.is_zero() => stall.loses(),
        false => stall.begins(),
    }
    None
}

/// False: there was no room for the whole text before `until`.
fn put(kind: Kind, mut text: &[u8], until: Instant) -> bool {
    let stderr = std::io::stderr();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    while !text.is_empty() {
        let done = match kind {
            Kind::Socket => send(stderr.as_raw_fd(), text, flags),
            _ => nowait::write_some(stderr.as_fd(), text),
        };
        match done {
            Ok(count) => text = &text[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let left = until.saturating_duration_since(Instant::now());
                let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                if poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], left) == Ok(0) {
                    return false;
                }
            }
            // Nobody will ever read it.
            Err(_) => return true,
        }
    }
    true
}

fn kind() -> Kind {
    let mode = fstat(std::io::stderr()).map_or(0, |found| found.st_mode);
    match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFIFO => Kind::Pipe,
        SFlag::S_IFSOCK => Kind::Socket,
        _ => Kind::Plain,
    }
}
