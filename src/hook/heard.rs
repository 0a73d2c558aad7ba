//! What goes over the line in a session, for plugins that listen.

use crate::hook::Hook;

/// Something that client or server have said.  What may be a secret is not in it, but for the argument
/// of AUTH.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heard<'a> {
    /// A line of the client's, a command or one that follows AUTH, as it may be shown.
    Line(&'a str),
    /// A command that is about to be looked at.  Here the listener's verdict counts: a refusal is the
    /// answer, and OK with a text puts the text in the place of the argument.
    Command {
        /// The verb, in upper case.
        verb: &'a str,
        /// What comes after it.
        argument: &'a str,
    },
    /// The lines of a reply to the client.
    Reply(&'a str),
    /// Everything is encrypted from now on.
    Encrypted,
    /// The client took too long.
    TimedOut,
}

impl Heard<'_> {
    /// The hook whose name stands in the log for it.
    pub(super) fn hook(&self) -> Hook {
        let Heard::Command { verb, .. } = self else { return Hook::UnrecognizedCommand };
        let hooks = [
            ("AUTH", Hook::AuthParse),
            ("HELP", Hook::Help),
            ("NOOP", Hook::Noop),
            ("QUIT", Hook::Quit),
            ("RSET", Hook::ResetTransaction),
        ];
        let row = hooks.iter().find(|row| row.0 == *verb);
        row.map_or(Hook::UnrecognizedCommand, |row| row.1)
    }
}
