//! BDAT (RFC 3030): receives the message in chunks whose octets are counted.
//!
//! BINARYMIME is not offered: a message consists of lines, whichever way it comes.

use std::slice::from_ref;

use crate::hook::{Call, Code, Hook};
use crate::smtp::dialogue::{Answer, Answered, Chunks, Dialogue};
use crate::smtp::refusals::refusal;
use crate::smtp::syntax::bdat::parse;
use crate::smtp::syntax::message::Message;
use crate::smtp::syntax::reply::Reply;
use crate::smtp::verb::hand_on;
use crate::smtp::verb::receive::{self, has_recipients, limits};

/// Chunks of fewer octets count as commands that bring no mail on: the log line of such a chunk is
/// longer than the chunk.
const SMALLEST: u64 = 100;

pub(crate) fn bdat(dialogue: &mut Dialogue, argument: &str) -> Answer {
    let Some((octets, is_last)) = parse(argument) else {
        // Without a length nobody can tell whether octets of a message or commands follow.
        dialogue.reply(&Reply::new(501, "5.5.4", "Syntax error, use BDAT octets [LAST]"));
        dialogue.disconnect();
        return Err(Answered);
    };
    let mut message = match next(dialogue) {
        Next::Coming(message) => message,
        Next::Refused { reply, recipients, close } => {
            receive::skip(dialogue, &receive::BDAT, octets)?;
            let times = if is_last && dialogue.is_lmtp { recipients.max(1) } else { 1 };
            reply.iter().for_each(|reply| dialogue.reply_to_message(from_ref(reply), times));
            if close {
                dialogue.disconnect();
            } else if is_last {
                dialogue.reset_transaction();
            }
            return Err(Answered);
        }
    };
    let mut left = octets;
    while left > 0 {
        left -= receive::take(dialogue, &mut message, &receive::BDAT, left)?.octets;
    }
    if is_last {
        let received = receive::complete(dialogue, &mut message)?;
        hand_on::conclude(dialogue, received);
        return Err(Answered);
    }
    // RFC 3030 2: 250 says that the chunk is kept.
    if let Err(reply) = receive::keep(dialogue, &mut message) {
        dialogue.reply(&reply);
        refuse(dialogue, reply);
        return Err(Answered);
    }
    dialogue.chunks = Some(Chunks::Coming(message));
    if octets >= SMALLEST {
        dialogue.junk.got_on();
    }
    Ok(Reply::new(250, "2.0.0", format!("{octets} octets received")))
}

/// What is to be done with a chunk.
enum Next {
    Coming(Box<Message>),
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
        Some(Chunks::Coming(message)) => return Next::Coming(message),
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
    dialogue.session.let_client_send(true);
    let decision = dialogue.consult(Hook::Data, &Call::Nothing);
    dialogue.session.let_client_send(false);
    match refusal(Hook::Data, &decision, "") {
        Some((reply, close)) => {
            refuse(dialogue, reply.clone());
            Next::Refused { reply: Some(reply), recipients, close }
        }
        None if decision.is_ok_and(|verdict| verdict.code() == Code::Done) => {
            refuse(dialogue, Reply::new(554, "5.7.1", "Message denied"));
            Next::Refused { reply: None, recipients, close: false }
        }
        None => Next::Coming(Box::new(Message::plain(limits(dialogue)))),
    }
}

/// Ends the transaction; chunks that were sent ahead get this answer.
fn refuse(dialogue: &mut Dialogue, reply: Reply) {
    let recipients = dialogue.session.transaction.accepted();
    dialogue.reset_transaction();
    dialogue.chunks = Some(Chunks::Refused(reply, recipients));
}
