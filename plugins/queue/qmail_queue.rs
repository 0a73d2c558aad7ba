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
    (31, "the mail server refuses it for good"),
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
    (71, "the mail server refuses it for now"),
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
mod tests {
    use super::*;
    use crate::hook::{Code, Hook};
    use crate::net::script;
    use crate::testing::Trial;

    const MESSAGE: &str = "Subject: hi\nMessage-Id: <1@a.test>\n\nline\n.\n\nend\n";

    /// A program that keeps what it reads, in its folder.
    const KEEP: &str = "cd ${0%/*}; cat >message; cat <&1 >envelope";

    /// A transaction for a program that is this script.
    fn trial(text: &str) -> (tempfile::TempDir, Trial) {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "qmail-queue", text);
        let mut trial =
            Trial::new(&format!("queue/qmail-queue {} timeout 60", path.display()), &[]);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        trial.rcpt("<\"c d\"@example.com>");
        trial.rcpt("<postmaster>");
        trial.message(MESSAGE);
        (dir, trial)
    }

    fn answer(trial: &mut Trial) -> (Code, String) {
        let verdict = trial.plain(Hook::Queue);
        (verdict.code(), verdict.text().to_owned())
    }

    fn is_queued(trial: &mut Trial, id: &str) {
        let (code, text) = answer(trial);
        let form = format!(r"^Queued! \d{{10}} qp \d+ {id}$");
        assert!(code == Code::Ok && regex::Regex::new(&form).unwrap().is_match(&text), "{text}");
    }

    #[test]
    fn the_program_gets_the_message_and_the_envelope() {
        let (dir, mut trial) = trial(KEEP);
        is_queued(&mut trial, "<1@a.test>");
        let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("message"), MESSAGE);
        let want = "Fa@example.net\0Tb@example.com\0Tc d@example.com\0Tpostmaster\0\0";
        assert_eq!(read("envelope"), want);
        assert!(trial.log().contains("(queue) queue/qmail-queue: Queuing to /"));
    }

    #[test]
    fn the_null_sender_and_a_message_without_anything() {
        let (dir, mut trial) = trial(KEEP);
        trial.mail("<>");
        trial.message("");
        is_queued(&mut trial, "<>");
        let envelope = std::fs::read_to_string(dir.path().join("envelope")).unwrap();
        assert!(envelope.starts_with("F\0Tb@example.com\0"), "{envelope}");
        assert_eq!(std::fs::metadata(dir.path().join("message")).unwrap().len(), 0);
        trial.message("Message-Id: one two\n\n");
        is_queued(&mut trial, "<one two>");
    }

    #[test]
    fn statuses_are_for_good_or_for_now() {
        for (status, code, text) in [
            (1, Code::Declined, "Unable to queue message (1)"),
            (10, Code::Declined, "Unable to queue message (10)"),
            (11, Code::Deny, "Unable to queue message (11) (#5.1.3)"),
            (31, Code::Deny, "Unable to queue message (31) (#5.3.0)"),
            (40, Code::Deny, "Unable to queue message (40) (#5.3.0)"),
            (41, Code::Declined, "Unable to queue message (41)"),
            (71, Code::Declined, "Unable to queue message (71)"),
            (91, Code::Declined, "Unable to queue message (91)"),
            (120, Code::Declined, "Unable to queue message (120)"),
        ] {
            let (_dir, mut trial) = trial(&format!("cat >/dev/null; cat <&1 >&2; exit {status}"));
            assert_eq!(answer(&mut trial), (code, text.to_owned()));
            assert!(trial.log().contains(&format!("exit status {status}: ")), "{}", trial.log());
        }
    }

    #[test]
    fn one_that_refuses_early_is_believed() {
        let text = format!("Subject: large\n\n{}", "x\n".repeat(200_000));
        for (status, code) in [(31, Code::Deny), (53, Code::Declined)] {
            let (_dir, mut trial) = trial(&format!("echo full >&2; exit {status}"));
            trial.message(&text);
            assert_eq!(answer(&mut trial).0, code);
            assert!(trial.log().contains("it says: full"), "{}", trial.log());
        }
    }

    #[test]
    fn what_may_have_been_queued_is_a_failure() {
        let large = format!("Subject: large\n\n{}", "x\n".repeat(200_000));
        for (text, message, why) in [
            ("cat >/dev/null; kill -9 $$", MESSAGE, "it ended with signal: 9"),
            ("exit 0", large.as_str(), "Broken pipe"),
        ] {
            let (_dir, mut trial) = trial(text);
            trial.message(message);
            assert!(trial.plain(Hook::Queue).is_failure());
            assert!(trial.log().contains(why), "{}", trial.log());
        }
    }

    #[test]
    fn one_that_takes_too_long_is_ended() {
        let large = format!("Subject: large\n\n{}", "x\n".repeat(200_000));
        for (text, message) in [
            ("cat >/dev/null; cat <&1 >/dev/null; exec sleep 600", MESSAGE),
            ("exec sleep 600", MESSAGE),
            ("exec sleep 600", large.as_str()),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = script(dir.path(), "slow", text);
            let line = format!("queue/qmail-queue {} timeout 1", path.display());
            let mut trial = Trial::new(&line, &[]);
            trial.mail("<a@example.net>");
            trial.rcpt("<b@example.com>");
            trial.message(message);
            assert!(trial.plain(Hook::Queue).is_failure());
            assert!(trial.log().contains("the program takes too long"), "{}", trial.log());
        }
    }

    #[test]
    fn a_message_that_cannot_be_read_is_not_queued() {
        let (dir, mut trial) = trial(&format!("{KEEP}; touch ended"));
        trial.message(&format!("Subject: large\n\n{}", "x\n".repeat(200_000)));
        let path = trial.session.transaction.body.filename().unwrap().to_owned();
        std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(9).unwrap();
        assert!(trial.plain(Hook::Queue).is_failure());
        assert!(!dir.path().join("envelope").exists() && !dir.path().join("ended").exists());
    }

    #[test]
    fn one_that_is_not_there_is_for_later() {
        let mut trial = Trial::new("queue/qmail-queue /nonexistent/program", &[]);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        trial.message(MESSAGE);
        let want = (Code::Declined, "Unable to queue message (6)".to_owned());
        assert_eq!(answer(&mut trial), want);
        assert!(
            trial.log().contains("cannot run /nonexistent/program: No such file"),
            "{}",
            trial.log()
        );
    }

    #[test]
    fn the_environment_and_the_argument_say_which() {
        for (qmail, queue, argument, want) in [
            ("", "", None, "/var/qmail/bin/qmail-queue"),
            ("/q", "", None, "/q/bin/qmail-queue"),
            ("/q", "", Some("/bin/x"), "/bin/x"),
            ("/q", "/env", Some("/bin/x"), "/env"),
            ("/q", "/env", None, "/env"),
        ] {
            let variable = |name: &str| Some(if name == "QMAIL" { qmail } else { queue }.into());
            assert_eq!(path(argument, variable).unwrap(), Path::new(want));
        }
        let error = path(Some("bin/x"), |_| None).unwrap_err().to_string();
        assert_eq!(error, "not a path that begins with /: 'bin/x'");
    }

    #[test]
    fn more_arguments_are_told() {
        let trial = Trial::new("queue/qmail-queue /bin/true more", &[]);
        assert!(trial.log().contains("WARNING: Ignoring additional arguments."), "{}", trial.log());
    }
}
