//! ```text
//! NAME
//!     queue/exim-bsmtp - hands messages to Exim
//!
//! SYNOPSIS
//!     queue/exim-bsmtp [exim_path PROGRAM]
//!
//! DESCRIPTION
//!     Runs Exim for each message, and gives it the message as batched SMTP.  If Exim ends with
//!     status 0 it has the message safely in its spool, and the client is told "Queued!".
//!
//!     Exim's refusals are passed on with code and text: 4xx is temporary, 5xx permanent.  Exim
//!     also says 550 if an ACL for messages defers; if the ACL's text begins with a status such as
//!     4.7.1 the client gets 450.
//!
//!     If Exim fails without an answer, or cannot be run, the next queue plugin may take the
//!     message; without one the client gets 451 "Internal error enqueuing mail".  If Exim is ended
//!     by a signal, or by this plugin because the time limit is over, nobody knows whether it has
//!     the message.  Then the client gets 451, and no other plugin is asked.  All that Exim says is
//!     logged.
//!
//!     The server's user has to be one of trusted_users in Exim's configuration; otherwise messages
//!     come from that user instead of their senders.
//!
//!     Exim accepts no parameters of MAIL and RCPT in batched SMTP, so DSN (RFC 3461) is not
//!     offered with this plugin.
//!
//!     The Perl plugin of the same name refuses permanently what Exim refuses temporarily, writes
//!     addresses without the quotes that some need, and does not double a dot at the start of a
//!     header line.
//!
//! ARGUMENTS
//!     exim_path PROGRAM   the path of Exim, which is run with the argument -bS; /usr/sbin/rsmtp by
//!                         default
//!
//!     queue/exim-bsmtp exim_path /usr/sbin/exim4
//!
//! PRIVILEGES
//!     Exim runs as root (set-uid).  So with this plugin workers may start programs that gain
//!     rights of their own, unless config/no_new_privs is "yes".
//!
//! SEE ALSO
//!     queue/smtp-forward, queue/postfix-queue
//! ```

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result};
use crate::forward::{CrlfLines, Reply, Stuffer};
use crate::hook::{Args, Hooks, Outside, Session, Verdict};
use crate::log::Level;
use crate::net::Program;
use crate::plugins::host_name;

/// Exim under the name that makes it read batched SMTP.
const EXIM: &str = "/usr/sbin/rsmtp";

/// How much of a message is written at a time, in octets.
const CHUNK: usize = 64 * 1024;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["exim_path"])?;
    let exim = args.named("exim_path").unwrap_or(EXIM).to_owned();
    let found = fs::metadata(&exim);
    if !found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0) {
        let text = format!("Could not find exim at {exim}; please set exim_path in config/plugins");
        return Err(Error::new(text));
    }
    let host = host_name();
    hooks.queue(move |session| queue(session, Path::new(&exim), &host));
    Ok(())
}

fn queue(session: &mut Session, exim: &Path, host: &str) -> io::Result<Verdict> {
    let mut command = Command::new(exim);
    command.arg("-bS");
    let call = Outside::begin("exim");
    let mut program = match Program::run(command, session.deadline()) {
        Ok(program) => program,
        Err(error) => {
            session.end_outside(call, &Err::<(), _>(&error));
            session.log(Level::Error, format_args!("cannot run {}: {error}", exim.display()));
            return Ok(unable());
        }
    };
    let sent = match send(session, &mut program, host) {
        // At the first mistake it stops to read, and says why.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
        sent => sent,
    };
    let ended = program.finish();
    session.end_outside(call, &ended);
    let ended = ended?;
    for line in &ended.lines {
        session.log(Level::Error, format_args!("exim: {line}"));
    }
    let status = ended.status()?;
    if let Some(reply) = ended.lines.iter().find_map(|line| refusal(line)) {
        return Ok(reply.refusal());
    }
    if status != 0 {
        session.log(Level::Error, format_args!("exit status {status} from {} -bS", exim.display()));
        return Ok(unable());
    }
    sent?;
    session.log(Level::Info, "Enqueued to exim via BSMTP");
    Ok(Verdict::ok("Queued!"))
}

/// Writes the envelope and the message, as a client that waits for no replies.
fn send(session: &Session, program: &mut Program, host: &str) -> io::Result<()> {
    let transaction = &session.transaction;
    let mut out = BufWriter::with_capacity(CHUNK, program);
    write!(out, "HELO {host}\r\n")?;
    match transaction.sender() {
        Some(sender) => write!(out, "MAIL FROM:{sender}\r\n")?,
        None => write!(out, "MAIL FROM:<>\r\n")?,
    }
    for recipient in transaction.recipients() {
        write!(out, "RCPT TO:{recipient}\r\n")?;
    }
    write!(out, "DATA\r\n")?;
    let mut lines = CrlfLines::new(Stuffer::new(out));
    transaction.write_message(&mut lines)?;
    let mut out = lines.finish()?.finish()?;
    write!(out, "QUIT\r\n")?;
    out.flush()
}

/// A line that begins with a code of 400 to 599.
fn refusal(line: &str) -> Option<Reply> {
    let (code, text) = line.trim_start().split_once(' ')?;
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let code: u16 = code.parse().ok().filter(|code| is_code && (400..600).contains(code))?;
    // The status of an ACL that defers says more than the code, which is always 550.
    let is_deferred = code >= 500 && text.starts_with("4.");
    let code = if is_deferred { code - 100 } else { code };
    Some(Reply { code, lines: vec![text.to_owned()] })
}

