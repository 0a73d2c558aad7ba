//! ```text
//! NAME
//!     noop_counter - ends a session after too many NOOPs in a row
//!
//! SYNOPSIS
//!     noop_counter [MAX]
//!
//! DESCRIPTION
//!     Counts NOOP commands.  At NOOP number MAX in a row the client gets "Stop wasting my time,
//!     too many consecutive NOOPs", and the connection is closed.
//!
//!     HELO, EHLO, MAIL, RCPT, DATA, RSET, VRFY, HELP and the end of a transaction reset the count.
//!     Place the plugin before others that decide about these commands, or it does not see them.
//!
//! ARGUMENTS
//!     MAX   close the connection at this NOOP in a row; 3 by default
//!
//! NOTES
//!     noop_count   on the connection: the number of NOOPs in a row
//!
//! SEE ALSO
//!     count_unrecognized_commands
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hook, Hooks, Verdict};
use crate::plugins::maximum;
use crate::state::Note;

/// How many NOOPs there were in a row; a note of the connection.
pub const NOOP_COUNT: Note<i64> = Note::new("noop_count");

/// Hooks of commands that begin the count anew.
const OTHERS: [Hook; 8] = [
    Hook::Helo,
    Hook::Ehlo,
    Hook::Mail,
    Hook::Rcpt,
    Hook::Data,
    Hook::ResetTransaction,
    Hook::Vrfy,
    Hook::Help,
];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let max = maximum(args, 3)?;
    args.at_most(1)?;
    hooks.noop(move |session, _words| {
        let count = session.connection.notes.get(NOOP_COUNT).unwrap_or(0) + 1;
        session.connection.notes.set(NOOP_COUNT, count);
        if count < max {
            return DECLINED;
        }
        Verdict::deny_disconnect("Stop wasting my time, too many consecutive NOOPs")
    });
    for hook in OTHERS {
        hooks.on(hook, |session, _call| {
            session.connection.notes.unset(NOOP_COUNT);
            DECLINED
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Call, Code};
    use crate::testing::Trial;

    fn noop(trial: &mut Trial) -> Verdict {
        trial.call(Hook::Noop, &Call::Words("noop", &[]))
    }

    fn allowed(line: &str) -> usize {
        let mut trial = Trial::new(line, &[]);
        (1..).find(|_| noop(&mut trial).code() != Code::Declined).unwrap()
    }

    #[test]
    fn the_last_one_closes_the_connection() {
        let mut trial = Trial::new("noop_counter 2", &[]);
        assert_eq!(noop(&mut trial).code(), Code::Declined);
        let verdict = noop(&mut trial);
        assert_eq!(verdict.code(), Code::DenyDisconnect);
        assert_eq!(verdict.text(), "Stop wasting my time, too many consecutive NOOPs");
    }

    #[test]
    fn the_maximum_is_the_argument() {
        for (line, max) in [("noop_counter", 3), ("noop_counter 0", 3), ("noop_counter 5", 5)] {
            assert_eq!(allowed(line), max, "{line}");
        }
        for line in ["noop_counter few", "noop_counter 3 4"] {
            assert!(Trial::load(line, &[]).is_err(), "{line}");
        }
    }

    #[test]
    fn every_other_command_begins_anew() {
        let mut trial = Trial::new("noop_counter 2", &[]);
        for hook in OTHERS {
            assert_eq!(noop(&mut trial).code(), Code::Declined, "before {}", hook.name());
            assert_eq!(trial.plain(hook).code(), Code::Declined);
        }
        assert_eq!(noop(&mut trial).code(), Code::Declined);
        assert_eq!(noop(&mut trial).code(), Code::DenyDisconnect);
    }
}
