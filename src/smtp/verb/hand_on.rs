//! A message that is complete: the content hooks are asked, and it is handed to the queue.

use std::collections::BTreeMap;

use crate::hook::{Call, Code, Decision, Hook, Outcome, Verdict};
use crate::log::Level;
use crate::smtp::dialogue::{Answered, Dialogue};
use crate::smtp::refusals::refusal;
use crate::smtp::syntax::reply::Reply;
use crate::smtp::trace;

/// Answers a message that was read to its end, or could not be taken, and ends the transaction.  In
/// LMTP there is an answer for each recipient (RFC 2033 4.2).
pub(super) fn conclude(dialogue: &mut Dialogue, received: Result<(), Reply>) {
    let recipients = match dialogue.is_lmtp {
        true => dialogue.session.transaction.accepted(),
        false => 1,
    };
    dialogue.message_begins();
    match received {
        Ok(()) => {
            // Whatever comes of it, the client has its answer.
            let is_accepted = deliver(dialogue, recipients).unwrap_or(false);
            dialogue.message_ends(is_accepted);
        }
        Err(refused) => {
            dialogue.reply_to_message(&[refused], recipients);
            dialogue.message_ends(false);
        }
    }
    // A client that was sent away has lost its transaction with the session.
    if !dialogue.is_closing() {
        dialogue.reset_transaction();
    }
}

/// Adds the trace fields, asks the content hooks, queues, and answers.  Was the message taken?
fn deliver(dialogue: &mut Dialogue, recipients: usize) -> Result<bool, Answered> {
    crate::sys::title::does("queueing");
    if let Err(failure) = trace::add_received(&mut dialogue.session) {
        dialogue.answer_for(Hook::DataPost, Err(failure), "", recipients)?;
    }
    dialogue.ask_for(Hook::DataPostHeaders, recipients)?;
    trace::authentication_results(&mut dialogue.session);
    dialogue.session.mark_quarantine();
    dialogue.ask_for(Hook::DataPost, recipients)?;
    dialogue.ask_for(Hook::QueuePre, recipients)?;
    dialogue.session.mark_quarantine();
    Ok(queue(dialogue, recipients))
}

fn queue(dialogue: &mut Dialogue, recipients: usize) -> bool {
    let Outcome { verdict, said } = dialogue.consult_for(Hook::Queue, &Call::Nothing, recipients);
    let own = said.map(|said| said.each).unwrap_or_default();
    let is = |code: Code| verdict.as_ref().is_ok_and(|verdict| verdict.code() == code);
    let is_accepted = |verdict: &Verdict| matches!(verdict.code(), Code::Ok | Code::Done);
    let has_answer = is(Code::Done);
    let was_taken = is(Code::Ok) || has_answer || own.values().any(is_accepted);
    if was_taken {
        dialogue.junk.got_message();
        dialogue.stream.waits.got_message();
    }
    if !has_answer {
        let decisions = match verdict {
            Ok(verdict) if dialogue.is_lmtp && !own.is_empty() => of_each(dialogue, verdict, &own),
            decision => vec![decision],
        };
        answer(dialogue, &decisions, recipients, was_taken);
    }
    if dialogue.session.has(Hook::QueuePost) {
        after_queue(dialogue);
    }
    was_taken
}

/// What is decided about each recipient: what the plugin said of it, or else of the message.
fn of_each(dialogue: &Dialogue, of_all: Verdict, own: &BTreeMap<usize, Verdict>) -> Vec<Decision> {
    let transaction = &dialogue.session.transaction;
    (0..transaction.accepted())
        .map(|command| {
            let mut verdicts =
                transaction.recipients_of(command).map(|place| own.get(&place).unwrap_or(&of_all));
            // Where a plugin has put several in its place, they all have to have it.
            let first = verdicts.next().unwrap_or(&of_all);
            let counts = match first.code() {
                Code::Ok => verdicts.find(|more| more.code() != Code::Ok).unwrap_or(first),
                _ => first,
            };
            counts.clone().decided()
        })
        .collect()
}

/// Answers with what comes of the decisions: one about all recipients, or one about each.
fn answer(dialogue: &mut Dialogue, decisions: &[Decision], recipients: usize, was_taken: bool) {
    let outcomes = decisions.iter().map(|decision| {
        refusal(Hook::Queue, decision, "").unwrap_or_else(|| {
            let verdict = decision.as_ref().map(|verdict| (verdict.code(), verdict.text()));
            let reply = match verdict.unwrap_or((Code::Declined, "")) {
                (Code::Ok, "") => Reply::new(250, "2.0.0", "Queued"),
                (Code::Ok, text) => Reply::new(250, "2.0.0", text.to_owned()),
                (_, "") => {
                    Reply::new(451, "4.3.0", "Queuing declined or disabled; try again later")
                }
                (_, text) => Reply::new(451, "4.3.0", text.to_owned()),
            };
            (reply, false)
        })
    });
    let (replies, closes): (Vec<Reply>, Vec<bool>) = outcomes.unzip();
    dialogue.reply_to_message(&replies, recipients);
    dialogue.message_ends(was_taken);
    if closes.contains(&true) {
        dialogue.disconnect();
    }
}

/// The client has its answer before anybody looks back.
fn after_queue(dialogue: &mut Dialogue) {
    dialogue.stream.flush();
    // A failure is in the log already.
    let Ok(verdict) = dialogue.session.run(Hook::QueuePost, &Call::Nothing) else { return };
    // A handler that declines and says nothing has nothing to do with this message.
    let is_silent = verdict.code() == Code::Declined && verdict.text().is_empty();
    if verdict.code() != Code::Ok && !is_silent {
        dialogue.log(Level::Error, format_args!("{} {}", verdict.code(), verdict.text()));
    }
}
