//! ```text
//! NAME
//!     badrcptto - refuses recipients that are closed
//!
//! SYNOPSIS
//!     badrcptto
//!
//! DESCRIPTION
//!     Refuses with 550 an envelope recipient that is listed in config/badrcptto.  The first
//!     matching line decides, and its reason is the reply; without a reason the reply is "mail to
//!     ENTRY not accepted here (#5.1.1)".
//!
//!     A client that may relay or is on a white list may send to every recipient, and a recipient
//!     without a domain, such as postmaster, is never refused.  Place the plugin before rcpt_ok.
//!
//!     The Perl plugin of the same name does not show the reasons.  It also puts patterns into
//!     lower case, which turns \S into \s.
//!
//! CONFIG
//!     badrcptto   one ENTRY [REASON] per line.  An entry is
//!
//!                     former@example.com      an address
//!                     @old.example.com        all addresses of a host
//!                     ^[^@]*%[^@]*@           a regular expression
//!
//!     Entries are written as in config/badmailfrom, and a line that cannot be used is treated as
//!     there.  The manual of badmailfrom says which characters make an entry a regular expression,
//!     and which parts of Perl's syntax are missing.
//!
//! SEE ALSO
//!     badmailfrom, badmailfromto, rcpt_ok
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, Verdict, dsn};
use crate::mail::patterns::{Patterns, is_whole};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let list = hooks.derived_checked("badrcptto", Patterns::parse);
    hooks.rcpt(move |session, recipient, _params| {
        if session.is_immune() {
            return DECLINED;
        }
        if !is_whole(recipient) {
            return session.skip("missing host or user");
        }
        let list = session.derived(&list);
        if list.is_empty() {
            return session.skip("empty config");
        }
        let Some(entry) = list.find(recipient) else {
            return session.pass("");
        };
        session.adjust_karma(-2);
        session.fail(format_args!("{recipient} matches {}", entry.bad));
        if entry.reason.is_empty() {
            dsn::no_such_user(&format!("mail to {} not accepted here", entry.bad))
        } else {
            Verdict::deny(entry.reason.clone())
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::hook::{Code, KARMA, WHITELISTSENDER};
    use crate::testing::Trial;

    const LIST: &str = "Nope@example.com\n@sub.example.org\n\\s%\\S no percent hack\n";

    #[test]
    fn closed_recipients_get_the_entry_or_the_reason() {
        let mut trial = Trial::new("badrcptto", &[("badrcptto", LIST)]);
        for (path, text) in [
            ("<nope@Example.com>", "mail to Nope@example.com not accepted here (#5.1.1)"),
            ("<x@sub.example.org>", "mail to @sub.example.org not accepted here (#5.1.1)"),
            ("<\"a %b\"@example.com>", "no percent hack"),
        ] {
            let verdict = trial.rcpt(path);
            assert_eq!((verdict.code(), verdict.text()), (Code::Deny, text), "{path}");
        }
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(-6));
        assert!(trial.log().contains("(rcpt) badrcptto: fail, <nope@Example.com> matches Nope@"));
        assert_eq!(trial.rcpt("<a@example.com>").code(), Code::Declined);
        assert!(trial.log().contains("(rcpt) badrcptto: pass"));
    }

    #[test]
    fn postmaster_and_immune_clients_pass() {
        let mut trial = Trial::new("badrcptto", &[("badrcptto", "^")]);
        assert_eq!(trial.rcpt("<postmaster>").code(), Code::Declined);
        assert!(trial.log().contains("skip, missing host or user"));
        assert_eq!(trial.rcpt("<a@example.com>").code(), Code::Deny);
        trial.session.transaction.notes.set(WHITELISTSENDER, "yes".into());
        assert_eq!(trial.rcpt("<a@example.com>").code(), Code::Declined);
        trial.session.transaction.notes.unset(WHITELISTSENDER);
        trial.session.connection.relay_client = true;
        assert_eq!(trial.rcpt("<a@example.com>").code(), Code::Declined);
    }

    #[test]
    fn without_a_list_every_recipient_passes() {
        let mut trial = Trial::new("badrcptto", &[]);
        assert_eq!(trial.rcpt("<nope@example.com>").code(), Code::Declined);
        assert!(trial.log().contains("skip, empty config"));
        assert!(Trial::load("badrcptto somewhere", &[]).is_err());
    }

    #[test]
    fn a_line_that_cannot_be_used_is_logged_and_skipped() {
        let mut trial = Trial::new("badrcptto", &[("badrcptto", "nope\nnope@example.com")]);
        assert_eq!(trial.rcpt("<nope@example.com>").code(), Code::Deny);
        assert!(trial.log().contains("badrcptto:1: no @ sign in 'nope'"));
        trial.set_config("badrcptto", "other@example.com");
        assert_eq!(trial.rcpt("<nope@example.com>").code(), Code::Declined);
    }
}
