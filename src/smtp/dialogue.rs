//! One client from the greeting to post_connection: the same for every way of starting it.

use std::cell::Cell;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::hook::{Call, Code, Hook, Session, Shared, Verdict};
use crate::log::Level;
use crate::settings::SMTPGREETING;
use crate::smtp::command::{self, Command};
use crate::smtp::junk::{self, Junk};
use crate::smtp::proxy;
use crate::smtp::service::Service;
use crate::smtp::stream::{End, Stream};
use crate::smtp::syntax::reply::{Form, INTERNAL_ERROR, Reply, refusal};
use crate::smtp::verb::bdat::Chunks;
use crate::smtp::verb::mail::SMTPUTF8;
use crate::smtp::verb::{auth, starttls, xclient};
use crate::smtp::waits::{State, Waits};
use crate::state::Connection;
use crate::sys::{deadline, title};

/// How many octets of a command line stand in the log.
const SHOWN: usize = 512;

/// The most lines that a client sends after AUTH: those of LOGIN, user and password.
const MOST_SECRETS: u8 = 2;

thread_local! {
    static SESSIONS: Cell<u64> = const { Cell::new(0) };
    static PROCESS: Cell<u32> = const { Cell::new(0) };
}

/// A session with its client on the line: what the commands work on.
pub(crate) struct Dialogue {
    pub(crate) session: Session,
    pub(crate) stream: Stream,
    /// Commands that brought no mail on.
    pub(crate) junk: Junk,
    /// Failed attempts at AUTH.
    pub(crate) auth_failures: u32,
    /// The message that comes in chunks, from the first BDAT to the end of the transaction.
    pub(crate) chunks: Option<Chunks>,
    /// What XCLIENT said of the client.
    pub(crate) speaks_for: xclient::Said,
    /// Is it LMTP that is spoken (RFC 2033)?
    pub(crate) is_lmtp: bool,
    /// How often each reply is given: in LMTP, to a message, once for each recipient.
    pub(crate) copies: usize,
    /// Do replies to the command that is being answered take UTF-8 (RFC 6531 3.7.4)?
    pub(crate) takes_utf8: bool,
    /// So many lines may be what a client sends though its AUTH was refused.
    pub(crate) secrets_may_follow: u8,
    closing: bool,
}

/// Serves one client until it leaves or is sent away.  Returns how many octets of messages came.
///
/// # Panics
/// The core has a fault.  The client has 421 then, and `post-connection` has run.
pub fn serve(stream: Stream, connection: Connection, shared: &Shared) -> u64 {
    let session = Session::new(shared.clone(), connection, new_id());
    title::serves(session.connection.remote_ip);
    deadline::set_client(Some(stream.output().as_raw_fd()));
    let mut dialogue = Dialogue::new(session, stream);
    deadline::set_session(dialogue.session.id());
    let done = catch_unwind(AssertUnwindSafe(|| dialogue.run()));
    if done.is_err() {
        dialogue.copies = 1;
        dialogue.send(&Reply::new(421, "4.3.0", INTERNAL_ERROR));
    }
    let plugins = dialogue.session.plugins();
    match plugins.has(Hook::PostConnection) || plugins.wants(Level::Info) {
        true => dialogue.stream.close(),
        // Nothing is left to do: the socket is closed right away.
        false => dialogue.stream.end(),
    }
    deadline::set_client(None);
    let session = &mut dialogue.session;
    session.run(Hook::PostConnection, &Call::Nothing);
    deadline::set_session("");
    if !matches!(done, Ok(false)) {
        session.log(Level::Info, format_args!("disconnect from {}", session.connection.remote_ip));
    }
    if let Err(fault) = done {
        resume_unwind(fault);
    }
    dialogue.stream.waits.all_octets()
}

impl Dialogue {
    /// From the greeting, or what comes before it, to the last reply.  False: a proxy did not say who
    /// the client is, and there was no session.
    fn run(&mut self) -> bool {
        let service = Service::of(&mut self.session);
        self.is_lmtp = service.is_lmtp;
        if service.proxy_first
            && let Err(why) = proxy::unwrap(self)
        {
            self.log(Level::Warn, why);
            return false;
        }
        self.log(Level::Info, format_args!("connect from {}", self.session.connection.remote_ip));
        if !service.tls_first || starttls::is_done_first(self) {
            self.greet();
        }
        while !self.closing {
            self.command();
        }
        true
    }

