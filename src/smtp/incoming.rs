//! A message while it comes in, be it after DATA or in chunks: limits, line ends, the end of its
//! header section.

use std::io;

use crate::hook::{Call, Hook};
use crate::log::Level;
use crate::mail::Header;
use crate::settings::{BARE_NEWLINE, BareNewline, DATABYTES, MAX_LINE_LENGTH};
use crate::smtp::dots::{Dots, Progress};
use crate::smtp::reply::Reply;
use crate::smtp::session::Dialogue;
use crate::smtp::stream::End;
use crate::smtp::waits::State;
use crate::state::{Body, Transaction};

/// The largest header section in octets.
const LARGEST_HEADER: usize = 1024 * 1024;

/// A message on its way into the transaction.
pub(crate) struct Incoming {
    dots: Dots,
    policy: BareNewline,
    /// The command that brings it, and what is waited for then.
    verb: &'static str,
    state: State,
    kept: Kept,
    most_in_line: u64,
}

/// What a piece of input was.
pub(crate) struct Taken {
    /// How many octets of the client's were used.
    pub(crate) octets: u64,
    /// Was the dot that ends a message among them?
    pub(crate) is_end: bool,
}

impl Incoming {
    /// A message as DATA brings it: two dots at the start of a line are one, one dot is the end.
    pub(crate) fn stuffed(dialogue: &mut Dialogue) -> Incoming {
        Incoming::new(dialogue, "DATA", State::Data, Dots::new)
    }

    /// A message as BDAT brings it: octets that are counted.
    pub(crate) fn plain(dialogue: &mut Dialogue) -> Incoming {
        Incoming::new(dialogue, "BDAT", State::Bdat, Dots::plain)
    }

    fn new(
        dialogue: &mut Dialogue,
        verb: &'static str,
        state: State,
        dots: impl Fn(BareNewline) -> Dots,
    ) -> Incoming {
        let policy = dialogue.session.setting(BARE_NEWLINE);
        let kept = Kept {
            head: Some(vec![]),
            octets: 0,
            most: dialogue.session.setting(DATABYTES),
            error: None,
            header_too_large: false,
        };
        let most_in_line = dialogue.session.setting(MAX_LINE_LENGTH);
        Incoming { dots: dots(policy), policy, verb, state, kept, most_in_line }
    }

    /// Reads some octets, `most` or fewer, and keeps what is of the message.  None: the client is
    /// gone or sent away, and the session ends.
    pub(crate) fn take(&mut self, dialogue: &mut Dialogue, most: u64) -> Option<Taken> {
        let state = if self.kept.is_lost() { State::Refused } else { self.state };
        let piece = match dialogue.stream.octets(state) {
            Ok(piece) => piece,
            Err(end) => {
                went_away(dialogue, self.verb, end);
                return None;
            }
        };
        let piece = &piece[..piece.len().min(usize::try_from(most).unwrap_or(usize::MAX))];
        let had_head = self.kept.head.is_some();
        let transaction = &mut dialogue.session.transaction;
        let progress = self.dots.feed(piece, &mut |octets| self.kept.keep(octets, transaction));
        let used = match progress {
            Progress::End(used) => used,
            _ => piece.len(),
        };
        dialogue.stream.consume(used);
        if progress == Progress::LoneDot {
            dialogue.stream.forget_input();
            let text = "a line ended in a bare LF; see RFC 5321 2.3.8";
            dialogue.reply(&Reply::new(421, "4.5.2", text));
            dialogue.disconnect();
            return None;
        }
        if had_head && self.kept.head.is_none() {
            self.header_is_complete(dialogue)?;
        }
        Some(Taken { octets: used as u64, is_end: matches!(progress, Progress::End(_)) })
    }

    /// The message is here to its last octet.  None: the session ends.
    ///
    /// # Errors
    /// The reply to a message that cannot be taken.
    pub(crate) fn complete(&mut self, dialogue: &mut Dialogue) -> Option<Result<(), Reply>> {
        let transaction = &mut dialogue.session.transaction;
        let had_head = self.kept.head.is_some();
        self.dots.finish(&mut |octets| self.kept.keep(octets, transaction));
        self.kept.end_of_header(transaction);
        if had_head {
            self.header_is_complete(dialogue)?;
        }
        if self.kept.error.is_none() {
            self.kept.error = dialogue.session.transaction.body.finish().err();
        }
        Some(self.judge(dialogue))
    }

