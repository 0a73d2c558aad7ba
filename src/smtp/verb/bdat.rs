//! BDAT (RFC 3030): receives the message in chunks whose octets are counted.
//!
//! BINARYMIME is not offered: a message consists of lines, whichever way it comes.

use crate::hook::{Call, Code, Hook};
use crate::smtp::dialogue::Dialogue;
use crate::smtp::syntax::reply::{Reply, refusal};
use crate::smtp::verb::data::{conclude, has_recipients};
use crate::smtp::verb::receive::{Incoming, skip};

/// The longest size of a chunk in digits: what fits into 64 bits.
const DIGITS: usize = 19;

/// A chunk of fewer octets brings a message hardly on: what is logged of it is longer.
const SMALLEST: u64 = 100;

/// A message that comes in chunks.
pub(crate) enum Chunks {
    /// It is on its way.
    Coming(Box<Incoming>),
    /// It cannot be taken; this is the answer to the rest of its chunks, of which the last one has
    /// as many in LMTP as there were recipients.
    Refused(Reply, usize),
}

pub(crate) fn bdat(dialogue: &mut Dialogue, argument: &str) {
    let Some((octets, is_last)) = parse(argument) else {
        // What follows is a message or are commands, and nobody can tell which.
        dialogue.say(501, "5.5.4", "Syntax error, use BDAT octets [LAST]");
        return dialogue.disconnect();
    };
    let mut incoming = match next(dialogue) {
        Next::Coming(incoming) => incoming,
        Next::Refused { reply, recipients, close } => {
            if skip(dialogue, "BDAT", octets).is_none() {
                return;
            }
            if is_last && dialogue.is_lmtp {
                dialogue.copies = recipients.max(1);
            }
            reply.iter().for_each(|reply| dialogue.reply(reply));
            dialogue.copies = 1;
            if close {
                dialogue.disconnect();
            } else if is_last {
                dialogue.reset_transaction();
            }
            return;
        }
    };
    let mut left = octets;
    while left > 0 {
        match incoming.take(dialogue, left) {
            Some(taken) => left -= taken.octets,
            None => return,
        }
    }
    if is_last {
        let received = incoming.complete(dialogue);
        return conclude(dialogue, received);
    }
    match incoming.judge(dialogue) {
        Ok(()) => {
            dialogue.chunks = Some(Chunks::Coming(incoming));
            if octets >= SMALLEST {
                dialogue.junk.got_on();
            }
            dialogue.say(250, "2.0.0", &format!("{octets} octets received"));
        }
        Err(reply) => {
            dialogue.reply(&reply);
            refuse(dialogue, reply);
        }
    }
}

/// What is to be done with a chunk.
enum Next {
    Coming(Box<Incoming>),
    /// No reply: a plugin has given one.
    Refused {
        reply: Option<Reply>,
        /// How many recipients there were.
        recipients: usize,
        close: bool,
    },
}

/// May a chunk come?  The first one is for the plugins to decide, as DATA is.
fn next(dialogue: &mut Dialogue) -> Next {
    let refused =
        |reply, recipients| Next::Refused { reply: Some(reply), recipients, close: false };
    let recipients = dialogue.session.transaction.accepted();
    match dialogue.chunks.take() {
        Some(Chunks::Coming(incoming)) => return Next::Coming(incoming),
        Some(Chunks::Refused(reply, recipients)) => {
            dialogue.chunks = Some(Chunks::Refused(reply.clone(), recipients));
            return refused(reply, recipients);
        }
        None => {}
    }
    if dialogue.session.transaction.sender().is_none() {
        return refused(Reply::new(503, "5.5.1", "MAIL first"), 0);
    }
    if !has_recipients(dialogue) {
        return refused(Reply::new(503, "5.5.1", "RCPT first"), 0);
    }
    dialogue.session.give_the_word(true);
    let verdict = dialogue.ask(Hook::Data, &Call::Nothing);
    dialogue.session.give_the_word(false);
    match refusal(Hook::Data, &verdict, "") {
        Some((reply, close)) => {
            refuse(dialogue, reply.clone());
            Next::Refused { reply: Some(reply), recipients, close }
        }
        None if verdict.code() == Code::Done => {
            refuse(dialogue, Reply::new(554, "5.7.1", "Message denied"));
            Next::Refused { reply: None, recipients, close: false }
        }
        None => Next::Coming(Box::new(Incoming::plain(dialogue))),
    }
}

/// Ends the transaction; chunks that were sent ahead get this answer.
fn refuse(dialogue: &mut Dialogue, reply: Reply) {
    let recipients = dialogue.session.transaction.accepted();
    dialogue.reset_transaction();
    dialogue.chunks = Some(Chunks::Refused(reply, recipients));
}

/// `octets [LAST]`.
fn parse(argument: &str) -> Option<(u64, bool)> {
    let mut words = argument.split_ascii_whitespace();
    let size = words.next()?;
    let is_last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    let is_number = size.len() <= DIGITS && size.bytes().all(|b| b.is_ascii_digit());
    (is_number && words.next().is_none()).then(|| Some((size.parse().ok()?, is_last)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_last_are_read() {
        for (argument, found) in [
            ("0", Some((0, false))),
            ("86 LAST", Some((86, true))),
            ("0086  last", Some((86, true))),
            ("9999999999999999999", Some((9_999_999_999_999_999_999, false))),
            ("", None),
            ("LAST", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("0x10", None),
            ("10 LAST LAST", None),
            ("10 FIRST", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse(argument), found, "{argument}");
        }
    }
}
