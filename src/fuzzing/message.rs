//! A message on the wire: dots, line ends, limits.

use std::io::{self, Write};

use crate::forward::{CrlfLines, Stuffer};
use crate::smtp::syntax::message::{End, Limits, Message, Store};
use crate::smtp::syntax::transparency::{BareNewline, Progress, Unstuffer};

pub(super) const POLICIES: [BareNewline; 3] =
    [BareNewline::Reject, BareNewline::Normalize, BareNewline::Accept];

/// The pieces in which a message comes make no difference, a policy is kept, and what goes out
/// again comes in as the same.
pub(super) fn dots(input: &[u8]) {
    let [policy, size, wire @ ..] = input else { return };
    let policy = POLICIES[usize::from(*policy) % 3];
    let whole = received(policy, wire, wire.len().max(1));
    assert_eq!(whole, received(policy, wire, usize::from(*size) % 8 + 1));
    let (message, end, has_bare) = whole;
    if end == Progress::LoneDot {
        assert_eq!(policy, BareNewline::Reject);
        return;
    }
    if policy == BareNewline::Normalize || !has_bare {
        let lines = message.strip_suffix(b"\r").unwrap_or(&message);
        assert!(is_normal(lines), "{}", message.escape_ascii());
    }
    let mut out = CrlfLines::new(Stuffer::new(vec![]));
    let wrote = out.write_all(&message).and_then(|()| out.finish()?.finish());
    let wire = wrote.expect("a Vec takes everything");
    let (again, end, has_bare) = received(BareNewline::Reject, &wire, 3);
    assert_eq!((end, has_bare), (Progress::End(wire.len()), false));
    assert!(is_normal(&again) && (again.is_empty() || again.ends_with(b"\r\n")));
}

/// The pieces in which a message comes make no difference to what is stored of it, or to the reason
/// for which it is refused.
pub(super) fn message(input: &[u8]) {
    let [kind, size, wire @ ..] = input else { return };
    let bare_newline = POLICIES[usize::from(*kind) % 3];
    let limits = Limits { octets: 300, line: 60, bare_newline };
    let read = |size: usize| {
        let mut message = match kind & 0x80 {
            0 => Message::stuffed(limits),
            _ => Message::plain(limits),
        };
        let mut stored = Stored::default();
        for piece in wire.chunks(size) {
            match message.feed(piece, &mut stored) {
                Progress::More => {}
                Progress::End(_) => break,
                Progress::LoneDot => return None,
            }
        }
        message.finish(&mut stored);
        let fault = message.fault().map(|fault| format!("{fault:?}"));
        Some((fault.is_none().then_some(stored), fault))
    };
    assert_eq!(read(wire.len().max(1)), read(usize::from(*size) % 8 + 1));
}

/// What is stored of a message.
#[derive(Default, PartialEq, Eq, Debug)]
struct Stored {
    section: Option<(Vec<u8>, bool)>,
    text: Vec<u8>,
}

impl Store for Stored {
    fn header(&mut self, octets: &[u8], end: End) -> io::Result<()> {
        assert!(self.text.is_empty(), "the text came first");
        let (section, text) = octets.split_at(end.at);
        assert!(self.section.replace((section.to_vec(), end.is_fold)).is_none(), "it came twice");
        self.text(text)
    }

    fn text(&mut self, octets: &[u8]) -> io::Result<()> {
        assert!(self.section.is_some(), "the text came first");
        self.text.extend_from_slice(octets);
        Ok(())
    }

    fn forget(&mut self) {
        self.text.clear();
    }
}

fn received(policy: BareNewline, wire: &[u8], size: usize) -> (Vec<u8>, Progress, bool) {
    let mut dots = Unstuffer::new(policy);
    let mut message = vec![];
    let mut at = 0;
    for piece in wire.chunks(size) {
        match dots.feed(piece, &mut |octets| message.extend_from_slice(octets)) {
            Progress::More => at += piece.len(),
            Progress::End(used) => return (message, Progress::End(at + used), dots.has_bare()),
            Progress::LoneDot => return (vec![], Progress::LoneDot, true),
        }
    }
    dots.finish(&mut |octets| message.extend_from_slice(octets));
    (message, Progress::More, dots.has_bare())
}

/// Do CR and LF come together only?
fn is_normal(message: &[u8]) -> bool {
    let pairs = message.windows(2).filter(|two| two == b"\r\n").count();
    let count = |which| message.iter().filter(|octet| **octet == which).count();
    count(b'\r') == pairs && count(b'\n') == pairs
}
