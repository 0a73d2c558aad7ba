//! ```text
//! NAME
//!     earlytalker - refuses clients that talk before it is their turn
//!
//! SYNOPSIS
//!     earlytalker [wait SECONDS] [check-at CONNECT|DATA ...] [defer-reject 0|1]
//!                 [reject 0|1|naughty] [reject_type TYPE]
//!
//! DESCRIPTION
//!     A client has to wait for the greeting.  Programs that send nothing but spam often do not:
//!     they send their whole session at once.  This plugin waits a moment before the greeting.  It
//!     refuses a client that sends something in that time with "Connecting host started
//!     transmitting before SMTP greeting".
//!
//!     It can also look before the answer to DATA.  With PIPELINING a client may send several
//!     commands at once, but DATA has to be the last of them.  What such a client sent ahead is
//!     read as commands after it was refused, so reject_type disconnect is a good choice there.
//!
//!     A client that may relay or is on a white list is not tested; before the greeting neither is
//!     a client of good karma (above 5).  A client that hangs up instead of waiting is no early
//!     talker, unlike in the Perl plugin of the same name.
//!
//! ARGUMENTS
//!     wait             how many seconds to wait, fractions allowed; 1 by default.  Legitimate
//!                      clients wait at least 30 seconds for a greeting, but not all wait longer.
//!     check-at         CONNECT or DATA; give it twice for both.  CONNECT by default.
//!     defer-reject     1: a client that talks before the greeting gets a greeting all the same,
//!                      and every MAIL is refused; 0 by default.  At the end of the line it needs
//!                      no value; the Perl plugin does nothing with such a line.
//!     reject 1         refuse the client; the default
//!     reject 0         refuse nothing; write to the log what would be refused
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     reject_type      perm, temp, disconnect or temp_disconnect; perm by default.  Before the
//!                      greeting all of them close the connection.
//!     action           for older configurations: deny is reject 1, denysoft is reject 1 with
//!                      reject_type temp, log is reject 0.  The new arguments override it.  The
//!                      Perl plugin of the same name takes denysoft as deny unless defer-reject is
//!                      given, and then takes deny as denysoft.
//!
//! NOTES
//!     earlytalker        on the connection: 1 if the client talked early
//!     earlytalker_wait   on the connection: seconds that another plugin sets instead of wait
//!     karma_history      on the connection: read, not set
//!
//! SEE ALSO
//!     naughty, helo
//! ```

use std::time::Duration;

use crate::error::{Error, Result};
use crate::hook::{Args, Code, DECLINED, Hooks, KARMA_HISTORY, Session, Verdict};
use crate::state::Note;

/// 1 if the client talked early; a note of the connection.
pub const EARLYTALKER: Note<i64> = Note::new("earlytalker");
/// How many seconds to wait for this client; a note of the connection.
pub const EARLYTALKER_WAIT: Note<f64> = Note::new("earlytalker_wait");

const DEFER_REJECT: &str = "defer-reject";

const TEXT: &str = "Connecting host started transmitting before SMTP greeting";

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let args = &with_value(args);
    args.only(&["wait", "check-at", "defer-reject", "action"])?;
    let rules = Rules::from_args(args)?;
    let (at_connect, at_data) = places(args)?;
    let deferred = args.flag(DEFER_REJECT, false)?;
    if at_connect {
        hooks.connect(move |session| before_greeting(session, &rules, deferred));
    }
    if at_data {
        hooks.data(
            move |session| {
                if session.is_immune() { DECLINED } else { look(session, &rules, refuse) }
            },
        );
    }
    if deferred {
        hooks.mail(move |session, _sender, _params| {
            let is_early = session.connection.notes.is_true(EARLYTALKER);
            if is_early && !session.is_immune() { refuse(session, &rules) } else { DECLINED }
        });
    }
    Ok(())
}

/// The arguments with 1 after a `defer-reject` at their end, which Debian's file of plugins describes
/// as a word without a value.
fn with_value(args: &Args) -> Args {
    let is_bare = args.words().last().is_some_and(|word| word.eq_ignore_ascii_case(DEFER_REJECT));
    let one = is_bare.then(|| "1".to_owned());
    Args::new(args.words().iter().cloned().chain(one))
}

/// What the arguments say.
#[derive(Clone, Copy)]
struct Rules {
    wait: Duration,
    /// With what to refuse where there is no `reject_type`; None: not at all.
    code: Option<Code>,
}

