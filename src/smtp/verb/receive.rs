//! A message while it comes in, be it after DATA or in chunks: limits, line ends, the end of its
//! header section.

use std::io;

use crate::hook::{Call, Hook};
use crate::log::Level;
use crate::mail::Header;
use crate::settings::{BARE_NEWLINE, BareNewline, DATABYTES, MAX_LINE_LENGTH};
use crate::smtp::dialogue::Dialogue;
use crate::smtp::stream;
use crate::smtp::syntax::head::{End, Head};
use crate::smtp::syntax::reply::Reply;
use crate::smtp::syntax::transparency::{Dots, Progress};
use crate::smtp::waits::State;
use crate::state::Transaction;

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
            head: Some(Head::default()),
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
    head: Option<Head>,
    octets: u64,
    most: u64,
    error: Option<io::Error>,
    header_too_large: bool,
}

impl Kept {
    /// Keeps a piece of the message, unless it is known that it cannot be taken.
    fn keep(&mut self, octets: &[u8], transaction: &mut Transaction) {
        self.octets += octets.len() as u64;
        if self.is_lost() {
            return transaction.body.clear();
        }
        let kept = match self.head.take() {
            None => transaction.body.write(octets),
            Some(head) => self.look_for_text(head, octets, transaction),
        };
        self.error = kept.err();
    }

    /// Looks for the end of the header section, up to which nothing is written.
    fn look_for_text(
        &mut self,
        mut head: Head,
        octets: &[u8],
        transaction: &mut Transaction,
    ) -> io::Result<()> {
        let mut found = head.add(octets);
        if found.is_none() && head.octets().len() > LARGEST_HEADER {
            found = Some(head.finish()).filter(|end| end.at < head.octets().len());
            self.header_too_large = found.is_none();
        }
        match found {
            Some(end) => write_head(&head, end, transaction),
            None => {
                self.head = Some(head);
                Ok(())
            }
        }
    }

    /// The message has ended, maybe before its header section did.
    fn end_of_header(&mut self, transaction: &mut Transaction) {
        if let Some(mut head) = self.head.take().filter(|_| !self.is_lost()) {
            let end = head.finish();
            self.error = write_head(&head, end, transaction).err();
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

fn went_away(dialogue: &mut Dialogue, verb: &str, end: stream::End) {
    if end == stream::End::Closed {
        dialogue.log(Level::Info, format_args!("the client went away during {verb}"));
    }
    dialogue.give_up(end);
}

/// Writes a header section that is complete, and what has come of the text.
fn write_head(head: &Head, end: End, transaction: &mut Transaction) -> io::Result<()> {
    let (section, text) = head.octets().split_at(end.at);
    let Transaction { header, body, .. } = transaction;
    *header = Header::parse(section);
    header.name_mailbox_lines();
    body.write(section)?;
    body.set_start(end.at as u64);
    if end.is_fold {
        body.write(b"\r\n")?;
    }
    body.write(text)
}
