//! ```text
//! NAME
//!     logging/adaptive - logs much about refused messages and little about accepted ones
//!
//! SYNOPSIS
//!     logging/adaptive [accept LEVEL] [reject LEVEL] [prefix TEXT]
//!     logging/adaptive ACCEPT REJECT
//!
//! DESCRIPTION
//!     Writes lines "PID[SESSION] (HOOK) PLUGIN: TEXT" to standard error, as logging/warn does, up
//!     to the level "reject".  When a message was queued, and nothing in its transaction was
//!     refused, those lines of the transaction that are as important as "accept" are written once
//!     more, with a prefix: "PID[SESSION] ` (HOOK) PLUGIN: TEXT".  So a program that reads the log
//!     can put the two kinds into different files.  The plugin belongs in config/logging.
//!
//!     With multilog, as log/run:
//!
//!         exec multilog t '-*` *' ./main/detailed '-*' '+*` *' ./main/accepted
//!
//!     At most 1000 lines of a transaction are kept to be written again.
//!
//!     With the Perl plugin of the same name, one refusal silences a process for ever, and
//!     transactions that ended with RSET count as accepted; two levels without names, as the sample
//!     configuration has them, have no effect there.
//!
//! ARGUMENTS
//!     accept LEVEL   the least important level of lines about accepted messages; LOGERROR by
//!                    default
//!     reject LEVEL   the least important level of all lines; LOGWARN by default
//!     prefix TEXT    the text before lines about accepted messages; ` by default
//!
//! SEE ALSO
//!     logging/warn, docs/logging.md
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::Result;
use crate::hook::{Args, Code, DECLINED, Hook, Hooks};
use crate::log::{self, Level, Record};

/// How many lines of a transaction are kept.
const MOST: usize = 1000;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    register_with(hooks, args, log::line_to_stderr)
}

fn register_with(hooks: &mut Hooks, args: &Args, write: impl Fn(&str) + 'static) -> Result<()> {
    hooks.reads_reject();
    let (accept, reject) = levels(args)?;
    let prefix = args.named("prefix").unwrap_or("`").to_owned();
    let state = Rc::new(RefCell::new(Transaction::default()));
    let write = Rc::new(write);

    let (kept, writer) = (state.clone(), write.clone());
    hooks.logging(reject, move |record| {
        writer(&format!("{}{}", std::process::id(), record.entry()));
        if record.level <= accept {
            kept.borrow_mut().keep(record, &prefix);
        }
        DECLINED
    });
    let refused = state.clone();
    hooks.deny(move |_session, _result| refused.borrow_mut().refused = true);
    let queued = state.clone();
    hooks.ok(move |_session, result| {
        if result.hook == Hook::Queue.name() && result.verdict.code() == Code::Ok {
            queued.borrow_mut().queued = true;
        }
    });
    hooks.reset_transaction(move |_session| {
        let done = state.take();
        if done.queued && !done.refused {
            done.lines.iter().for_each(|line| write(line));
        }
    });
    Ok(())
}

/// The levels of lines about accepted messages, and of all lines.
fn levels(args: &Args) -> Result<(Level, Level)> {
    // The sample configuration of Perl qpsmtpd has them without names.
    if let [accept, reject] = args.positional()[..]
        && let (Ok(accept), Ok(reject)) = (accept.parse(), reject.parse())
    {
        return Ok((accept, reject));
    }
    args.only(&["accept", "prefix"])?;
    Ok((args.parsed("accept", Level::Error)?, args.parsed("reject", Level::Warn)?))
}

/// What is known since a transaction ended for the last time.
#[derive(Default)]
struct Transaction {
    session: String,
    lines: Vec<String>,
    refused: bool,
    queued: bool,
}