/// The actions, with the verdict of each; None: the log tells.
const ACTIONS: [(&str, Option<Code>); 3] =
    [("deny", Some(Code::Deny)), ("denysoft", Some(Code::DenySoft)), ("log", None)];

impl Rules {
    fn from_args(args: &Args) -> Result<Rules> {
        let text = args.named("wait").unwrap_or("1");
        let wait = text.parse().ok().and_then(|wait| Duration::try_from_secs_f64(wait).ok());
        let wait = wait.ok_or_else(|| Error::value("wait", text, "a number of seconds"))?;
        let limit = args.parsed("timeout", 300u64)?;
        if wait >= Duration::from_secs(limit) {
            return Err(Error::new(format!("argument wait has to be less than timeout, {limit}")));
        }
        let deny = Some(Code::Deny);
        let code = match args.named("reject") {
            None => args.one_of("action", &ACTIONS, deny)?,
            Some(_) => deny,
        };
        Ok(Rules { wait, code })
    }
}

/// Whether to look before the greeting, and before the answer to DATA.
fn places(args: &Args) -> Result<(bool, bool)> {
    let (mut at_connect, mut at_data) = (false, false);
    for place in args.all_named("check-at") {
        match place.to_ascii_uppercase().as_str() {
            "CONNECT" => at_connect = true,
            "DATA" => at_data = true,
            _ => return Err(Error::value("check-at", place, "CONNECT, DATA")),
        }
    }
    Ok((at_connect || !at_data, at_data))
}

fn before_greeting(session: &mut Session, rules: &Rules, deferred: bool) -> Verdict {
    if session.is_immune() {
        return DECLINED;
    }
    if let Some(karma) = session.connection.notes.get(KARMA_HISTORY).filter(|karma| *karma > 5) {
        return session.skip(format_args!("karma {karma}"));
    }
    look(session, rules, if deferred { remember } else { refuse })
}

/// Waits, and does something about a client that talks.
fn look(
    session: &mut Session,
    rules: &Rules,
    then: fn(&mut Session, &Rules) -> Verdict,
) -> Verdict {
    let wait = session.connection.notes.get(EARLYTALKER_WAIT);
    let wait = wait.and_then(|wait| Duration::try_from_secs_f64(wait).ok()).unwrap_or(rules.wait);
    if session.client_is_talking(wait) {
        return then(session, rules);
    }
    session.pass("not spontaneous")
}

/// Leaves it to MAIL.
fn remember(session: &mut Session, _rules: &Rules) -> Verdict {
    session.connection.notes.set(EARLYTALKER, 1);
    session.adjust_karma(-1);
    session.fail("to be refused at MAIL")
}