    fn new(mut session: Session, mut stream: Stream) -> Dialogue {
        stream.waits = Waits::new(&mut session);
        session.set_ear(stream.ear());
        Dialogue {
            session,
            stream,
            junk: Junk::default(),
            auth_failures: 0,
            chunks: None,
            speaks_for: xclient::Said::default(),
            is_lmtp: false,
            copies: 1,
            takes_utf8: false,
            secrets_may_follow: 0,
            closing: false,
        }
    }

    /// Asks a hook; what plugins answered the client themselves goes out in its place.
    pub(crate) fn ask(&mut self, hook: Hook, call: &Call<'_>) -> Verdict {
        self.session.set_sent_ahead(self.stream.has_input());
        let verdict = self.session.run(hook, call);
        for (code, text) in self.session.take_responses() {
            self.reply(&Reply::own(code, &text));
        }
        if self.session.take_hang_up() {
            self.disconnect();
        }
        verdict
    }

    /// Answers a verdict that refuses, and says whether there is nothing left to say: it refused,
    /// or the plugin has answered.
    pub(crate) fn settled(&mut self, hook: Hook, verdict: &Verdict, about: &str) -> bool {
        let Some((reply, close)) = refusal(hook, verdict, about) else {
            return verdict.code() == Code::Done;
        };
        self.reply(&reply);
        if close {
            self.disconnect();
        }
        true
    }

    /// Sends a reply when the client has to speak next.
    pub(crate) fn reply(&mut self, reply: &Reply) {
        self.log(Level::Info, format_args!("{} {}", reply.code(), reply.text()));
        self.send(reply);
    }

    /// The same with a reply whose text is not for the log.
    pub(crate) fn send(&mut self, reply: &Reply) {
        let form = Form { enhanced: self.session.connection.is_esmtp(), utf8: self.takes_utf8 };
        for _ in 0..self.copies {
            reply.write(form, self.stream.out());
        }
    }

    /// Sends a reply in upstream's words.
    pub(crate) fn say(&mut self, code: u16, status: &str, text: &str) {
        self.reply(&Reply::new(code, status, text));
    }