    /// Is there anything so far for which the message cannot be taken?
    ///
    /// # Errors
    /// The reply that says so.
    pub(crate) fn judge(&self, dialogue: &Dialogue) -> Result<(), Reply> {
        if let Some(error) = &self.kept.error {
            dialogue.log(Level::Error, format_args!("cannot keep the message: {error}"));
            return Err(Reply::new(451, "4.3.0", "Cannot keep the message, try again later"));
        }
        if self.kept.is_too_big() {
            let (octets, most) = (self.kept.octets, self.kept.most);
            dialogue.log(
                Level::Alert,
                format_args!("Message too big: size: {octets} (max size: {most})"),
            );
            return Err(Reply::new(552, "5.3.4", "Message too big!"));
        }
        if self.kept.header_too_large {
            return Err(Reply::new(552, "5.3.4", "The header section is too large"));
        }
        if self.policy == BareNewline::Reject && self.dots.has_bare() {
            let text = "The message has a bare CR or LF, see RFC 5321 2.3.8";
            return Err(Reply::new(550, "5.5.2", text));
        }
        if self.most_in_line > 0 && self.dots.longest_line() as u64 > self.most_in_line {
            return Err(Reply::new(552, "5.3.4", "A line of the message is too long"));
        }
        Ok(())
    }

    /// Asks the plugins about the header section.  None: one of them sent the client away.
    fn header_is_complete(&mut self, dialogue: &mut Dialogue) -> Option<()> {
        let verdict = dialogue.ask(Hook::DataHeadersEnd, &Call::Nothing);
        if verdict.is_failure() {
            self.kept.error = Some(io::Error::other("a data_headers_end handler failed"));
        } else {
            dialogue.settled(Hook::DataHeadersEnd, &verdict, "");
        }
        (!dialogue.is_closing()).then_some(())
    }
}

/// What is there of a message.
struct Kept {
    /// The header section so far; None once it is complete.
    head: Option<Vec<u8>>,
    octets: u64,
    most: u64,
    error: Option<io::Error>,
    header_too_large: bool,
}

impl Kept {
    /// Keeps a piece of the message, unless it is known that it cannot be taken.
    fn keep(&mut self, octets: &[u8], transaction: &mut Transaction) {
        let Transaction { header, body, .. } = transaction;
        self.octets += octets.len() as u64;
        if self.is_lost() {
            return body.clear();
        }
        self.look_for_text(octets, header, body);
        if let Err(error) = body.write(octets) {
            self.error = Some(error);
        }
    }

    /// Looks for the empty line between header and text.
    fn look_for_text(&mut self, octets: &[u8], header: &mut Header, body: &mut Body) {
        let Some(head) = &mut self.head else { return };
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(octets);
        if let Some(end) = end_of_header(head, from) {
            *header = Header::parse(&head[..end]);
            body.set_start(end as u64);
            self.head = None;
        } else if head.len() > LARGEST_HEADER {
            self.header_too_large = true;
        }
    }

    /// The message ended before its header section did: all of it is header.
    fn end_of_header(&mut self, transaction: &mut Transaction) {
        if let Some(head) = self.head.take() {
            transaction.header = Header::parse(&head);
            transaction.body.set_start(head.len() as u64);
        }
    }

    fn is_lost(&self) -> bool {
        self.is_too_big() || self.error.is_some() || self.header_too_large
    }

    fn is_too_big(&self) -> bool {
        self.most > 0 && self.octets > self.most
    }
}

/// Reads octets that belong to no message.  None: the session ends.
pub(crate) fn skip(dialogue: &mut Dialogue, verb: &str, mut octets: u64) -> Option<()> {
    while octets > 0 {
        match dialogue.stream.octets(State::Refused) {
            Ok(piece) => {
                let used = piece.len().min(usize::try_from(octets).unwrap_or(usize::MAX));
                dialogue.stream.consume(used);
                octets -= used as u64;
            }
            Err(end) => {
                went_away(dialogue, verb, end);
                return None;
            }
        }
    }
    Some(())
}

fn went_away(dialogue: &mut Dialogue, verb: &str, end: End) {
    if end == End::Closed {
        dialogue.log(Level::Info, format_args!("the client went away during {verb}"));
    }
    dialogue.give_up(end);
}

/// Where the empty line that ends a header section begins; `from` is where looking for it makes
/// sense.  Lines may end in a bare LF where that is accepted.
fn end_of_header(head: &[u8], from: usize) -> Option<usize> {
    if head.starts_with(b"\r\n") || head.starts_with(b"\n") {
        return Some(0);
    }
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', &head[at..]) {
        let next = at + found + 1;
        if head[next..].starts_with(b"\r\n") || head[next..].starts_with(b"\n") {
            return Some(next);
        }
        at = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_line_is_found_in_whatever_pieces_it_comes() {
        let message = b"Subject: x\r\nTo: y\r\n\r\nbody\r\n\r\n";
        for size in 1..message.len() {
            let mut head = vec![];
            let found = message.chunks(size).find_map(|piece| {
                let from = head.len().saturating_sub(3);
                head.extend_from_slice(piece);
                end_of_header(&head, from)
            });
            assert_eq!(found, Some(19), "{size}");
        }
    }

    #[test]
    fn odd_messages_have_a_header_section_too() {
        assert_eq!(end_of_header(b"\r\nbody\r\n", 0), Some(0));
        assert_eq!(end_of_header(b"a: b\n\nbody", 0), Some(5));
        assert_eq!(end_of_header(b"a: b\r\n", 0), None);
    }
}