fn refuse(session: &mut Session, rules: &Rules) -> Verdict {
    session.connection.notes.set(EARLYTALKER, 1);
    session.adjust_karma(-1);
    let detail = "remote started talking before we said hello";
    match rules.code {
        Some(code) => session.get_reject_as(code, TEXT, detail),
        None => session.fail(format_args!("tolerated, {detail}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Hook, KARMA, NAUGHTY, WHITELISTHOST};
    use crate::testing::Trial;

    fn talking(line: &str) -> Trial {
        let mut trial = Trial::new(line, &[]);
        trial.client_talks(true);
        trial
    }

    fn code(line: &str, hook: Hook) -> Code {
        talking(line).plain(hook).code()
    }

    #[test]
    fn the_arguments_say_how_to_refuse() {
        for (arguments, found) in [
            ("", Code::Deny),
            ("reject 1", Code::Deny),
            ("reject 0", Code::Declined),
            ("reject naughty", Code::Declined),
            ("reject_type temp", Code::DenySoft),
            ("reject_type disconnect", Code::DenyDisconnect),
            ("action deny", Code::Deny),
            ("action DENYSOFT", Code::DenySoft),
            ("action log", Code::Declined),
            ("action log reject 1", Code::Deny),
            ("action deny reject 0", Code::Declined),
            ("action denysoft reject_type perm", Code::Deny),
            ("action denysoft reject 1", Code::Deny),
        ] {
            assert_eq!(
                code(&format!("earlytalker {arguments}"), Hook::Connect),
                found,
                "{arguments}"
            );
        }
        assert_eq!(code("check_earlytalker", Hook::Connect), Code::Deny);
        assert_eq!(code("async/earlytalker", Hook::Connect), Code::Deny);
    }

    #[test]
    fn a_client_that_talks_is_noted_and_one_that_waits_passes() {
        let mut trial = talking("earlytalker");
        assert_eq!(trial.plain(Hook::Connect).text(), TEXT);
        assert_eq!(trial.session.connection.notes.get(EARLYTALKER), Some(1));
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(-1));
        assert!(trial.log().contains("fail, remote started talking before we said hello"));
        let mut trial = Trial::new("earlytalker", &[]);
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        assert!(trial.log().contains("(connect) earlytalker: pass, not spontaneous"));
        assert!(!trial.session.connection.notes.is_true(EARLYTALKER));
    }

    #[test]
    fn it_looks_where_it_is_told() {
        for (arguments, connect, data) in [
            ("", true, false),
            ("check-at connect", true, false),
            ("check-at DATA", false, true),
            ("check-at DATA check-at CONNECT", true, true),
        ] {
            let line = format!("earlytalker {arguments}");
            assert_eq!(code(&line, Hook::Connect).is_deny(), connect, "{line}");
            assert_eq!(code(&line, Hook::Data).is_deny(), data, "{line}");
        }
    }

    #[test]
    fn it_can_refuse_every_mail_instead() {
        let mut trial = talking("earlytalker defer-reject 1 reject_type temp");
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        for _ in 0..2 {
            assert_eq!(trial.mail("<a@example.net>"), Verdict::denysoft(TEXT));
        }
        trial.session.connection.relay_client = true;
        assert_eq!(trial.mail("<a@example.net>"), DECLINED);
        let mut trial = talking("earlytalker action deny defer-reject");
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        assert_eq!(trial.mail("<a@example.net>"), Verdict::deny(TEXT));
        let mut trial = Trial::new("earlytalker defer-reject 1", &[]);
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        assert_eq!(trial.mail("<a@example.net>"), DECLINED);
    }

    #[test]
    fn naughty_clients_are_marked() {
        let mut trial = talking("earlytalker reject naughty");
        trial.plain(Hook::Connect);
        assert_eq!(trial.session.connection.notes.get(NAUGHTY).as_deref(), Some(TEXT));
    }

    #[test]
    fn some_are_not_looked_at() {
        let line = "earlytalker check-at CONNECT check-at DATA";
        let prepare: [fn(&mut Session); 3] = [
            |session| session.connection.relay_client = true,
            |session| session.connection.notes.set(WHITELISTHOST, "1".into()),
            |session| session.connection.notes.set(KARMA_HISTORY, 6),
        ];
        for (index, prepare) in prepare.iter().enumerate() {
            let mut trial = talking(line);
            prepare(&mut trial.session);
            assert_eq!(trial.plain(Hook::Connect), DECLINED, "{index}");
            assert_eq!(trial.plain(Hook::Data).code().is_deny(), index == 2);
        }
        let mut trial = talking(line);
        trial.session.connection.notes.set(KARMA_HISTORY, 5);
        assert_eq!(trial.plain(Hook::Connect).code(), Code::Deny);
    }

    #[test]
    fn the_time_to_wait_is_the_argument_or_the_note() {
        let waits = std::rc::Rc::new(std::cell::RefCell::new(vec![]));
        for (arguments, note) in [("", None), ("wait 0.25", None), ("wait 3", Some(2.5))] {
            let mut trial = Trial::new(&format!("earlytalker {arguments}"), &[]);
            let kept = waits.clone();
            trial.session.set_early_check(move |wait| {
                kept.borrow_mut().push(wait.as_secs_f64());
                false
            });
            if let Some(note) = note {
                trial.session.connection.notes.set(EARLYTALKER_WAIT, note);
            }
            trial.plain(Hook::Connect);
        }
        assert_eq!(*waits.borrow(), [1.0, 0.25, 2.5]);
    }

    #[test]
    fn arguments_without_meaning_are_errors() {
        for line in [
            "wait long",
            "wait -1",
            "wait inf",
            "wait 300",
            "wait 5 timeout 5",
            "check-at RCPT",
            "action shrug",
            "defer-reject maybe",
            "wait",
            "sleep 1",
        ] {
            assert!(Trial::load(&format!("earlytalker {line}"), &[]).is_err(), "{line}");
        }
    }
}
