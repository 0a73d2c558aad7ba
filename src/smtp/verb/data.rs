//! DATA (RFC 5321 4.1.1.4): receives the message; and what happens to one that is complete, asking
//! the content hooks and handing it to the queue.

use crate::hook::{Call, Code, Hook};
use crate::log::Level;
use crate::smtp::incoming::Incoming;
use crate::smtp::reply::Reply;
use crate::smtp::session::Dialogue;
use crate::smtp::trace;

pub(crate) fn data(dialogue: &mut Dialogue, _argument: &str) {
    if dialogue.chunks.is_some() {
        return dialogue.say(503, "5.5.1", "DATA after BDAT");
    }
    if dialogue.session.transaction.sender().is_none() {
        return dialogue.say(503, "5.5.1", "MAIL first");
    }
    if dialogue.session.transaction.recipients().is_empty() {
        return dialogue.say(503, "5.5.1", "RCPT first");
    }
    let verdict = dialogue.ask(Hook::Data, &Call::Nothing);
    if dialogue.settled(Hook::Data, &verdict, "") {
        return dialogue.reset_transaction();
    }
    dialogue.say(354, "", "go ahead");
    let received = receive(dialogue);
    conclude(dialogue, received);
}

fn receive(dialogue: &mut Dialogue) -> Option<Result<(), Reply>> {
    let mut incoming = Incoming::stuffed(dialogue);
    while !incoming.take(dialogue, u64::MAX)?.is_end {}
    incoming.complete(dialogue)
}

/// Answers a message that was read to its end, or could not be taken, and ends the transaction.
/// None: the session ends.
pub(super) fn conclude(dialogue: &mut Dialogue, received: Option<Result<(), Reply>>) {
    match received {
        None => return,
        Some(Ok(())) => deliver(dialogue),
        Some(Err(refused)) => dialogue.reply(&refused),
    }
    dialogue.reset_transaction();
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
    let verdict = dialogue.session.run(Hook::QueuePost, &Call::Nothing);
    if !matches!(verdict.code(), Code::Ok | Code::Declined) || !verdict.text().is_empty() {
        dialogue.log(Level::Error, format_args!("{} {}", verdict.code(), verdict.text()));
    }
}
