//! ```text
//! NAME
//!     queue/qmail-queue - hands messages to qmail
//!
//! SYNOPSIS
//!     queue/qmail-queue [PROGRAM]
//!
//! DESCRIPTION
//!     Runs qmail-queue(8), or a program in its place, for each message.  The program reads the
//!     message, with lines that end in LF, from descriptor 0, and the envelope from descriptor 1.
//!     If it exits with 0 it has the message safely in its queue, and the client is told "Queued!
//!     TIME qp PID MESSAGE-ID".
//!
//!     With any other status the text is "Unable to queue message (STATUS)". 11 to 40 are
//!     permanent: the client gets 552.  All others are temporary: the next queue plugin may take
//!     the message, and without one the client gets 451.  The log says what the status means, and
//!     what the program wrote to its standard error.  The status is 6 if the program cannot be
//!     started.
//!
//!     If the program is ended by a signal, or by this plugin because the time limit is over,
//!     nobody knows whether it has the message.  Then the client gets 451, and no other plugin is
//!     asked.
//!
//!     The Perl plugin of the same name has no permanent failures, and takes a program that was
//!     ended by a signal as one that has queued the message.
//!
//! ARGUMENTS
//!     PROGRAM   the path of the program, which begins with /; $QMAIL/bin/qmail-queue by default,
//!               or /var/qmail/bin/qmail-queue if $QMAIL is not set
//!
//!     queue/qmail-queue /var/qmail/bin/another-qmail-queue
//!
//! CONFIG
//!     If the server has the environment variable QMAILQUEUE, its value is used instead of PROGRAM.
//!
//! PRIVILEGES
//!     qmail-queue runs as its owner (set-uid).  So with this plugin workers may start programs
//!     that gain rights of their own, unless config/no_new_privs is "yes".
//!
//! SEE ALSO
//!     queue/maildir, queue/postfix-queue
//! ```

use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeWriter, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::hook::{Args, Hooks, Outside, Session, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::net::Program;
use crate::plugins::queue::message_id;

/// Where qmail lives, unless $QMAIL says otherwise.
const HOME: &str = "/var/qmail";

/// The status of a program that could not be started.
const NOT_STARTED: i32 = 6;

/// What the exit statuses of qmail-queue mean.
const MEANINGS: &[(i32, &str)] = &[
    (NOT_STARTED, "it cannot be started"),
    (11, "an address is too long"),
    (31, "the mail server refuses the message permanently"),
    (51, "no memory"),
    (52, "it took too long"),
    (53, "writing failed, perhaps the disk is full"),
    (54, "reading the message or the envelope failed"),
    (55, "its configuration cannot be read"),
    (56, "the network does not work"),
    (61, "qmail's folder does not work"),
    (62, "the queue's folder does not work"),
    (63, "the queue's folder pid does not work"),
    (64, "the queue's folder mess does not work"),
    (65, "the queue's folder intd does not work"),
    (66, "the queue's folder todo does not work"),
    (71, "the mail server refuses the message temporarily"),
    (72, "the mail server did not answer in time"),
    (73, "the mail server refuses connections"),
    (74, "the connection to the mail server broke"),
    (81, "a mistake in the program"),
    (91, "the envelope is wrong"),
];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    if args.positional().len() > 1 {
        hooks.log(Level::Warn, "WARNING: Ignoring additional arguments.");
    }
    let program = path(args.get(0), |name| std::env::var_os(name))?;
    hooks.queue(move |session| queue(session, &program));
    Ok(())
}

/// The program's path; `variable` is the environment.
fn path(argument: Option<&str>, variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    let usual = || {
        let home = variable("QMAIL").unwrap_or_else(|| HOME.into());
        Path::new(&home).join("bin/qmail-queue")
    };
    let path = match (variable("QMAILQUEUE"), argument) {
        (Some(path), _) => path.into(),
        (None, Some(path)) => path.into(),
        (None, None) => usual(),
    };
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Error::new(format!("not a path that begins with /: '{}'", path.display())))
}

fn queue(session: &mut Session, path: &Path) -> io::Result<Verdict> {
    session.log(Level::Notice, format_args!("Queuing to {}", path.display()));
    let (stdin, message) = pipe()?;
    let (stdout, envelope) = pipe()?;
    let (output, stderr) = pipe()?;
    let mut command = Command::new(path);
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let call = Outside::begin("qmail");
    let mut program = match Program::start(command, message, output, session.deadline()) {
        Ok(program) => program,
        Err(error) => {
            session.end_outside(call, &Err::<(), _>(&error));
            session.log(Level::Error, format_args!("cannot run {}: {error}", path.display()));
            return Ok(unable(NOT_STARTED));
        }
    };
    let id = program.id();
    let sent = match send(session, &mut program, envelope) {
        // One that refuses early does not read everything; its status says more than the error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
        sent => sent,
    };
    let ended = program.finish();
    session.end_outside(call, &ended);
    let ended = ended?;
    for line in &ended.lines {
        session.log(Level::Warn, format_args!("it says: {line}"));
    }
    let status = ended.status()?;
    if status == 0 {
        sent?;
        return Ok(queued(session, id));
    }
    let meaning =
        MEANINGS.iter().find(|row| row.0 == status).map_or("no known reason", |row| row.1);
    session.log(Level::Error, format_args!("exit status {status}: {meaning}"));
    Ok(unable(status))
}

/// Writes the message and then the envelope, the protocol of qmail-queue(8).
fn send(session: &Session, program: &mut Program, envelope: PipeWriter) -> io::Result<()> {
    let transaction = &session.transaction;
    transaction.write_lf(program)?;
    program.next_input(envelope)?;
    let sender = transaction.sender().map(Address::address).unwrap_or_default();
    let mut text = format!("F{sender}\0");
    for recipient in transaction.recipients() {
        text += &format!("T{}\0", recipient.address());
    }
    text.push('\0');
    program.write_all(text.as_bytes())
}

fn queued(session: &Session, id: u32) -> Verdict {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut message_id = message_id(session);
    if !(message_id.starts_with('<') && message_id.ends_with('>')) {
        message_id = format!("<{message_id}>");
    }
    session.queued_as(format_args!("{time} qp {id}"));
    Verdict::ok(format!("Queued! {time} qp {id} {message_id}"))
}

fn unable(status: i32) -> Verdict {
    let text = format!("Unable to queue message ({status})");
    match status {
        11 => Verdict::deny(text + " (#5.1.3)"),
        12..=40 => Verdict::deny(text + " (#5.3.0)"),
        _ => Verdict::declined(text),
    }
}

#[cfg(test)]
mod tests;
