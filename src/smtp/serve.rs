//! One client from the greeting to post_connection: the same for every way of starting it.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Write;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::hook::{Call, Code, Decision, Heard, Hook, Session, Shared};
use crate::log::{Level, beginning, is_plain};
use crate::metrics::{self, Metric};
use crate::settings::JUNK_COMMANDS;
use crate::smtp::command::{self, Command, Flag};
use crate::smtp::dialogue::{Answer, Answered, Dialogue};
use crate::smtp::proxy;
use crate::smtp::refusals::INTERNAL_ERROR;
use crate::smtp::service::Service;
use crate::smtp::stream::Stream;
use crate::smtp::syntax::line::split;
use crate::smtp::syntax::path::SMTPUTF8;
use crate::smtp::syntax::reply::Reply;
use crate::smtp::verb::auth::exchange::HIDDEN;
use crate::smtp::verb::{auth, greeting, starttls};
use crate::smtp::waits::State;
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

/// Serves one client until it leaves or is sent away.  Returns how many octets of messages came.
///
/// # Panics
/// The core has a fault.  The client has 421 then, and `post-connection` has run.
pub fn serve(stream: Stream, connection: Connection, shared: &Shared) -> u64 {
    play(stream, connection, shared).stream.waits.all_octets()
}

/// The same in a process that ends with its one client: the memory of the session, which is data
/// alone once it is over, is not freed.
pub(crate) fn serve_last(stream: Stream, connection: Connection, shared: &Shared) -> u64 {
    let mut dialogue = ManuallyDrop::new(play(stream, connection, shared));
    // Files that handlers have asked for since the last transaction would stay.
    dialogue.session.transaction.clear();
    dialogue.stream.waits.all_octets()
}

/// A session from its beginning to its end.
fn play(stream: Stream, connection: Connection, shared: &Shared) -> Dialogue {
    let session = Session::new(shared.clone(), connection, new_id());
    title::serves(session.connection.remote_ip);
    deadline::set_client(Some(stream.output().as_raw_fd()));
    let mut dialogue = Dialogue::new(session, stream);
    deadline::set_session(dialogue.session.id());
    let done = catch_unwind(AssertUnwindSafe(|| run(&mut dialogue)));
    if done.is_err() {
        dialogue.send(&Reply::new(421, "4.3.0", INTERNAL_ERROR));
    }
    let session = &dialogue.session;
    match session.has(Hook::PostConnection) || session.plugins().wants(Level::Info) {
        true => dialogue.stream.close(),
        // Nothing is left to do: the socket is closed right away.
        false => dialogue.stream.end(),
    }
    deadline::set_client(None);
    let session = &mut dialogue.session;
    let _ = session.run(Hook::PostConnection, &Call::Nothing);
    metrics::observe(Metric::SessionSeconds, &[], session.age());
    if !matches!(done, Ok(false)) {
        session.log_session();
    }
    deadline::set_session("");
    if !matches!(done, Ok(false)) {
        session.log(Level::Info, format_args!("disconnect from {}", session.connection.remote_ip));
    }
    session.plugins().before_wait(&|| true);
    if let Err(fault) = done {
        resume_unwind(fault);
    }
    dialogue
}

/// From the greeting, or what comes before it, to the last reply.  False: a proxy did not say who
/// the client is, and there was no session.
fn run(dialogue: &mut Dialogue) -> bool {
    let service = Service::of(&mut dialogue.session);
    dialogue.is_lmtp = service.is_lmtp;
    if service.proxy_first
        && let Err(why) = proxy::unwrap(dialogue)
    {
        dialogue.log(Level::Warn, why);
        return false;
    }
    metrics::add(Metric::Sessions, &[if dialogue.is_lmtp { "lmtp" } else { "smtp" }], 1);
    dialogue.session.log_connection();
    let ip = dialogue.session.connection.remote_ip;
    dialogue.log(Level::Info, format_args!("connect from {ip}"));
    // A session that is only played may begin under TLS.
    let has_tls = dialogue.session.connection.encryption.is_some();
    if has_tls || !service.tls_first || starttls::is_done_first(dialogue) {
        let greeting = greeting::greeting(dialogue);
        dialogue.conclude(greeting);
    }
    while !dialogue.is_closing() {
        serve_command(dialogue);
    }
    true
}

