//! A session with its client on the line: what the commands stand on.

use crate::hook::{
    Call, Code, Decision, Extension, Heard, Hook, KARMA_GIVEN, Outcome, Session, Verdict,
};
use crate::log::Level;
use crate::metrics::{self, Metric};
use crate::smtp::junk::Junk;
use crate::smtp::refusals::refusal;
use crate::smtp::stream::{End, Stream};
use crate::smtp::syntax::message::Message;
use crate::smtp::syntax::reply::{Form, Reply};
use crate::smtp::syntax::xclient::Attributes;
use crate::smtp::waits::Waits;

/// A session with its client on the line.
pub(crate) struct Dialogue {
    pub(crate) session: Session,
    pub(crate) stream: Stream,
    /// Commands that brought no mail on.
    pub(crate) junk: Junk,
    /// Failed attempts at AUTH.
    pub(crate) auth_failures: u32,
    /// As whom the client wants to authenticate, once it has said so.
    pub(crate) auth_tried: String,
    /// The message that comes in chunks, from the first BDAT to the end of the transaction.
    pub(crate) chunks: Option<Chunks>,
    /// What XCLIENT said of the client.
    pub(crate) xclient: Attributes,
    /// Is it LMTP that is spoken (RFC 2033)?
    pub(crate) is_lmtp: bool,
    /// Do replies to the command that is being answered take UTF-8 (RFC 6531 3.7.4)?
    pub(crate) takes_utf8: bool,
    /// How many lines may still be secrets that a client sends though its AUTH was refused.
    pub(crate) secrets_may_follow: u8,
    /// The last reply, with a status or without.
    last: (u16, String),
    /// Were the log and the counts told of the message?
    is_message_told: bool,
    closing: bool,
}

/// A message that comes in chunks.
pub(crate) enum Chunks {
    /// It is on its way.
    Coming(Box<Message>),
    /// It cannot be taken; this is the answer to the rest of its chunks, of which the last one has
    /// as many in LMTP as there were recipients.
    Refused(Reply, usize),
}

/// The client has its answer already, or the session ends without one.
#[derive(Debug)]
pub(crate) struct Answered;

/// What a command answers.
pub(crate) type Answer = Result<Reply, Answered>;

impl Dialogue {
    pub(crate) fn new(mut session: Session, mut stream: Stream) -> Dialogue {
        stream.waits = Waits::new(&mut session);
        session.set_early_check(stream.early_check());
        let plugins = session.plugins().clone();
        stream.before_wait(move |waits_long| plugins.before_wait(waits_long));
        Dialogue {
            session,
            stream,
            junk: Junk::default(),
            auth_failures: 0,
            auth_tried: String::new(),
            chunks: None,
            xclient: Attributes::default(),
            is_lmtp: false,
            takes_utf8: false,
            secrets_may_follow: 0,
            last: (0, String::new()),
            is_message_told: false,
            closing: false,
        }
    }

    /// Asks a hook, and answers where that is the end of the command: a plugin has refused, or
    /// answered itself.
    pub(crate) fn ask(&mut self, hook: Hook, call: &Call<'_>) -> Result<Verdict, Answered> {
        let decision = self.consult(hook, call);
        let about = match call {
            Call::Line(text) | Call::Host(text) | Call::Path(text, _) => text,
            _ => "",
        };
        self.answer(hook, decision, about)
    }

    /// Asks a hook; what plugins answered the client themselves goes out.
    pub(crate) fn consult(&mut self, hook: Hook, call: &Call<'_>) -> Decision {
        self.consult_for(hook, call, 1).verdict
    }

    /// Answers where that is the end of the command.
    ///
    /// # Errors
    /// There is nothing left to say: a plugin has failed, refused, or answered itself.
    pub(crate) fn answer(
        &mut self,
        hook: Hook,
        decision: Decision,
        about: &str,
    ) -> Result<Verdict, Answered> {
        self.answer_for(hook, decision, about, 1)
    }

    /// [`Dialogue::ask`] about a message that has come: a reply is given for each of the recipients.
    pub(crate) fn ask_for(&mut self, hook: Hook, recipients: usize) -> Result<Verdict, Answered> {
        let outcome = self.consult_for(hook, &Call::Nothing, recipients);
        self.answer_for(hook, outcome.verdict, "", recipients)
    }

    /// [`Dialogue::consult`] with all that comes of it; about a message that has come, what plugins
    /// say is said for each of the recipients.
    pub(crate) fn consult_for(
        &mut self,
        hook: Hook,
        call: &Call<'_>,
        recipients: usize,
    ) -> Outcome {
        self.session.set_pipelined_input(self.stream.has_input());
        let outcome = self.session.ask(hook, call);
        if let Some(said) = &outcome.said {
            for (code, text) in &said.replies {
                self.reply_to_message(&[Reply::own(*code, text.clone())], recipients);
            }
            if said.hang_up {
                self.disconnect();
            }
        }
        outcome
    }