impl Transaction {
    fn keep(&mut self, record: &Record<'_>, prefix: &str) {
        if record.session.is_empty() {
            return;
        }
        if self.session != record.session {
            *self = Transaction { session: record.session.to_owned(), ..Transaction::default() };
        }
        if self.lines.len() < MOST {
            let (process, session) = (std::process::id(), record.session);
            self.lines.push(format!("{process}[{session}] {prefix}{}", record.line()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{OK, Verdict};
    use crate::testing::Trial;
    use std::io::Write;

    /// The plugin with lines that go to a file, and one that refuses user "bad" and queues.
    fn with_file(hooks: &mut Hooks, args: &Args) -> Result<()> {
        let path = hooks.config().expand("~/written");
        register_with(hooks, args, move |line| {
            let file = std::fs::File::options().append(true).create(true).open(&path);
            writeln!(file.unwrap(), "{line}").unwrap();
        })?;
        hooks.mail(|session, sender, _| session.log(Level::Notice, sender));
        hooks.rcpt(|session, recipient, _| {
            session.log(Level::Info, "looking");
            if recipient.user() == "bad" { Verdict::deny("no") } else { OK }
        });
        hooks.queue(|session| {
            session.log(Level::Error, "queueing");
            OK
        });
        Ok(())
    }

    fn trial() -> Trial {
        Trial::with(with_file, "accept LOGNOTICE reject LOGINFO", &[])
    }

    /// What was written since the last time, without process and session.
    fn written(trial: &Trial) -> Vec<String> {
        let path = trial.dir().join("written");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        let start = format!("{}[trial]", std::process::id());
        text.lines().map(|line| line.strip_prefix(&start).unwrap().to_owned()).collect()
    }

    fn transaction(trial: &mut Trial, recipient: &str, queue: bool) -> Vec<String> {
        trial.plain(Hook::ResetTransaction);
        written(trial);
        trial.mail("<a@x.test>");
        trial.rcpt(recipient);
        if queue {
            trial.plain(Hook::Queue);
        }
        assert!(written(trial).iter().all(|line| line.starts_with(" (")));
        trial.plain(Hook::ResetTransaction);
        written(trial)
    }

    #[test]
    fn levels_need_no_names() {
        let mut trial = Trial::with(with_file, "5 6", &[]);
        let again = ["` (mail) trial: <a@x.test>", "` (queue) trial: queueing"];
        let again = again.map(|line| format!(" {line}"));
        assert_eq!(transaction(&mut trial, "<b@x.test>", true), again);
        for line in ["4", "4 LOUD", "4 6 8", "4 6 accept 4"] {
            assert!(Trial::load(&format!("logging/adaptive {line}"), &[]).is_err(), "{line}");
        }
    }

    #[test]
    fn accepted_messages_are_told_once_more_with_a_prefix() {
        let mut trial = trial();
        let again = ["` (mail) trial: <a@x.test>", "` (queue) trial: queueing"];
        let again = again.map(|line| format!(" {line}"));
        assert_eq!(transaction(&mut trial, "<b@x.test>", true), again);
        assert_eq!(transaction(&mut trial, "<bad@x.test>", true), Vec::<String>::new());
        // The refusal belongs to its transaction.
        assert_eq!(transaction(&mut trial, "<b@x.test>", true), again);
        assert_eq!(transaction(&mut trial, "<b@x.test>", false), Vec::<String>::new());
        let mut marked = Trial::with(with_file, "accept 5 reject 6 prefix + loglevel 5", &[]);
        let lines = transaction(&mut marked, "<b@x.test>", true);
        assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with(" + (")));
    }

    #[test]
    fn all_lines_up_to_reject_are_written_at_once() {
        let mut trial = trial();
        trial.mail("<a@x.test>");
        trial.rcpt("<bad@x.test>");
        let at_once = [" (mail) trial: <a@x.test>", " (rcpt) trial: looking"];
        assert_eq!(written(&trial), at_once);
        let mut quiet = Trial::with(with_file, "", &[]);
        quiet.mail("<a@x.test>");
        assert_eq!(written(&quiet), Vec::<String>::new());
        quiet.plain(Hook::Queue);
        assert_eq!(written(&quiet), [" (queue) trial: queueing"]);
    }

    #[test]
    fn the_lines_that_are_kept_are_limited() {
        let mut trial = trial();
        trial.plain(Hook::Queue);
        for _ in 0..MOST + 10 {
            trial.session.log(Level::Notice, "more");
        }
        written(&trial);
        trial.plain(Hook::ResetTransaction);
        assert_eq!(written(&trial).len(), MOST);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (line, why) in [
            ("logging/adaptive accept LOUD", "'LOUD' is not a log level"),
            ("logging/adaptive reject naughty", "'naughty' is not a log level"),
            ("logging/adaptive LOGINFO", "unknown argument 'LOGINFO'"),
            ("logging/adaptive prefix", "argument prefix has no value"),
        ] {
            let error = Trial::load(line, &[]).err().unwrap_or_else(|| panic!("{line}"));
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
        assert!(Trial::load("logging/adaptive accept LOGINFO reject 4 prefix +", &[]).is_ok());
    }
}
