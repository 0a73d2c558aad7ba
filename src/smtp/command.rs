//! THE command table, and how a line becomes a command.

use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::service::may_use_xclient;
use crate::smtp::syntax::line::split;
use crate::smtp::verb::{
    auth, bdat, data, helo, help, mail, noop, quit, rcpt, rset, starttls, unknown, vrfy, xclient,
};

/// One row of the command table.
#[derive(Debug)]
pub struct Command {
    /// The verb, in upper case.
    pub verb: &'static str,
    /// The longest line in octets, CRLF included: RFC 5321 4.5.3.1.4 and what the extensions that
    /// we offer add to it.
    pub limit: usize,
    /// Parses the argument, asks the hooks, says what to answer.
    pub(crate) run: fn(&mut Dialogue, &str) -> Answer,
    /// Its arguments, for HELP.
    pub usage: &'static str,
    /// What is peculiar to it.
    pub flags: &'static [Flag],
}

/// What is peculiar to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// There is none like it in SMTP: LMTP has one greeting of its own (RFC 2033 4.1).
    LmtpOnly,
    /// There is another one for it in LMTP.
    SmtpOnly,
    /// HELP has it for clients that may speak for others.
    XclientOnly,
    /// It brings no mail on, whatever its reply: it counts for `junk_commands` always.  Other
    /// commands count when they get nowhere.
    Junk,
    /// Its argument may be a secret, or is none of its own: the log does not show it.
    SecretArgument,
    /// Lines that may be secrets come after it, even if it is refused.
    SecretsFollow,
    /// Octets of a message come after it, even if it is refused.
    DataFollows,
    /// Its argument is the whole line, and may be any text.
    AnyText,
}

use self::Flag::{
    AnyText, DataFollows, Junk, LmtpOnly, SecretArgument, SecretsFollow, SmtpOnly, XclientOnly,
};

/// THE command table.
pub const COMMANDS: &[Command] = &[
    row("HELO", 512, helo::helo, "domain", &[SmtpOnly]),
    row("EHLO", 512, helo::ehlo, "domain", &[SmtpOnly]),
    row("LHLO", 512, helo::lhlo, "domain", &[LmtpOnly]),
    row("STARTTLS", 512, starttls::starttls, "", &[SecretArgument]),
    row("AUTH", 4096, auth::auth, "mechanism [initial-response]", &[SecretArgument, SecretsFollow]),
    row("MAIL", 4096, mail::mail, "FROM:<reverse-path> [parameters]", &[]),
    row("RCPT", 4096, rcpt::rcpt, "TO:<forward-path> [parameters]", &[]),
    row("DATA", 512, data::data, "", &[SecretArgument]),
    row("BDAT", 512, bdat::bdat, "octets [LAST]", &[DataFollows]),
    row("RSET", 512, rset::rset, "", &[Junk, SecretArgument]),
    row("NOOP", 512, noop::noop, "[text]", &[Junk, SecretArgument]),
    row("VRFY", 512, vrfy::vrfy, "address", &[Junk]),
    row("HELP", 512, help, "[text]", &[Junk, SecretArgument]),
    row("QUIT", 512, quit::quit, "", &[SecretArgument]),
    row("XCLIENT", 4096, xclient::xclient, "attribute=value ...", &[Junk, XclientOnly]),
];

/// The row of all other lines.
pub const UNKNOWN: Command =
    row("an unknown command", 4096, unknown::unknown, "", &[Junk, SecretArgument, AnyText]);

const fn row(
    verb: &'static str,
    limit: usize,
    run: fn(&mut Dialogue, &str) -> Answer,
    usage: &'static str,
    flags: &'static [Flag],
) -> Command {
    Command { verb, limit, run, usage, flags }
}

impl Command {
    /// Has it this flag?
    pub fn is(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }
}

/// The command that a line is, with its verb in any case, and its argument.
pub fn find(line: &str, is_lmtp: bool) -> (&'static Command, &str) {
    let (verb, argument) = split(line);
    match COMMANDS.iter().find(|command| command.verb.eq_ignore_ascii_case(verb)) {
        Some(command) if is_lmtp || !command.is(LmtpOnly) => (command, argument),
        _ => (&UNKNOWN, line),
    }
}

fn help(dialogue: &mut Dialogue, argument: &str) -> Answer {
    help::help(dialogue, argument, usages)
}

/// The commands that this client may use, a line each.
fn usages(dialogue: &mut Dialogue) -> Vec<String> {
    let may_use_xclient = may_use_xclient(&mut dialogue.session);
    let other = if dialogue.is_lmtp { SmtpOnly } else { LmtpOnly };
    COMMANDS
        .iter()
        .filter(|command| !command.is(other) && (may_use_xclient || !command.is(XclientOnly)))
        .map(|command| format!("  {} {}", command.verb, command.usage).trim_end().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_found_in_any_case() {
        for command in COMMANDS {
            let line = format!("{} x", command.verb.to_lowercase());
            let (found, argument) = find(&line, true);
            assert_eq!((found.verb, argument), (command.verb, "x"));
            assert!(command.limit >= 512);
        }
        for line in ["EXPN x", "", "an unknown command", "LHLO x"] {
            let (found, argument) = find(line, false);
            assert_eq!((found.verb, argument), (UNKNOWN.verb, line));
        }
    }
}
