//! DATA (RFC 5321 4.1.1.4): receives the message; and what happens to one that is complete, asking
//! the content hooks and handing it to the queue.

use std::collections::BTreeMap;

use crate::hook::{Call, Code, Hook, Verdict};
use crate::log::Level;
use crate::smtp::dialogue::Dialogue;
use crate::smtp::syntax::reply::{Reply, refusal};
use crate::smtp::trace;
use crate::smtp::verb::receive::Incoming;

pub(crate) fn data(dialogue: &mut Dialogue, _argument: &str) {
    if dialogue.chunks.is_some() {
        return dialogue.say(503, "5.5.1", "DATA after BDAT");
    }
    if dialogue.session.transaction.sender().is_none() {
        return dialogue.say(503, "5.5.1", "MAIL first");
    }
    if !has_recipients(dialogue) {
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

/// May a message come?  In LMTP only for recipients that the client will be answered for.
pub(super) fn has_recipients(dialogue: &Dialogue) -> bool {
    let transaction = &dialogue.session.transaction;
    !transaction.recipients().is_empty() && (!dialogue.is_lmtp || transaction.accepted() > 0)
}

fn receive(dialogue: &mut Dialogue) -> Option<Result<(), Reply>> {
    let mut incoming = Incoming::stuffed(dialogue);
    while !incoming.take(dialogue, u64::MAX)?.is_end {}
    incoming.complete(dialogue)
}

/// Answers a message that was read to its end, or could not be taken, and ends the transaction.  In
/// LMTP there is an answer for each recipient (RFC 2033 4.2).  None: the session ends.
pub(super) fn conclude(dialogue: &mut Dialogue, received: Option<Result<(), Reply>>) {
    if received.is_some() && dialogue.is_lmtp {
        dialogue.copies = dialogue.session.transaction.accepted();
    }
    match received {
        None => return,
        Some(Ok(())) => deliver(dialogue),
        Some(Err(refused)) => dialogue.reply(&refused),
    }
    dialogue.copies = 1;
    // A client that was sent away has lost its transaction with the session.
    if !dialogue.is_closing() {
        dialogue.reset_transaction();
    }
}

/// Adds the trace fields, asks the content hooks, queues, and answers.
fn deliver(dialogue: &mut Dialogue) {
    crate::sys::title::does("queueing");
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
    let own = dialogue.session.take_recipient_verdicts();
    let is_accepted = |verdict: &Verdict| matches!(verdict.code(), Code::Ok | Code::Done);
    if is_accepted(&verdict) || own.values().any(is_accepted) {
        dialogue.junk.got_message();
        dialogue.stream.waits.got_message();
    }
    if verdict.code() != Code::Done {
        match dialogue.is_lmtp && !own.is_empty() {
            true => answer_each(dialogue, &verdict, &own),
            false => answer(dialogue, &[&verdict]),
        }
    }
    if dialogue.session.plugins().has(Hook::QueuePost) {
        after_queue(dialogue);
    }
}

/// Answers for each recipient: with what the plugin said of it, or else of the message.
fn answer_each(dialogue: &mut Dialogue, of_all: &Verdict, own: &BTreeMap<usize, Verdict>) {
    dialogue.copies = 1;
    let transaction = &dialogue.session.transaction;
    let verdicts: Vec<&Verdict> = (0..transaction.accepted())
        .map(|command| {
            let mut verdicts =
                transaction.recipients_of(command).map(|place| own.get(&place).unwrap_or(of_all));
            // Where a plugin has put several in its place, they all have to have it.
            let first = verdicts.next().unwrap_or(of_all);
            match first.code() {
                Code::Ok => verdicts.find(|more| more.code() != Code::Ok).unwrap_or(first),
                _ => first,
            }
        })
        .collect();
    answer(dialogue, &verdicts);
}

fn answer(dialogue: &mut Dialogue, verdicts: &[&Verdict]) {
    let mut ends = false;
    for verdict in verdicts {
        let (reply, close) = refusal(Hook::Queue, verdict, "").unwrap_or_else(|| {
            let reply = match (verdict.code(), verdict.text()) {
                (Code::Ok, "") => Reply::new(250, "2.0.0", "Queued"),
                (Code::Ok, text) => Reply::new(250, "2.0.0", text),
                (_, "") => {
                    Reply::new(451, "4.3.0", "Queuing declined or disabled; try again later")
                }
                (_, text) => Reply::new(451, "4.3.0", text),
            };
            (reply, false)
        });
        dialogue.reply(&reply);
        ends |= close;
    }
    if ends {
        dialogue.disconnect();
    }
}

/// The client has its answer before anybody looks back.
fn after_queue(dialogue: &mut Dialogue) {
    dialogue.stream.flush();
    let verdict = dialogue.session.run(Hook::QueuePost, &Call::Nothing);
    // A handler that declines and says nothing has nothing to do with this message.
    let is_silent = verdict.code() == Code::Declined && verdict.text().is_empty();
    if verdict.code() != Code::Ok && !is_silent {
        dialogue.log(Level::Error, format_args!("{} {}", verdict.code(), verdict.text()));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use crate::error::Result;
    use crate::hook::{Args, Code, DECLINED, Hooks, OK, Verdict};
    use crate::testing::{Trial, keeps};

    thread_local! {
        static RESETS: Cell<u32> = const { Cell::new(0) };
    }

    fn sends_away(hooks: &mut Hooks, _args: &Args) -> Result<()> {
        hooks.rcpt(|_, _, _| OK);
        hooks.data_post(|_| Verdict::deny_disconnect("go away"));
        hooks.reset_transaction(|session| {
            RESETS.set(RESETS.get() + u32::from(session.transaction.sender().is_some()));
            DECLINED
        });
        hooks.disconnect(|_| {
            RESETS.set(RESETS.get() + 10);
            DECLINED
        });
        hooks.post_connection(|_| {
            RESETS.set(RESETS.get() + 100);
        });
        Ok(())
    }

    #[test]
    fn a_transaction_that_ends_the_session_ends_once() {
        RESETS.set(0);
        let every = |hooks: &mut Hooks, args: &Args| {
            hooks.reset_transaction(|_| RESETS.set(RESETS.get() + 1000));
            sends_away(hooks, args)
        };
        let trial = Trial::with(every, "", &[]);
        let (mut client, server) = UnixStream::pair().unwrap();
        let dialogue = "EHLO me\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n\
            Subject: x\r\n\r\ntext\r\n.\r\n";
        client.write_all(dialogue.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        trial.serve(server);
        let mut replies = String::new();
        client.read_to_string(&mut replies).unwrap();
        assert!(replies.ends_with("go away\r\n"), "{replies}");
        // Before MAIL, and after the message.
        assert_eq!(RESETS.get(), 2111);
    }
    /// Keeps the message, and answers at queue_post with the code and the text of its arguments.
    fn answers_after_the_queue(hooks: &mut Hooks, args: &Args) -> Result<()> {
        let code = Code::from_name(args.required(0, "the code")?);
        let verdict = Verdict::new(code.unwrap_or(Code::Ok), args.get(1).unwrap_or("").to_owned());
        hooks.queue_post(move |_| verdict.clone());
        keeps(hooks, args)
    }

    /// docs/plugins.md, queue_post: what is not OK is logged as an error, with its text.
    #[test]
    fn what_is_said_after_the_queue_is_an_error_unless_it_is_ok() {
        for (verdict, is_error) in [
            ("OK counted", false),
            ("OK", false),
            ("DECLINED", false),
            ("DECLINED counted", true),
            ("DENYSOFT counted", true),
        ] {
            let files = [("loglevel", "LOGERROR")];
            let trial = Trial::with(answers_after_the_queue, verdict, &files);
            let (mut client, server) = UnixStream::pair().unwrap();
            let dialogue = "EHLO me\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n\
                DATA\r\nSubject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n";
            client.write_all(dialogue.as_bytes()).unwrap();
            trial.serve(server);
            let mut replies = String::new();
            client.read_to_string(&mut replies).unwrap();
            assert!(replies.contains("250 2.0.0 Queued"), "{replies}");
            assert_eq!(trial.log().contains("counted"), is_error, "{verdict}: {}", trial.log());
        }
    }
}