    /// [`Dialogue::answer`] about a message that has come, for each of the recipients.
    ///
    /// # Errors
    /// There is nothing left to say.
    pub(crate) fn answer_for(
        &mut self,
        hook: Hook,
        decision: Decision,
        about: &str,
        recipients: usize,
    ) -> Result<Verdict, Answered> {
        if let Some((reply, close)) = refusal(hook, &decision, about) {
            self.session.log_refusal(hook, reply.code(), reply.text(), about);
            self.reply_to_message(&[reply], recipients);
            if matches!(hook, Hook::DataPostHeaders | Hook::DataPost | Hook::QueuePre) {
                self.message_ends(false);
            }
            if close {
                self.disconnect();
            }
            return Err(Answered);
        }
        decision.ok().filter(|verdict| verdict.code() != Code::Done).ok_or(Answered)
    }

    /// Sends what a command answers.
    pub(crate) fn conclude(&mut self, answer: Answer) {
        if let Ok(reply) = answer {
            self.reply(&reply);
        }
    }

    /// Adds a reply to what is sent when the client has to speak next.
    pub(crate) fn reply(&mut self, reply: &Reply) {
        self.reply_to_message(std::slice::from_ref(reply), 1);
    }

    /// The same with the replies to a message: one for each recipient, or one that is given to all
    /// of them (RFC 2033 4.2).
    pub(crate) fn reply_to_message(&mut self, replies: &[Reply], recipients: usize) {
        let times = if replies.len() == 1 { recipients } else { 1 };
        for reply in replies {
            self.log(Level::Info, format_args!("{} {}", reply.code(), reply.text()));
            (0..times).for_each(|_| self.send(reply));
        }
    }

    /// Adds a reply whose text is not for the log.
    pub(crate) fn send(&mut self, reply: &Reply) {
        self.last.0 = reply.code();
        reply.text().clone_into(&mut self.last.1);
        metrics::add(Metric::Replies, &[class(reply.code())], 1);
        let form = Form { enhanced: self.session.connection.is_esmtp(), utf8: self.takes_utf8 };
        let out = self.stream.out();
        let start = out.len();
        reply.write(form, out);
        if self.session.plugins().listens() {
            let lines = String::from_utf8_lossy(&out[start..]).into_owned();
            // A reply is not refused.
            let _ = self.session.overhear(&Heard::Reply(&lines));
        }
    }

    /// A message has come, or what there is of it.
    pub(crate) fn message_begins(&mut self) {
        self.is_message_told = false;
    }

    /// A message has its answer, the last reply: the counts and the log are told of it, once.
    pub(crate) fn message_ends(&mut self, is_accepted: bool) {
        if std::mem::replace(&mut self.is_message_told, true) {
            return;
        }
        let (code, text) = &self.last;
        let result = match code / 100 {
            _ if is_accepted => "accepted",
            4 => "deferred",
            _ => "refused",
        };
        metrics::add(Metric::Messages, &[result], 1);
        if is_accepted {
            self.session.connection.notes.unset(KARMA_GIVEN);
            let transaction = &self.session.transaction;
            metrics::add(Metric::MessageOctets, &[], transaction.message_len());
            metrics::add(Metric::Recipients, &[], transaction.accepted() as u64);
        }
        self.session.log_message(result, *code, text);
    }

    /// Ends the session after what has been said so far.
    pub(crate) fn disconnect(&mut self) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        let _ = self.consult(Hook::Disconnect, &Call::Nothing);
        self.reset_transaction();
    }

    /// Is the session over?
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Says why there will be no more, and ends the session.
    pub(crate) fn give_up(&mut self, end: End) -> Answered {
        match end {
            End::Timeout => {
                let _ = self.session.overhear(&Heard::TimedOut);
                self.reply(&Reply::new(421, "4.4.2", "Connection Timed Out"));
            }
            End::Endless => self.reply(&Reply::new(421, "4.5.2", "Line too long")),
            End::Stopping => {
                let text = format!("{} closing connection, try again later", self.session.me());
                self.reply(&Reply::new(421, "4.3.2", text));
            }
            End::Closed => self.log(Level::Info, "the client closed the connection"),
        }
        self.disconnect();
        Answered
    }

    /// Ends the transaction, and with it a message that comes in chunks.
    pub(crate) fn reset_transaction(&mut self) {
        self.chunks = None;
        self.session.reset_transaction();
    }

    /// Is this client offered the extension?  Only where the plugins that queue support it.
    pub(crate) fn offers(&self, extension: Extension) -> bool {
        self.session.connection.is_esmtp() && self.session.supports(extension)
    }

    pub(crate) fn log(&self, level: Level, text: impl std::fmt::Display) {
        self.session.log(level, text);
    }
}

/// The class of a reply's code (RFC 5321 4.2.1).
fn class(code: u16) -> &'static str {
    match code / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
