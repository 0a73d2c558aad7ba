//! A message that is received, after DATA or in chunks.

use std::io;

use crate::hook::{Call, Hook};
use crate::log::Level;
use crate::mail::Header;
use crate::settings::{BARE_NEWLINE, DATABYTES, MAX_LINE_LENGTH};
use crate::smtp::dialogue::{Answered, Dialogue};
use crate::smtp::stream::End;
use crate::smtp::syntax::message::{End as HeaderEnd, Fault, Limits, Message, Store};
use crate::smtp::syntax::reply::Reply;
use crate::smtp::syntax::transparency::Progress;
use crate::smtp::waits::State;
use crate::state::Transaction;

/// The command that brings a message, and what is waited for then.
pub(super) struct Source {
    verb: &'static str,
    state: State,
}

pub(super) const DATA: Source = Source { verb: "DATA", state: State::Data };
pub(super) const BDAT: Source = Source { verb: "BDAT", state: State::Bdat };

/// What a piece of input was.
pub(super) struct Taken {
    /// How many octets of the client's were used.
    pub(super) octets: u64,
    /// Was the dot that ends a message among them?
    pub(super) is_end: bool,
}

impl Store for Transaction {
    fn header(&mut self, octets: &[u8], end: HeaderEnd) -> io::Result<()> {
        let Transaction { header, body, .. } = self;
        let (section, text) = octets.split_at(end.at);
        *header = Header::parse(section);
        header.name_mailbox_lines();
        body.set_start(section.len() as u64);
        if !end.is_fold {
            return body.write(octets);
        }
        body.write(section)?;
        body.write(b"\r\n")?;
        body.write(text)
    }

    fn text(&mut self, octets: &[u8]) -> io::Result<()> {
        self.body.write(octets)
    }

    fn forget(&mut self) {
        self.body.clear();
    }
}

/// May a message come?  In LMTP only for recipients that the client will be answered for.
pub(super) fn has_recipients(dialogue: &Dialogue) -> bool {
    let transaction = &dialogue.session.transaction;
    !transaction.recipients().is_empty() && (!dialogue.is_lmtp || transaction.accepted() > 0)
}

/// What a message must not exceed.
pub(super) fn limits(dialogue: &mut Dialogue) -> Limits {
    Limits {
        octets: dialogue.session.setting(DATABYTES),
        line: dialogue.session.setting(MAX_LINE_LENGTH),
        bare_newline: dialogue.session.setting(BARE_NEWLINE),
    }
}

/// Reads some octets, `most` or fewer, and keeps what is of the message.
///
/// # Errors
/// The client is gone or sent away, and the session ends.
pub(super) fn take(
    dialogue: &mut Dialogue,
    message: &mut Message,
    source: &Source,
    most: u64,
) -> Result<Taken, Answered> {
    let state = if message.is_lost() { State::Refused } else { source.state };
    let piece = match dialogue.stream.octets(state) {
        Ok(piece) => piece,
        Err(end) => return Err(went_away(dialogue, source, end)),
    };
    let piece = &piece[..piece.len().min(usize::try_from(most).unwrap_or(usize::MAX))];
    let had_header = message.has_header();
    let progress = message.feed(piece, &mut dialogue.session.transaction);
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
        return Err(Answered);
    }
    if !had_header && message.has_header() {
        header_is_complete(dialogue, message)?;
    }
    Ok(Taken { octets: used as u64, is_end: matches!(progress, Progress::End(_)) })
}

/// The message is here to its last octet.  The inner error is the reply to a message that cannot be
/// taken.
///
/// # Errors
/// The session ends.
pub(super) fn complete(
    dialogue: &mut Dialogue,
    message: &mut Message,
) -> Result<Result<(), Reply>, Answered> {
    let had_header = message.has_header();
    message.finish(&mut dialogue.session.transaction);
    if !had_header {
        header_is_complete(dialogue, message)?;
    }
    Ok(keep(dialogue, message))
}

/// Keeps what has come so far: of a message that has a file, the last octets are written to it.
///
/// # Errors
/// The message cannot be taken; this reply says why.
pub(super) fn keep(dialogue: &mut Dialogue, message: &mut Message) -> Result<(), Reply> {
    if !message.is_lost()
        && let Err(error) = dialogue.session.transaction.body.finish()
    {
        message.fail(error);
    }
    let Some(fault) = message.fault() else { return Ok(()) };
    Err(match fault {
        Fault::Store(error) => {
            dialogue.log(Level::Error, format_args!("cannot keep the message: {error}"));
            Reply::new(451, "4.3.0", "Cannot keep the message, try again later")
        }
        Fault::TooBig(octets, most) => {
            let text = format!("Message too big: size: {octets} (max size: {most})");
            dialogue.log(Level::Alert, text);
            Reply::new(552, "5.3.4", "Message too big!")
        }
        Fault::HeaderTooLarge => Reply::new(552, "5.3.4", "The header section is too large"),
        Fault::BareNewline => {
            Reply::new(550, "5.5.2", "The message has a bare CR or LF, see RFC 5321 2.3.8")
        }
        Fault::LongLine => Reply::new(552, "5.3.4", "A line of the message is too long"),
    })
}

/// Reads octets that belong to no message.
///
/// # Errors
/// The session ends.
pub(super) fn skip(
    dialogue: &mut Dialogue,
    source: &Source,
    mut octets: u64,
) -> Result<(), Answered> {
    while octets > 0 {
        match dialogue.stream.octets(State::Refused) {
            Ok(piece) => {
                let used = piece.len().min(usize::try_from(octets).unwrap_or(usize::MAX));
                dialogue.stream.consume(used);
                octets -= used as u64;
            }
            Err(end) => return Err(went_away(dialogue, source, end)),
        }
    }
    Ok(())
}

/// Asks the plugins about the header section.  An error: one of them sent the client away.
fn header_is_complete(dialogue: &mut Dialogue, message: &mut Message) -> Result<(), Answered> {
    match dialogue.consult(Hook::DataHeadersEnd, &Call::Nothing) {
        Err(_) => message.fail(io::Error::other("a data_headers_end handler failed")),
        decision => drop(dialogue.answer(Hook::DataHeadersEnd, decision, "")),
    }
    if dialogue.is_closing() { Err(Answered) } else { Ok(()) }
}

fn went_away(dialogue: &mut Dialogue, source: &Source, end: End) -> Answered {
    if end == End::Closed {
        let verb = source.verb;
        dialogue.log(Level::Info, format_args!("the client went away during {verb}"));
    }
    dialogue.give_up(end)
}