/// Reads a command and answers it.
fn serve_command(dialogue: &mut Dialogue) {
    dialogue.session.forget_secrets();
    let state = match dialogue.session.transaction.recipients().is_empty() {
        true => State::Command,
        false => State::Transaction,
    };
    let line = match dialogue.stream.line(state) {
        Ok(line) => line,
        Err(end) => {
            dialogue.give_up(end);
            return;
        }
    };
    dialogue.session.count_command();
    dialogue.takes_utf8 = dialogue.session.transaction.mail_params.get(SMTPUTF8).is_some();
    let octets = line.len() + 2;
    let text = String::from_utf8_lossy(&line);
    let (command, argument) = command::find(&text, dialogue.is_lmtp);
    title::does(command.verb);
    log_command(dialogue, command, &text, argument);
    counted(dialogue, command, |dialogue| {
        match unfit(command, octets, argument, dialogue.is_lmtp) {
            Some(reply) => {
                dialogue.reply(&reply);
                // Octets of a message that were not read must not be taken for commands.
                if command.is(Flag::DataFollows) {
                    dialogue.disconnect();
                }
            }
            None => {
                let answer = heed(dialogue, command, argument);
                dialogue.conclude(answer);
            }
        }
    });
}

/// Runs a command, unless somebody who listens refuses it, with the argument that it is to have.
fn heed(dialogue: &mut Dialogue, command: &Command, argument: &str) -> Answer {
    if !dialogue.session.plugins().listens() {
        return (command.run)(dialogue, argument);
    }
    let (verb, rest) = match command.is(Flag::AnyText) {
        true => split(argument),
        false => (command.verb, argument),
    };
    let heard = Heard::Command { verb: &verb.to_ascii_uppercase(), argument: rest };
    match dialogue.session.overhear(&heard) {
        Ok(verdict) if verdict.code() == Code::Ok => {
            let line = format!("{verb} {}", verdict.text());
            let argument = if command.is(Flag::AnyText) { &line } else { verdict.text() };
            (command.run)(dialogue, argument)
        }
        Ok(verdict) if !verdict.code().is_deny() => (command.run)(dialogue, argument),
        decision => refuse(dialogue, command, &decision),
    }
}

/// Answers a command that somebody who listens has refused, or could not decide about.
fn refuse(dialogue: &mut Dialogue, command: &Command, decision: &Decision) -> Answer {
    let (reply, close) = match decision {
        Ok(verdict) => {
            let usual = if verdict.code().is_soft() { 450 } else { 550 };
            let code = verdict.reply().unwrap_or(usual);
            (Reply::own(code, verdict.text().to_owned()), verdict.code().disconnects())
        }
        Err(_) => (Reply::new(451, "4.3.0", INTERNAL_ERROR), false),
    };
    dialogue.reply(&reply);
    // Octets of a message that were not read must not be taken for commands.
    if close || command.is(Flag::DataFollows) {
        dialogue.disconnect();
    }
    Err(Answered)
}

/// The reply to a command that nobody looks at.
fn unfit(command: &Command, octets: usize, argument: &str, is_lmtp: bool) -> Option<Reply> {
    let has_control =
        || !is_plain(argument) && argument.chars().any(|c| c.is_control() && c != '\t');
    if octets > command.limit {
        Some(Reply::new(500, "5.5.2", "Line too long"))
    } else if !command.is(Flag::AnyText) && has_control() {
        let text = "Syntax error, control characters are not allowed";
        Some(Reply::new(501, "5.5.2", text))
    } else if command.is(Flag::SmtpOnly) && is_lmtp {
        Some(Reply::new(500, "5.5.1", "This is LMTP, please say LHLO"))
    } else {
        None
    }
}