fn unable() -> Verdict {
    Verdict::declined("Internal error enqueuing mail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Code, Hook};
    use crate::net::script;
    use crate::testing::Trial;
    use tempfile::TempDir;

    const MESSAGE: &str = "Subject: hi\n.odd\n\nline\n.\n..two\n\nend\n";

    /// A transaction for a program that is this script.
    fn trial_with(text: &str, more: &str) -> (TempDir, Trial) {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "exim", text);
        let line = format!("queue/exim-bsmtp exim_path {} {more}", path.display());
        let mut trial = Trial::new(&line, &[]);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        trial.rcpt("<\"c d\"@example.com>");
        trial.message(MESSAGE);
        (dir, trial)
    }

    fn trial(text: &str) -> (TempDir, Trial) {
        trial_with(text, "timeout 60")
    }

    /// The code, the code of the reply where it is Exim's, and the text.
    fn answer(trial: &mut Trial) -> (Code, Option<u16>, String) {
        let verdict = trial.plain(Hook::Queue);
        assert!(!verdict.is_failure(), "{}", trial.log());
        (verdict.code(), verdict.reply(), verdict.text().to_owned())
    }

    #[test]
    fn exim_gets_batched_smtp() {
        let (dir, mut trial) = trial("[ \"$*\" = -bS ] && exec cat >${0%/*}/got");
        assert_eq!(answer(&mut trial), (Code::Ok, None, "Queued!".to_owned()));
        let got = || fs::read_to_string(dir.path().join("got")).unwrap();
        let want = format!(
            "HELO {}\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\n\
            RCPT TO:<\"c d\"@example.com>\r\nDATA\r\nSubject: hi\r\n..odd\r\n\r\nline\r\n..\r\n\
            ...two\r\n\r\nend\r\n.\r\nQUIT\r\n",
            host_name()
        );
        assert_eq!(got(), want);
        trial.mail("<>");
        trial.message("");
        assert_eq!(answer(&mut trial).0, Code::Ok);
        assert!(got().contains("\r\nMAIL FROM:<>\r\n") && got().ends_with("DATA\r\n.\r\nQUIT\r\n"));
    }

    #[test]
    fn refusals_are_passed_on() {
        let internal = "Internal error enqueuing mail";
        for (said, status, code, reply, text) in [
            ("550 5.7.9 not you", 2, Code::Deny, Some(550), "not you (#5.7.9)"),
            ("552 too big", 2, Code::Deny, Some(552), "too big"),
            ("  452 too many", 2, Code::DenySoft, Some(452), "too many"),
            ("421 gone", 2, Code::DenySoft, Some(451), "gone"),
            ("550 4.7.9 later", 2, Code::DenySoft, Some(450), "later (#4.7.9)"),
            ("note\n501 bad\nline 5", 2, Code::Deny, Some(501), "bad"),
            ("550 no", 0, Code::Deny, Some(550), "no"),
            ("insufficient disk space", 1, Code::Declined, None, internal),
            ("2026-01-01 no disk", 1, Code::Declined, None, internal),
            ("+55 no\n5500 no\n599", 1, Code::Declined, None, internal),
            ("", 2, Code::Declined, None, internal),
        ] {
            let (_dir, mut trial) = trial(&format!("cat >/dev/null; echo '{said}'; exit {status}"));
            assert_eq!(answer(&mut trial), (code, reply, text.to_owned()), "{said}");
            let log = trial.log();
            assert!(said.lines().all(|line| log.contains(&format!("exim: {line}"))), "{log}");
        }
    }

    #[test]
    fn output_without_a_refusal_is_only_logged() {
        let (_dir, mut trial) = trial("cat >/dev/null; echo hello >&2");
        assert_eq!(answer(&mut trial).0, Code::Ok);
        assert!(trial.log().contains("exim: hello"), "{}", trial.log());
    }

    #[test]
    fn one_that_stops_reading_is_believed() {
        let (_dir, mut trial) = trial("exec <&-; echo 552 too big; exit 2");
        trial.message(&format!("Subject: large\n\n{}", "x\n".repeat(200_000)));
        let want = (Code::Deny, Some(552), "too big".to_owned());
        assert_eq!(answer(&mut trial), want);
    }

    #[test]
    fn what_may_have_been_queued_is_a_failure() {
        let large = format!("Subject: large\n\n{}", "x\n".repeat(200_000));
        for (text, more, message, why) in [
            ("cat >/dev/null; kill -9 $$", "", MESSAGE, "it ended with signal: 9"),
            ("exit 0", "", large.as_str(), "Broken pipe"),
            ("exec sleep 600", "timeout 1", MESSAGE, "the program takes too long"),
            ("exec sleep 600", "timeout 1", large.as_str(), "the program takes too long"),
        ] {
            let (_dir, mut trial) = trial_with(text, more);
            trial.message(message);
            assert!(trial.plain(Hook::Queue).is_failure(), "{text}");
            assert!(trial.log().contains(why), "{}", trial.log());
        }
    }

    #[test]
    fn exim_has_to_be_there() {
        for path in ["/nonexistent", "/", "/etc/passwd"] {
            let line = format!("queue/exim-bsmtp exim_path {path}");
            let error = Trial::load(&line, &[]).err().unwrap().to_string();
            let want = format!("Could not find exim at {path}; please set exim_path in");
            assert!(error.contains(&want), "{error}");
        }
        assert!(Trial::load("queue/exim-bsmtp /usr/sbin/exim4", &[]).is_err());
        let (dir, mut trial) = trial("exit 0");
        fs::remove_file(dir.path().join("exim")).unwrap();
        let want = (Code::Declined, None, "Internal error enqueuing mail".to_owned());
        assert_eq!(answer(&mut trial), want);
        assert!(trial.log().contains("cannot run /"), "{}", trial.log());
    }
}
