//! One message to one server: the envelope and the text.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use crate::hook::{DECLINED, Session, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::state::{Params, Transaction};

use super::lines::{CrlfLines, Stuffer};
use super::verdicts::{after_data, before_data, is_closed, lost, of_one};
use super::{Client, Protocol, Reply};

/// The longest wait for the reply to the end of the message (RFC 5321 4.5.3.2.6).
const END: Duration = Duration::from_secs(600);

/// The longest wait for what a server says when it stops to read.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How many commands go out before their replies are read: few enough that neither side waits for
/// the other to read (RFC 2920 3.1).
const GROUP: usize = 50;

/// The parameters of RFC 3461.
const DSN: [&str; 4] = ["RET", "ENVID", "NOTIFY", "ORCPT"];

/// How much of a message is written at a time, in octets.
const CHUNK: usize = 64 * 1024;

/// What became of a message.
#[derive(Default)]
pub(super) struct Outcome {
    /// For the client.
    verdict: Option<Verdict>,
    /// Why it is not known what the server has done.
    lost: Option<io::Error>,
    /// For recipients, by their places, of whom there is more to be said than that.
    each: Vec<(usize, Verdict)>,
    /// Did the connection end before any of the text was sent?
    pub(super) is_untouched: bool,
}

impl Outcome {
    /// Whether the server has said what becomes of the message.
    pub(super) fn known(&self) -> Result<(), &io::Error> {
        self.lost.as_ref().map_or(Ok(()), Err)
    }

    /// Tells the session.
    pub(super) fn tell(self, session: &mut Session) -> Verdict {
        self.each
            .into_iter()
            .for_each(|(endpoint, verdict)| session.recipient_verdict(endpoint, verdict));
        self.verdict.unwrap_or(DECLINED)
    }
}

impl Client {
    /// Hands the message over, and says what the server made of it.
    pub(super) fn deliver(&mut self, session: &Session) -> Outcome {
        let mut outcome = Outcome::default();
        self.has_text = false;
        let verdict = self.try_deliver(session, &mut outcome.each).unwrap_or_else(|error| {
            self.is_sound = false;
            session.log(Level::Error, format_args!("while the message was handed over: {error}"));
            let verdict = lost(&error);
            outcome.lost = Some(error);
            verdict
        });
        let is_untouched = !self.is_sound && !self.has_text;
        Outcome { verdict: Some(verdict), is_untouched, ..outcome }
    }

    /// `each`: what is known of recipients when the client has an answer for each, in LMTP.
    fn try_deliver(
        &mut self,
        session: &Session,
        each: &mut Vec<(usize, Verdict)>,
    ) -> io::Result<Verdict> {
        let is_for_each = session.connection.is_lmtp();
        let transaction = &session.transaction;
        let recipients = transaction.recipients();
        let mail = match self.mail(transaction) {
            Ok(mail) => mail,
            Err(refusal) => return Ok(refusal),
        };
        let mut commands = vec![mail];
        let params = transaction.rcpt_params();
        commands.extend(recipients.iter().zip(params).map(|(recipient, params)| {
            format!("RCPT TO:{recipient}") + &self.notifications(params, &["NOTIFY", "ORCPT"])
        }));
        if self.leaves_out_notifications(transaction) {
            let text = "the back end does not offer DSN: what the client asks for is not handed on";
            session.log(Level::Warn, text);
        }
        let replies = self.ask_all(&commands)?;
        // The last reply is one that ends it all: to MAIL, or 421.
        if let Some(last) = replies.last().filter(|last| replies.len() == 1 || last.code == 421)
            && !last.is_ok()
        {
            session.log(Level::Notice, format_args!("refused: {}", last.shown()));
            return Ok(last.refusal());
        }
        let replies = &replies[1..];
        log_refused(session, recipients, replies);
        let is_ok = |endpoint: &usize| replies[*endpoint].is_ok();
        let (taken, refused): (Vec<_>, Vec<_>) = (0..recipients.len()).partition(is_ok);
        if is_for_each {
            each.extend(
                refused.into_iter().map(|endpoint| (endpoint, replies[endpoint].refusal())),
            );
        }
        if let Some(refusal) = before_data(recipients, replies)
            && (!is_for_each || taken.is_empty())
        {
            return Ok(refusal);
        }
        let go_ahead = self.ask("DATA")?;
        if go_ahead.code != 354 {
            // A server that takes no text has not to be in the middle of one.
            self.is_sound &= !go_ahead.is_ok();
            session.log(Level::Notice, format_args!("DATA refused: {}", go_ahead.shown()));
            return Ok(go_ahead.refusal());
        }
        if let Err(error) = self.send(transaction) {
            return self.last_words(session, error);
        }
        if self.protocol == Protocol::Smtp {
            let reply = self.final_reply()?;
            return Ok(self.of_message(session, &reply));
        }
        let mut replies = vec![];
        for endpoint in &taken {
            let reply = self.final_reply()?;
            if is_for_each {
                each.push((*endpoint, of_one(&reply)));
            }
            replies.push(reply);
        }
        let recipients: Vec<_> =
            taken.iter().map(|endpoint| recipients[*endpoint].clone()).collect();
        log_refused(session, &recipients, &replies);
        let refusal = after_data(&recipients, &replies);
        let delivered = replies.iter().find(|reply| reply.is_ok());
        if let Some(reply) = delivered {
            let shown = self.shown();
            session.queued_as(reply.shown());
            session.log(Level::Info, format_args!("delivered: {} ({shown})", reply.shown()));
        }
        Ok(match (refusal, delivered) {
            (Some(refusal), None) => refusal,
            (Some(refusal), _) if !is_for_each => refusal,
            (_, reply) => reply.map_or(DECLINED, of_one),
        })
    }

