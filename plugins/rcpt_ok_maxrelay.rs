//! ```text
//! NAME
//!     rcpt_ok_maxrelay - rcpt_ok with a limit on attempts to relay
//!
//! SYNOPSIS
//!     rcpt_ok_maxrelay [MAX_RELAY_ATTEMPTS]
//!
//! DESCRIPTION
//!     Decides about recipients as rcpt_ok does, and counts how often a client was refused a
//!     recipient because it may not relay.  After MAX_RELAY_ATTEMPTS such attempts, the next one
//!     gets 550 "Too many relaying attempts", and the connection is closed.
//!
//!     Load it instead of rcpt_ok, as the last plugin that decides about recipients; do not load
//!     both.
//!
//! ARGUMENTS
//!     MAX_RELAY_ATTEMPTS   5 by default; 0 means no limit
//!
//! CONFIG
//!     As for rcpt_ok.
//!
//! NOTES
//!     count_relay_attempts   on the connection: the number of attempts
//!
//! SEE ALSO
//!     rcpt_ok, docs/plugins.md
//! ```

use crate::error::Result;
use crate::hook::{Args, Code, Hooks, dsn};
use crate::state::Note;

/// How many recipients this client was refused; a note of the connection.
pub const ATTEMPTS: Note<i64> = Note::new("count_relay_attempts");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(1)?;
    let most = args.parsed_at(0, 5u32)?;
    let parent = hooks.isa_plugin("rcpt_ok", &Args::default())?;
    hooks.rcpt(move |session, recipient, params| {
        let verdict = parent.rcpt(session, recipient, params);
        if verdict.code() != Code::Deny || most == 0 {
            return verdict;
        }
        let count = session.connection.notes.get(ATTEMPTS).unwrap_or(0) + 1;
        session.connection.notes.set(ATTEMPTS, count);
        if count <= most.into() {
            return verdict;
        }
        dsn::relaying_denied("Too many relaying attempts").with_code(Code::DenyDisconnect)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{OK, Verdict};
    use crate::testing::Trial;

    fn trial(line: &str) -> Trial {
        Trial::new(line, &[("rcpthosts", "example.com")])
    }

    #[test]
    fn so_many_attempts_are_refused_and_the_next_one_is_the_last() {
        for (line, most) in [("rcpt_ok_maxrelay", 5), ("rcpt_ok_maxrelay 1", 1)] {
            let mut trial = trial(line);
            for count in 1..=most {
                assert_eq!(trial.rcpt("<b@x.test>"), Verdict::deny("Relaying denied (#5.7.1)"));
                assert_eq!(trial.session.connection.notes.get(ATTEMPTS), Some(count), "{line}");
                assert_eq!(trial.rcpt("<b@example.com>"), OK);
            }
            let last = Verdict::deny_disconnect("Too many relaying attempts (#5.7.1)");
            assert_eq!(trial.rcpt("<b@x.test>"), last, "{line}");
        }
    }

    #[test]
    fn the_count_is_the_connections_not_the_transactions() {
        let mut trial = trial("rcpt_ok_maxrelay 1");
        trial.mail("<a@x.test>");
        assert_eq!(trial.rcpt("<b@x.test>").code(), Code::Deny);
        trial.session.reset_transaction();
        trial.mail("<a@x.test>");
        assert_eq!(trial.rcpt("<b@x.test>").code(), Code::DenyDisconnect);
    }

    #[test]
    fn relay_clients_and_0_have_no_limit() {
        let mut any = trial("rcpt_ok_maxrelay 0");
        for _ in 0..20 {
            assert_eq!(any.rcpt("<b@x.test>").code(), Code::Deny);
        }
        assert_eq!(any.session.connection.notes.get(ATTEMPTS), None);
        let mut friend = trial("rcpt_ok_maxrelay 1");
        friend.session.connection.relay_client = true;
        assert!((0..5).all(|_| friend.rcpt("<b@x.test>") == OK));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in ["rcpt_ok_maxrelay 5 6", "rcpt_ok_maxrelay many", "rcpt_ok_maxrelay -1"] {
            assert!(Trial::load(line, &[]).is_err(), "{line}");
        }
    }
}
