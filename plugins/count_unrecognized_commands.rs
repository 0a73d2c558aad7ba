//! ```text
//! NAME
//!     count_unrecognized_commands - ends a session after too many unknown commands
//!
//! SYNOPSIS
//!     count_unrecognized_commands [MAX]
//!
//! DESCRIPTION
//!     Counts the commands of a session that nobody knows.  At unknown command number MAX the
//!     client gets 521 "Closing connection, N unrecognized commands. Perhaps you should read RFC
//!     2821?", and the connection is closed.  This ends the sessions of clients that speak HTTP,
//!     for example.
//!
//!     Plugins that add commands must come before this one.
//!
//! ARGUMENTS
//!     MAX   close the connection at this unknown command; 4 by default
//!
//! NOTES
//!     unrec_cmd_count   on the connection: the number of unknown commands
//!
//! SEE ALSO
//!     noop_counter
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, Verdict};
use crate::log::Level;
use crate::plugins::maximum;
use crate::state::Note;

/// How many unknown commands there were; a note of the connection.
pub const UNREC_CMD_COUNT: Note<i64> = Note::new("unrec_cmd_count");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let max = maximum(args, 4)?;
    if args.at_most(1).is_err() {
        hooks.log(Level::Warn, "Ignoring additional arguments.");
    }
    // A client that goes on after a refused AUTH says its password here: no word is logged.
    hooks.unrecognized_command(move |session, _command, _words| {
        let count = session.connection.notes.get(UNREC_CMD_COUNT).unwrap_or(0) + 1;
        session.connection.notes.set(UNREC_CMD_COUNT, count);
        if count < max {
            session.log(Level::Info, format_args!("({count})"));
            return DECLINED;
        }
        session.log(Level::Info, format_args!("fail, {count}"));
        Verdict::deny_disconnect(format!(
            "Closing connection, {count} unrecognized commands. Perhaps you should read RFC 2821?"
        ))
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::UNREC_CMD_COUNT;
    use crate::hook::{Call, Code, Hook, Verdict};
    use crate::testing::Trial;

    fn unknown(trial: &mut Trial) -> Verdict {
        trial.call(Hook::UnrecognizedCommand, &Call::Command("get", "/"))
    }

    fn allowed(line: &str) -> usize {
        let mut trial = Trial::new(line, &[]);
        (1..).find(|_| unknown(&mut trial).code() != Code::Declined).unwrap()
    }

    #[test]
    fn the_last_one_closes_the_connection() {
        let mut trial = Trial::new("count_unrecognized_commands 3", &[]);
        for _ in 0..2 {
            assert_eq!(unknown(&mut trial).code(), Code::Declined);
        }
        assert_eq!(trial.session.connection.notes.get(UNREC_CMD_COUNT), Some(2));
        let verdict = unknown(&mut trial);
        assert_eq!(verdict.code(), Code::DenyDisconnect);
        assert_eq!(
            verdict.text(),
            "Closing connection, 3 unrecognized commands. Perhaps you should read RFC 2821?"
        );
        assert!(trial.log().contains("count_unrecognized_commands: (2)"));
        assert!(trial.log().contains("count_unrecognized_commands: fail, 3"));
    }

    #[test]
    fn the_maximum_is_the_argument() {
        for (line, max) in [
            ("count_unrecognized_commands", 4),
            ("count_unrecognized_commands 0", 4),
            ("count_unrecognized_commands 1", 1),
            ("count-unrecognized-commands 7 loglevel +1", 7),
        ] {
            assert_eq!(allowed(line), max, "{line}");
        }
        assert!(Trial::load("count_unrecognized_commands many", &[]).is_err());
    }

    #[test]
    fn more_arguments_are_ignored_with_a_warning() {
        let trial = Trial::new("count_unrecognized_commands 2 3", &[]);
        assert!(
            trial.log().contains("count_unrecognized_commands: Ignoring additional arguments.")
        );
        assert!(!Trial::new("count_unrecognized_commands 2", &[]).log().contains("Ignoring"));
    }
}
