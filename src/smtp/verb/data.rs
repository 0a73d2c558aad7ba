//! DATA (RFC 5321 4.1.1.4): receives the message, asks the content hooks, hands it to the queue.

use std::io;

use crate::hook::{Call, Code, Hook, Verdict};
use crate::log::Level;
use crate::mail::Header;
use crate::smtp::dots::{BareNewline, Dots, Progress};
use crate::smtp::reply::Reply;
use crate::smtp::session::Dialogue;
use crate::smtp::stream::End;
use crate::smtp::trace;

/// The largest header section in octets.
const LARGEST_HEADER: usize = 1024 * 1024;

/// The longest line in octets where `config/max_line_length` does not say.
const LONGEST_LINE: u64 = 1024 * 1024;

pub(crate) fn data(dialogue: &mut Dialogue, _argument: &str) {
    if dialogue.session.transaction.sender().is_none() {
        return dialogue.say(503, "5.5.1", "MAIL first");
    }
    if dialogue.session.transaction.recipients().is_empty() {
        return dialogue.say(503, "5.5.1", "RCPT first");
    }
    let verdict = dialogue.ask(Hook::Data, &Call::Nothing);
    if dialogue.settled(Hook::Data, &verdict, "") {
        return dialogue.session.reset_transaction();
    }
    dialogue.say(354, "", "go ahead");
    let received = receive(dialogue);
    if dialogue.is_closing() {
        return;
    }
    match received {
        Ok(()) => deliver(dialogue),
        Err(refused) => dialogue.reply(&refused),
    }
    dialogue.session.reset_transaction();
}

/// A message while it comes in.
struct Incoming {
    /// The header section so far; None once it is complete.
    head: Option<Vec<u8>>,
    octets: u64,
    most: u64,
    error: Option<io::Error>,
    header_too_large: bool,
}

/// Reads the message into the transaction.
///
/// # Errors
/// The reply to a message that was read to its end but cannot be taken.  When the client is gone
/// the dialogue is closing instead.
fn receive(dialogue: &mut Dialogue) -> Result<(), Reply> {
    let policy = dialogue.session.config_value("bare_newline");
    let policy = policy.map_or(Ok(BareNewline::default()), |word| word.parse());
    let policy = policy.unwrap_or_else(|why| {
        dialogue.log(Level::Error, why);
        BareNewline::default()
    });
    let mut incoming = Incoming {
        head: Some(vec![]),
        octets: 0,
        most: dialogue.session.config_number("databytes", 0),
        error: None,
        header_too_large: false,
    };
    let mut dots = Dots::new(policy);
    loop {
        let piece = match dialogue.stream.octets(dialogue.patience.data) {
            Ok(piece) => piece,
            Err(end) => {
                if end == End::Closed {
                    dialogue.session.log(Level::Info, "the client went away during DATA");
                }
                dialogue.give_up(end);
                return Ok(());
            }
        };
        let transaction = &mut dialogue.session.transaction;
        let before = incoming.head.is_some();
        let progress = dots.feed(piece, &mut |octets| {
            incoming.keep(octets, &mut transaction.body, &mut transaction.header);
        });
        let used = match progress {
            Progress::End(used) => used,
            _ => piece.len(),
        };
        dialogue.stream.consume(used);
        let done = matches!(progress, Progress::End(_));
        if progress == Progress::LoneDot {
            dialogue.stream.forget_input();
            let text = "a line ended in a bare LF; see RFC 5321 2.3.8";
            dialogue.reply(&Reply::new(421, "4.5.2", text));
            dialogue.disconnect();
            return Ok(());
        }
        if done {
            incoming.end_of_header(&mut dialogue.session.transaction);
        }
        if before && incoming.head.is_none() {
            let verdict = dialogue.ask(Hook::DataHeadersEnd, &Call::Nothing);
            if verdict.is_failure() {
                incoming.error = Some(io::Error::other("a data_headers_end handler failed"));
            } else if dialogue.settled(Hook::DataHeadersEnd, &verdict, "") && dialogue.is_closing()
            {
                return Ok(());
            }
        }
        if done {
            return incoming.judge(dialogue, &dots, policy);
        }
    }
}

