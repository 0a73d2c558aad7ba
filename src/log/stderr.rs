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

use super::stall::Stall;
use super::{Level, Record};
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

/// Finds out what standard error is; processes that are forked later know it, too.
pub(super) fn prepare() {
    OUTLET.get_or_init(|| Outlet { kind: kind(), stall: Stall::new() });
}

/// Writes a line in one piece.  A line that cannot be written is dropped.
pub(super) fn write_line(line: &str) {
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

/// Some: what to say of the lines that were lost before this one.
fn put_or_lose(kind: Kind, stall: Stall, text: &str) -> Option<String> {
    let patience = stall.patience();
    match put(kind, text.as_bytes(), Instant::now() + patience) {
        true => return stall.ends(),
        false if patience.is_zero() => stall.loses(),
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
            // There is nobody who could read it ever.
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