    /// Ends the session after what has been said so far.
    pub(crate) fn disconnect(&mut self) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        self.copies = 1;
        self.ask(Hook::Disconnect, &Call::Nothing);
        self.reset_transaction();
    }

    /// Ends the transaction, and with it a message that comes in chunks.
    pub(crate) fn reset_transaction(&mut self) {
        self.chunks = None;
        self.session.reset_transaction();
    }

    /// Says why there will be no more, and ends the session.
    pub(crate) fn give_up(&mut self, end: End) {
        match end {
            End::Timeout => self.say(421, "4.4.2", "Connection Timed Out"),
            End::Endless => self.say(421, "4.5.2", "Line too long"),
            End::Stopping => {
                let text = format!("{} closing connection, try again later", self.session.me());
                self.say(421, "4.3.2", &text);
            }
            End::Closed => self.log(Level::Info, "the client closed the connection"),
        }
        self.disconnect();
    }

    pub(crate) fn log(&self, level: Level, text: impl std::fmt::Display) {
        self.session.log(level, text);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Asks whether the client may speak, and says the greeting.
    pub(crate) fn greet(&mut self) {
        let verdict = self.ask(Hook::Connect, &Call::Nothing);
        self.session.remember_greeted();
        if self.settled(Hook::Connect, &verdict, "") {
            return;
        }
        let protocol = if self.is_lmtp { "LMTP" } else { "ESMTP" };
        let greeting = match self.session.setting(SMTPGREETING) {
            Some(text) if has_word(&text, protocol) => text,
            Some(text) => format!("{text} {protocol}"),
            None => format!(
                "{} {protocol} qpsmtpd {} ready; send us your mail, but not your spam.",
                self.session.me(),
                env!("CARGO_PKG_VERSION")
            ),
        };
        self.say(220, "", &greeting);
    }

    fn command(&mut self) {
        self.session.forget_secrets();
        let state = match self.session.transaction.recipients().is_empty() {
            true => State::Command,
            false => State::Transaction,
        };
        let line = match self.stream.line(state) {
            Ok(line) => line,
            Err(end) => return self.give_up(end),
        };
        self.session.count_command();
        self.takes_utf8 = self.session.transaction.mail_params.get(SMTPUTF8).is_some();
        let octets = line.len() + 2;
        let text = String::from_utf8_lossy(&line);
        let (verb, argument) = command::split(&text);
        let command = command::find(verb).filter(|command| command.verb != "LHLO" || self.is_lmtp);
        title::does(command.map_or("an unknown command", |command| command.verb));
        self.log_command(command, &text, argument);
        junk::counted(self, command, |dialogue| match command {
            _ if octets > command.map_or(4096, |command| command.limit) => {
                dialogue.say(500, "5.5.2", "Line too long");
                dialogue.leave_in_doubt(command);
            }
            Some(_) if argument.chars().any(|c| c.is_control() && c != '\t') => {
                dialogue.say(501, "5.5.2", "Syntax error, control characters are not allowed");
                dialogue.leave_in_doubt(command);
            }
            Some(command) => (command.run)(dialogue, argument),
            None => crate::smtp::verb::small::unrecognized(dialogue, verb, argument),
        });
    }

    /// What the client sends may be a secret: after AUTH was refused some go on with user and
    /// password.  Only lines that cannot be one are shown.
    fn log_command(&mut self, command: Option<&Command>, line: &str, argument: &str) {
        let may_be_secret = self.secrets_may_follow > 0;
        self.secrets_may_follow = self.secrets_may_follow.saturating_sub(1);
        match command {
            None => {
                let octets = line.len();
                self.log(Level::Info, format_args!("dispatching an unknown command ({octets})"));
            }
            Some(command) if may_be_secret || !command.is_shown => {
                self.log(Level::Info, format_args!("dispatching {}", command.verb));
            }
            Some(_) => self.log(Level::Info, format_args!("dispatching {}", beginning(line))),
        }
        match command {
            None => self.session.keep_secret(line),
            Some(command) if command.verb == "AUTH" => {
                let words = argument.split_whitespace().filter(|word| !auth::is_mechanism(word));
                words.for_each(|word| self.session.keep_secret(word));
                self.secrets_may_follow = MOST_SECRETS;
            }
            Some(command) if !command.is_shown => self.session.keep_secret(argument),
            Some(_) => {}
        }
    }

    /// Octets of a message may follow a BDAT that was not read.  They must not be taken for commands.
    fn leave_in_doubt(&mut self, command: Option<&Command>) {
        if command.is_some_and(|command| command.verb == "BDAT") {
            self.disconnect();
        }
    }
}

/// As much of a line as a log needs of it.
fn beginning(line: &str) -> &str {
    let mut end = line.len().min(SHOWN);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// `config/smtpgreeting` is taken as it is when it says the protocol already.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|part| part == word)
}

/// An id that no other session of this host has: time, process, count.
fn new_id() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let count = SESSIONS.replace(SESSIONS.get() + 1);
    if count == 0 {
        // A process that serves sessions makes no others that do.
        PROCESS.set(std::process::id());
    }
    format!("{seconds:x}.{:x}.{count:x}", PROCESS.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_that_says_esmtp_is_found() {
        assert!(has_word("mx.example ESMTP ready", "ESMTP"));
        assert!(has_word("ESMTP", "ESMTP"));
        assert!(!has_word("mx.example XESMTP", "ESMTP"));
    }

    #[test]
    fn a_log_shows_the_beginning_of_a_line() {
        assert_eq!(beginning("NOOP"), "NOOP");
        let line = format!("NOOP {}", "\u{fc}".repeat(SHOWN));
        assert!((SHOWN - 1..=SHOWN).contains(&beginning(&line).len()));
    }

    #[test]
    fn ids_differ() {
        assert_ne!(new_id(), new_id());
    }
}