impl Incoming {
    /// Keeps a piece of the message, unless it is known that it cannot be taken.
    fn keep(&mut self, octets: &[u8], body: &mut crate::state::Body, header: &mut Header) {
        self.octets += octets.len() as u64;
        if self.is_lost() {
            return body.clear();
        }
        if let Some(head) = &mut self.head {
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
        if let Err(error) = body.write(octets) {
            self.error = Some(error);
        }
    }

    /// The message ended before its header section did: all of it is header.
    fn end_of_header(&mut self, transaction: &mut crate::state::Transaction) {
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

    /// The whole message is here: may it go on?
    fn judge(
        &mut self,
        dialogue: &mut Dialogue,
        dots: &Dots,
        policy: BareNewline,
    ) -> Result<(), Reply> {
        if self.error.is_none() {
            self.error = dialogue.session.transaction.body.finish().err();
        }
        if let Some(error) = &self.error {
            dialogue.log(Level::Error, format_args!("cannot keep the message: {error}"));
            return Err(Reply::new(451, "4.3.0", "Cannot keep the message, try again later"));
        }
        if self.is_too_big() {
            let (octets, most) = (self.octets, self.most);
            dialogue.log(
                Level::Alert,
                format_args!("Message too big: size: {octets} (max size: {most})"),
            );
            return Err(Reply::new(552, "5.3.4", "Message too big!"));
        }
        if self.header_too_large {
            return Err(Reply::new(552, "5.3.4", "The header section is too large"));
        }
        if policy == BareNewline::Reject && dots.has_bare() {
            let text = "The message has a bare CR or LF, see RFC 5321 2.3.8";
            return Err(Reply::new(550, "5.5.2", text));
        }
        let longest = dialogue.session.config_number("max_line_length", LONGEST_LINE);
        if longest > 0 && dots.longest_line() as u64 > longest {
            return Err(Reply::new(552, "5.3.4", "A line of the message is too long"));
        }
        Ok(())
    }
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

/// Adds the trace fields, asks the content hooks, queues, and answers.
fn deliver(dialogue: &mut Dialogue) {
    crate::sys::title::set(format_args!("{} queueing", dialogue.session.connection.remote_ip));
    if let Err(failure) = trace::add_received(&mut dialogue.session) {
        dialogue.settled(Hook::DataPost, &failure, "");
        return;
    }
    if !pass(dialogue, Hook::DataPostHeaders) {
        return;
    }
    trace::authentication_results(&mut dialogue.session);
    if pass(dialogue, Hook::DataPost) && pass(dialogue, Hook::QueuePre) {
        queue(dialogue);
    }
}

/// Asks a hook about the message; false when it has been answered.
fn pass(dialogue: &mut Dialogue, hook: Hook) -> bool {
    let verdict = dialogue.ask(hook, &Call::Nothing);
    !dialogue.settled(hook, &verdict, "")
}

fn queue(dialogue: &mut Dialogue) {
    let verdict = dialogue.ask(Hook::Queue, &Call::Nothing);
    if !dialogue.settled(Hook::Queue, &verdict, "") {
        match (verdict.code(), verdict.text()) {
            (Code::Ok, "") => dialogue.say(250, "2.0.0", "Queued"),
            (Code::Ok, text) => dialogue.say(250, "2.0.0", text),
            (_, "") => {
                dialogue.say(451, "4.3.0", "Queuing declined or disabled; try again later");
            }
            (_, text) => dialogue.say(451, "4.3.0", text),
        }
    }
    if dialogue.session.plugins().has(Hook::QueuePost) {
        after_queue(dialogue);
    }
}

/// The client has its answer before anybody looks back.
fn after_queue(dialogue: &mut Dialogue) {
    dialogue.stream.flush();
    let verdict: Verdict = dialogue.session.run(Hook::QueuePost, &Call::Nothing);
    if !matches!(verdict.code(), Code::Ok | Code::Declined) || !verdict.text().is_empty() {
        dialogue.log(Level::Error, format_args!("{} {}", verdict.code(), verdict.text()));
    }
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
