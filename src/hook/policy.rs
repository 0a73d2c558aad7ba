//! What many plugins share: refusing now or later, who is exempt, karma.

use std::fmt::Display;

use crate::hook::settings::reject_type;
use crate::hook::{Code, DECLINED, Session, Verdict};
use crate::log::Level;
use crate::state::Note;

/// Why this client is to be refused later, by the plugin naughty; a note of the connection.
pub const NAUGHTY: Note<String> = Note::new("naughty");
/// With what `reject_type` the plugin that marked it wants it refused.
pub const NAUGHTY_REJECT_TYPE: Note<String> = Note::new("naughty_reject_type");
/// This client was refused already.
pub const REJECTED: Note<String> = Note::new("rejected");
/// This client is on a white list; a note of the connection.
pub const WHITELISTHOST: Note<String> = Note::new("whitelisthost");
/// This sender is on a white list; a note of the transaction.
pub const WHITELISTSENDER: Note<String> = Note::new("whitelistsender");
/// How well this client behaves, as a sum; a note of the connection.
pub const KARMA: Note<i64> = Note::new("karma");
/// The arguments of the last MAIL command as they came; a note of the connection.
pub const ENVELOPE_FROM: Note<String> = Note::new("envelope_from");
/// The arguments of the last RCPT command as they came; a note of the connection.
pub const ENVELOPE_RCPT: Note<String> = Note::new("envelope_rcpt");
/// Extensions that plugins offer: lines of the EHLO reply; a note of the connection or of the
/// transaction.
pub const CAPABILITIES: Note<Vec<String>> = Note::new("capabilities");
/// Results for the Authentication-Results header (RFC 8601), joined by `; `.
pub const AUTHENTICATION_RESULTS: Note<String> = Note::new("authentication_results");

impl Session {
    /// Refuses by the running plugin's arguments `reject` and `reject_type`: now, later
    /// (`naughty`), or not at all (`0`).  `text` is for the client.
    pub fn get_reject(&mut self, text: &str) -> Verdict {
        self.get_reject_logged(text, "")
    }

    /// The same with more detail for the log.
    pub fn get_reject_logged(&mut self, text: &str, detail: impl Display) -> Verdict {
        self.get_reject_as(Code::Deny, text, detail)
    }

    /// The same for a plugin that refuses with `default` where it has no argument `reject_type`.
    pub fn get_reject_as(&mut self, default: Code, text: &str, detail: impl Display) -> Verdict {
        let detail = match detail.to_string() {
            detail if detail.is_empty() => detail,
            detail => format!(", {detail}"),
        };
        let reject = self.settings().and_then(|settings| settings.reject.clone());
        if self.settings().is_some_and(|settings| !settings.rejects()) {
            self.log(Level::Info, format_args!("fail, tolerated{detail}"));
            return DECLINED;
        }
        if reject.as_deref() == Some("naughty") {
            self.log(Level::Info, format_args!("fail, NAUGHTY{detail}"));
            let verdict = self.store_deferred_reject(text);
            if default != Code::Deny && !self.connection.notes.is_true(NAUGHTY_REJECT_TYPE) {
                self.connection.notes.set(NAUGHTY_REJECT_TYPE, reject_type_word(default).into());
            }
            return verdict;
        }
        self.log(Level::Info, format_args!("fail{detail}"));
        Verdict::new(self.get_reject_type(default), text.to_owned())
    }

    /// What the running plugin's `reject_type` says, else `default`.
    pub fn get_reject_type(&self, default: Code) -> Code {
        self.settings().and_then(|settings| settings.reject_type).unwrap_or(default)
    }

    /// Marks the client as naughty, to be refused by the plugin of that name when it sees fit.
    pub fn store_deferred_reject(&mut self, text: &str) -> Verdict {
        let text = match self.connection.notes.get(NAUGHTY) {
            Some(before) if !before.is_empty() => format!("{before}\n{text}"),
            _ => text.to_owned(),
        };
        self.connection.notes.set(NAUGHTY, text);
        if !self.connection.notes.is_true(NAUGHTY_REJECT_TYPE)
            && let Some(code) = self.settings().and_then(|settings| settings.reject_type)
        {
            self.connection.notes.set(NAUGHTY_REJECT_TYPE, reject_type_word(code).into());
        }
        DECLINED
    }

    /// Is the client beyond tests: may it relay, or is it or its sender on a white list?
    pub fn is_immune(&self) -> bool {
        let why = if self.connection.relay_client {
            "skip, relay client"
        } else if self.connection.notes.is_true(WHITELISTHOST) {
            "skip, whitelisted host"
        } else if self.transaction.notes.is_true(WHITELISTSENDER) {
            "skip, whitelisted sender"
        } else {
            return false;
        };
        self.log(Level::Info, why);
        true
    }

    /// Is the client to be refused later anyway, or was it already?
    pub fn is_naughty(&self) -> bool {
        let notes = &self.connection.notes;
        let why = if notes.is_true(NAUGHTY) {
            "skip, naughty"
        } else if notes.is_true(REJECTED) {
            "skip, already rejected"
        } else {
            return false;
        };
        self.log(Level::Info, why);
        true
    }

    /// Adds to the client's karma.
    pub fn adjust_karma(&mut self, by: i64) {
        let karma = self.connection.notes.get(KARMA).unwrap_or(0) + by;
        self.log(Level::Info, format_args!("karma {by} ({karma})"));
        self.connection.notes.set(KARMA, karma);
    }

    /// Adds a result to the Authentication-Results header, `spf=pass smtp.mailfrom=a.example`.
    pub fn store_auth_results(&mut self, result: &str) {
        let all = match self.connection.notes.get(AUTHENTICATION_RESULTS) {
            Some(before) if !before.is_empty() => format!("{before}; {result}"),
            _ => result.to_owned(),
        };
        self.log(Level::Debug, format_args!("auth-results: {all}"));
        self.connection.notes.set(AUTHENTICATION_RESULTS, all);
    }
}

/// The code that a note [`NAUGHTY_REJECT_TYPE`] asks for.
pub fn naughty_code(session: &Session) -> Option<Code> {
    reject_type(&session.connection.notes.get(NAUGHTY_REJECT_TYPE)?)
}

fn reject_type_word(code: Code) -> &'static str {
    match code {
        Code::DenySoft => "temp",
        Code::DenyDisconnect => "disconnect",
        Code::DenySoftDisconnect => "temp_disconnect",
        _ => "perm",
    }
}