/// What the client sends may be a secret: after AUTH was refused some go on with user and password.
/// Only lines that cannot be one are shown.
fn log_command(dialogue: &mut Dialogue, command: &Command, line: &str, argument: &str) {
    let may_be_secret = dialogue.secrets_may_follow > 0;
    dialogue.secrets_may_follow = dialogue.secrets_may_follow.saturating_sub(1);
    let Command { verb, .. } = command;
    if command.is(Flag::AnyText) {
        dialogue.log(Level::Info, format_args!("dispatching {verb} ({})", line.len()));
    } else if may_be_secret || command.is(Flag::SecretArgument) {
        dialogue.log(Level::Info, format_args!("dispatching {verb}"));
    } else {
        dialogue.log(Level::Info, format_args!("dispatching {}", beginning(line, SHOWN)));
    }
    if dialogue.session.plugins().listens() {
        let shown = shown(command, line, argument, may_be_secret);
        let _ = dialogue.session.overhear(&Heard::Line(&shown));
    }
    if command.is(Flag::SecretsFollow) {
        let words = argument.split_whitespace().filter(|word| !auth::is_mechanism(word));
        words.for_each(|word| dialogue.session.keep_secret(word));
        dialogue.secrets_may_follow = MOST_SECRETS;
    } else if command.is(Flag::SecretArgument) {
        dialogue.session.keep_secret(argument);
    }
}

/// The line for those who listen: without what may be a secret.
fn shown<'a>(
    command: &Command,
    line: &'a str,
    argument: &str,
    may_be_secret: bool,
) -> Cow<'a, str> {
    if command.is(Flag::AnyText) {
        return if may_be_secret { HIDDEN.into() } else { line.into() };
    }
    let is_none = !may_be_secret || !command.is(Flag::SecretArgument);
    if is_none && !command.is(Flag::SecretsFollow) {
        return line.into();
    }
    let mechanism = argument.split(' ').next().filter(|word| auth::is_mechanism(word));
    let words = [Some(command.verb), mechanism, (!argument.is_empty()).then_some(HIDDEN)];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ").into()
}

/// Runs a command, unless there were too many before it that brought nothing on.
fn counted(dialogue: &mut Dialogue, command: &Command, run: impl FnOnce(&mut Dialogue)) {
    let is_junk = command.is(Flag::Junk);
    if is_junk && is_over(dialogue, dialogue.junk.count() + 1) {
        return send_away(dialogue);
    }
    dialogue.junk.begin();
    run(dialogue);
    if dialogue.junk.has_got_on() && !is_junk || dialogue.is_closing() {
        return;
    }
    dialogue.junk.add();
    if !is_junk && is_over(dialogue, dialogue.junk.count()) {
        send_away(dialogue);
    }
}

fn is_over(dialogue: &mut Dialogue, count: u64) -> bool {
    let most = dialogue.session.setting(JUNK_COMMANDS);
    most > 0 && count > most
}

fn send_away(dialogue: &mut Dialogue) {
    let ip = dialogue.session.connection.remote_ip;
    dialogue.log(Level::Notice, format_args!("too many commands without mail from {ip}"));
    let text = "Too many commands without mail";
    dialogue.session.log_refusal(Hook::UnrecognizedCommand, 421, text, "");
    dialogue.reply(&Reply::new(421, "4.7.0", text));
    dialogue.disconnect();
}

/// An id that no other session of this host has: time, process, count.
fn new_id() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let count = SESSIONS.replace(SESSIONS.get() + 1);
    if count == 0 {
        // A process that serves sessions makes no others that do.
        PROCESS.set(std::process::id());
    }
    let mut id = String::with_capacity(24);
    write!(id, "{seconds:x}.{:x}.{count:x}", PROCESS.get()).expect("a String takes any text");
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_shows_the_beginning_of_a_line() {
        assert_eq!(beginning("NOOP", SHOWN), "NOOP");
        let line = format!("NOOP {}", "\u{fc}".repeat(SHOWN));
        assert!((SHOWN - 1..=SHOWN).contains(&beginning(&line, SHOWN).len()));
    }

    #[test]
    fn ids_differ() {
        assert_ne!(new_id(), new_id());
    }
}
