//! DATA (RFC 5321 4.1.1.4).

use crate::hook::{Call, Hook};
use crate::smtp::dialogue::{Answer, Answered, Dialogue};
use crate::smtp::syntax::message::Message;
use crate::smtp::syntax::reply::Reply;
use crate::smtp::verb::hand_on;
use crate::smtp::verb::receive::{self, has_recipients, limits};

pub(crate) fn data(dialogue: &mut Dialogue, _argument: &str) -> Answer {
    if dialogue.chunks.is_some() {
        return Ok(Reply::new(503, "5.5.1", "DATA after BDAT"));
    }
    if dialogue.session.transaction.sender().is_none() {
        return Ok(Reply::new(503, "5.5.1", "MAIL first"));
    }
    if !has_recipients(dialogue) {
        return Ok(Reply::new(503, "5.5.1", "RCPT first"));
    }
    if let Err(answered) = dialogue.ask(Hook::Data, &Call::Nothing) {
        dialogue.reset_transaction();
        return Err(answered);
    }
    dialogue.reply(&Reply::new(354, "", "go ahead"));
    let mut message = Message::stuffed(limits(dialogue));
    while !receive::take(dialogue, &mut message, &receive::DATA, u64::MAX)?.is_end {}
    let received = receive::complete(dialogue, &mut message)?;
    hand_on::conclude(dialogue, received);
    Err(Answered)
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
