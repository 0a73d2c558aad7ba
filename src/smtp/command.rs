//! THE command table, and how a line becomes a command.

use crate::smtp::dialogue::Dialogue;
use crate::smtp::verb::{auth, bdat, data, helo, mail, rcpt, small, starttls, xclient};

/// One row of the command table.
pub struct Command {
    /// The verb, in upper case.
    pub verb: &'static str,
    /// The longest line in octets, CRLF included: RFC 5321 4.5.3.1.4 and what the extensions that
    /// we offer add to it.
    pub limit: usize,
    /// Parses the argument, asks the hooks, answers.
    pub(crate) run: fn(&mut Dialogue, &str),
    /// Its arguments, for HELP.
    pub usage: &'static str,
    /// It brings no mail on, whatever its reply: it counts for `junk_commands` always.  Other
    /// commands count when they get nowhere.
    pub is_junk: bool,
    /// Does the log show its argument?  Not what may be a secret, or is none of the command's.
    pub is_shown: bool,
}

/// THE command table.
pub const COMMANDS: &[Command] = &[
    row("HELO", 512, helo::helo, "domain"),
    row("EHLO", 512, helo::ehlo, "domain"),
    row("LHLO", 512, helo::lhlo, "domain"),
    row("STARTTLS", 512, starttls::starttls, "").discreet(),
    row("AUTH", 4096, auth::auth, "mechanism [initial-response]").discreet(),
    row("MAIL", 4096, mail::mail, "FROM:<reverse-path> [parameters]"),
    row("RCPT", 4096, rcpt::rcpt, "TO:<forward-path> [parameters]"),
    row("DATA", 512, data::data, "").discreet(),
    row("BDAT", 512, bdat::bdat, "octets [LAST]"),
    row("RSET", 512, small::rset, "").junk().discreet(),
    row("NOOP", 512, small::noop, "[text]").junk().discreet(),
    row("VRFY", 512, small::vrfy, "address").junk(),
    row("HELP", 512, small::help, "[text]").junk().discreet(),
    row("QUIT", 512, small::quit, "").discreet(),
    row("XCLIENT", 4096, xclient::xclient, "attribute=value ...").junk(),
];

const fn row(
    verb: &'static str,
    limit: usize,
    run: fn(&mut Dialogue, &str),
    usage: &'static str,
) -> Command {
    Command { verb, limit, run, usage, is_junk: false, is_shown: true }
}

impl Command {
    /// The same, counted as junk always.
    const fn junk(self) -> Command {
        Command { is_junk: true, ..self }
    }

    /// The same, with an argument that is not for the log.
    const fn discreet(self) -> Command {
        Command { is_shown: false, ..self }
    }

    /// Is it a command of this protocol?  LMTP has one greeting of its own (RFC 2033 4.1).
    pub fn is_of(&self, is_lmtp: bool) -> bool {
        match self.verb {
            "LHLO" => is_lmtp,
            "HELO" | "EHLO" => !is_lmtp,
            _ => true,
        }
    }
}

/// The command of that verb, in any case.
pub fn find(verb: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.verb.eq_ignore_ascii_case(verb))
}

/// A line as its verb and its argument; white space at the end means nothing (RFC 5321 4.1.1).
pub fn split(line: &str) -> (&str, &str) {
    let line = line.trim_end_matches([' ', '\t']);
    match line.split_once(' ') {
        Some((verb, argument)) => (verb, argument.trim_start_matches(' ')),
        None => (line, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_found_in_any_case() {
        for command in COMMANDS {
            assert_eq!(find(&command.verb.to_lowercase()).unwrap().verb, command.verb);
            assert!(command.limit >= 512);
        }
        assert!(find("EXPN").is_none() && find("").is_none());
    }

    #[test]
    fn lines_are_split_at_the_first_blank() {
        assert_eq!(split("MAIL FROM:<a@b>  SIZE=1 "), ("MAIL", "FROM:<a@b>  SIZE=1"));
        assert_eq!(split("NOOP"), ("NOOP", ""));
        assert_eq!(split(""), ("", ""));
        assert_eq!(split("  x"), ("", "x"));
    }

    #[test]
    fn white_space_at_the_end_means_nothing() {
        for (line, verb, argument) in [
            ("NOOP\t", "NOOP", ""),
            ("QUIT \t", "QUIT", ""),
            ("RSET\t \t ", "RSET", ""),
            ("RCPT TO:<a@b>\t", "RCPT", "TO:<a@b>"),
            ("MAIL FROM:<a@b>\tSIZE=1 \t", "MAIL", "FROM:<a@b>\tSIZE=1"),
            ("\t", "", ""),
        ] {
            assert_eq!(split(line), (verb, argument), "{line:?}");
        }
    }
}