    /// MAIL, with the parameters that the server knows.
    ///
    /// # Errors
    /// The envelope or the header section is not ASCII, and the server does not take that.
    fn mail(&self, transaction: &Transaction) -> Result<String, Verdict> {
        let null = Address::null();
        let sender = transaction.sender().unwrap_or(&null);
        let mut mail = format!("MAIL FROM:{sender}");
        if self.offer("SIZE").is_some() {
            mail += &format!(" SIZE={}", transaction.message_len());
        }
        let body = transaction.mail_params.get("body").filter(|body| !body.is_empty());
        if let Some(body) = body.filter(|_| self.offer("8BITMIME").is_some()) {
            mail += &format!(" BODY={}", body.to_ascii_uppercase());
        }
        mail += &self.notifications(&transaction.mail_params, &["RET", "ENVID"]);
        let is_ascii = sender.is_ascii() && transaction.recipients().iter().all(Address::is_ascii);
        let is_declared = transaction.mail_params.get("smtputf8").is_some();
        if is_ascii && !is_declared {
            return Ok(mail);
        }
        if self.offer("SMTPUTF8").is_some() {
            return Ok(mail + " SMTPUTF8");
        }
        if is_ascii && transaction.header.to_bytes().is_ascii() {
            return Ok(mail);
        }
        let text = "The back end does not accept internationalized mail (#5.6.7)";
        Err(Verdict::deny(text).with_reply(550))
    }

    /// Parameters about delivery status notifications, as they came (RFC 3461 5.2.1), for a server
    /// that offers DSN.
    fn notifications(&self, params: &Params, keywords: &[&str]) -> String {
        let is_offered = self.offer("DSN").is_some();
        let word = |keyword: &&str| {
            params.get(keyword).map_or_else(String::new, |value| format!(" {keyword}={value}"))
        };
        keywords.iter().filter(|_| is_offered).map(word).collect()
    }

    fn leaves_out_notifications(&self, transaction: &Transaction) -> bool {
        let asks = |params: &Params| DSN.iter().any(|keyword| params.get(keyword).is_some());
        let mut all = std::iter::once(&transaction.mail_params).chain(transaction.rcpt_params());
        self.offer("DSN").is_none() && all.any(asks)
    }

    /// Sends commands, in groups where the server offers that.  Replies after one that ends it all,
    /// to MAIL or 421, are left out.
    fn ask_all(&mut self, commands: &[String]) -> io::Result<Vec<Reply>> {
        let group = if self.offer("PIPELINING").is_some() { GROUP } else { 1 };
        let mut replies: Vec<Reply> = vec![];
        for commands in commands.chunks(group) {
            let lines: String = commands.iter().flat_map(|line| [line, "\r\n"]).collect();
            self.wire.write_all(lines.as_bytes())?;
            for _ in commands {
                let reply = self.reply()?;
                let is_last = reply.code == 421 || (replies.is_empty() && !reply.is_ok());
                replies.push(reply);
                if is_last {
                    return Ok(replies);
                }
            }
        }
        Ok(replies)
    }

    /// Sends the message and its end.
    fn send(&mut self, transaction: &Transaction) -> io::Result<()> {
        self.has_text = true;
        self.wire.stop_at_input(true);
        let out = BufWriter::with_capacity(CHUNK, &mut self.wire);
        let mut lines = CrlfLines::new(Stuffer::new(out));
        transaction.write_message(&mut lines)?;
        lines.finish()?.finish()?.flush()?;
        self.wire.stop_at_input(false);
        Ok(())
    }

    /// The reply to the message.  A server that is in the middle of something then does not follow.
    fn final_reply(&mut self) -> io::Result<Reply> {
        let reply = self.reply_within(END)?;
        self.is_sound &= reply.code / 100 != 3;
        Ok(reply)
    }

    /// The message could not be sent to its end.  A server that stopped to read may say why.
    fn last_words(&mut self, session: &Session, error: io::Error) -> io::Result<Verdict> {
        if !is_closed(&error) {
            return Err(error);
        }
        self.is_sound = false;
        let reply = Reply::read(&mut self.wire, LAST_WORDS).map_err(|_| error)?;
        session.log(Level::Notice, format_args!("refused half way: {}", reply.shown()));
        Ok(reply.refusal())
    }

    /// What the only final reply of SMTP means for the client.
    fn of_message(&self, session: &Session, reply: &Reply) -> Verdict {
        let (said, shown) = (reply.shown(), self.shown());
        if !reply.is_ok() {
            session.log(Level::Notice, format_args!("refused: {said} ({shown})"));
            return reply.refusal();
        }
        session.queued_as(reply.last_word());
        session.log(Level::Info, format_args!("finished queueing: {said} ({shown})"));
        Verdict::ok(format!("queued as {}", reply.last_word()))
    }
}

fn log_refused(session: &Session, recipients: &[Address], replies: &[Reply]) {
    for (recipient, reply) in recipients.iter().zip(replies).filter(|(_, reply)| !reply.is_ok()) {
        session.log(Level::Notice, format_args!("{recipient} refused: {}", reply.shown()));
    }
}
