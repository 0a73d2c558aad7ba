//! ```text
//! NAME
//!     badmailfrom - refuses unwelcome senders
//!
//! SYNOPSIS
//!     badmailfrom
//!     badmailfrom reject 0|1|naughty reject_type TYPE
//!
//! DESCRIPTION
//!     Refuses an envelope sender that is listed in config/badmailfrom.  The first matching line
//!     decides, and its reason is the reply; without a reason the reply is "Your envelope sender is
//!     in my badmailfrom list".
//!
//!     The null sender <> is never refused, nor is a client that may relay or is on a white list.
//!
//! ARGUMENTS
//!     reject 1         refuse at once, with 550; the default
//!     reject 0         refuse nothing; write to the log what would be refused
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     reject_type      perm, temp, disconnect or temp_disconnect; perm by default
//!
//! CONFIG
//!     badmailfrom   one ENTRY [REASON] per line.  An entry is
//!
//!                       spammer@example.net       an address
//!                       @example.net              all addresses of a host
//!                       ^bounce.*@.*\.example$    a regular expression
//!
//!     An entry with one of the characters / ^ $ * + ! % ? \ is a regular expression, without
//!     slashes around it.  It is searched for in user@host, so anchor it with ^ and $ if it has to
//!     match the whole address.  Write \+ for a literal +, and so on.  Case does not matter.
//!
//!     Regular expressions are those of the Rust crate regex, which has nearly all of Perl's
//!     syntax, but no look-around such as (?!x) and no backreferences such as \1.  A line whose
//!     pattern does not compile is skipped, and reported in the log with its place; so is a line
//!     that is no pattern and has no @.
//!
//! SEE ALSO
//!     badmailfromto, badrcptto, naughty
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks};
use crate::log::Level;
use crate::mail::patterns::{Patterns, is_whole};

const REASON: &str = "Your envelope sender is in my badmailfrom list";

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let list = hooks.derived_checked("badmailfrom", Patterns::parse);
    hooks.mail(move |session, sender, _params| {
        if session.is_immune() {
            return DECLINED;
        }
        let list = session.derived(&list);
        if list.is_empty() {
            session.log(Level::Debug, "skip, empty list");
            return DECLINED;
        }
        if !is_whole(sender) {
            let what = if sender.is_null() { "null sender" } else { "missing user or host" };
            session.log(Level::Debug, format_args!("skip, {what}"));
            return DECLINED;
        }
        let Some(entry) = list.find(sender) else {
            return session.pass("");
        };
        session.adjust_karma(-1);
        let reason = if entry.reason.is_empty() { REASON } else { &entry.reason };
        session.get_reject_logged(reason, format_args!("{sender} matches {}", entry.bad))
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::REASON;
    use crate::hook::{Code, KARMA, NAUGHTY, WHITELISTHOST};
    use crate::testing::Trial;

    const LIST: &str = "bad@example.net\n@evil.test  go away\n^verp.*@ no verp\n";

    fn trial(line: &str) -> Trial {
        Trial::new(line, &[("badmailfrom", LIST)])
    }

    #[test]
    fn unwelcome_senders_get_the_reason() {
        let mut trial = trial("badmailfrom");
        for (path, text) in [
            ("<Bad@Example.net>", REASON),
            ("<any@EVIL.test>", "go away"),
            ("<verp-1=b@c.test>", "no verp"),
        ] {
            let verdict = trial.mail(path);
            assert_eq!((verdict.code(), verdict.text()), (Code::Deny, text), "{path}");
        }
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(-3));
        assert!(
            trial.log().contains("(mail) badmailfrom: fail, <any@EVIL.test> matches @evil.test")
        );
        assert_eq!(trial.mail("<good@example.net>").code(), Code::Declined);
        assert!(trial.log().ends_with("returned DECLINED"));
        assert!(trial.log().contains("(mail) badmailfrom: pass"));
    }

    #[test]
    fn the_null_sender_and_immune_clients_pass() {
        let mut trial = trial("badmailfrom");
        trial.set_config("badmailfrom", "^\n");
        assert_eq!(trial.mail("<>").code(), Code::Declined);
        assert!(trial.log().contains("skip, null sender"));
        assert_eq!(trial.mail("<postmaster>").code(), Code::Declined);
        assert!(trial.log().contains("skip, missing user or host"));
        assert_eq!(trial.mail("<a@b.test>").code(), Code::Deny);
        trial.session.connection.notes.set(WHITELISTHOST, "yes".into());
        assert_eq!(trial.mail("<a@b.test>").code(), Code::Declined);
        trial.session.connection.notes.unset(WHITELISTHOST);
        trial.session.connection.relay_client = true;
        assert_eq!(trial.mail("<a@b.test>").code(), Code::Declined);
    }

    #[test]
    fn without_a_list_nobody_is_refused() {
        let mut trial = Trial::new("badmailfrom", &[]);
        assert_eq!(trial.mail("<bad@example.net>").code(), Code::Declined);
        assert!(trial.log().contains("skip, empty list"));
    }

    #[test]
    fn reject_says_whether_and_how() {
        let bad = "<bad@example.net>";
        let mut tolerant = trial("badmailfrom reject 0");
        assert_eq!(tolerant.mail(bad).code(), Code::Declined);
        assert!(tolerant.log().contains("fail, tolerated, <bad@example.net> matches"));
        let mut later = trial("badmailfrom reject naughty");
        assert_eq!(later.mail(bad).code(), Code::Declined);
        assert_eq!(later.session.connection.notes.get(NAUGHTY).as_deref(), Some(REASON));
        assert_eq!(trial("badmailfrom reject 1").mail(bad).code(), Code::Deny);
        assert_eq!(trial("badmailfrom reject_type temp").mail(bad).code(), Code::DenySoft);
        assert!(Trial::load("badmailfrom rejects 1", &[]).is_err());
    }

    #[test]
    fn a_line_that_is_no_pattern_is_logged_once_and_skipped() {
        let list = "^(?!x)\nbad@example.net\n";
        let mut trial = Trial::new("badmailfrom", &[("badmailfrom", list)]);
        assert_eq!(trial.mail("<bad@example.net>").code(), Code::Deny);
        assert_eq!(trial.mail("<a@example.net>").code(), Code::Declined);
        assert_eq!(trial.log().matches("badmailfrom:1: pattern '^(?!x)' does not").count(), 1);
    }
}
