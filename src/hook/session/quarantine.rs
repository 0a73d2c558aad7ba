//! Messages that are taken, but not to be delivered as others are.

use super::Session;
use crate::log::{self, Level};
use crate::state::{Note, results};

/// Why this message is to be kept apart, `PLUGIN: REASON`, several joined by `; `; a note of the
/// transaction.  Who sets it from Perl puts the message in quarantine as well.
pub const QUARANTINE: Note<String> = Note::new("quarantine");

/// The field that tells it to those who get the message.
const FIELD: &str = "X-Quarantine";

/// The most characters of a reason that are kept.
const LONGEST: usize = 200;

impl Session {
    /// Puts the message in quarantine: it is taken, and the client does not learn of it, but queue
    /// plugins that can keep it apart do, and the others hand it on with the field
    /// `X-Quarantine: PLUGIN: REASON`.  What later plugins say does not lift it; they may still refuse
    /// the message.  A second plugin adds its reason.
    ///
    /// From `mail` to `queue`, where it has to come before the plugin that queues.
    pub fn quarantine(&mut self, reason: &str) {
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        let reason: String = log::clean(&reason).chars().take(LONGEST).collect();
        let own = format!("{}: {reason}", self.plugin_name());
        let all = match self.quarantined() {
            Some(before) if before.split("; ").any(|known| known == own) => return,
            Some(before) => format!("{before}; {own}"),
            None => own,
        };
        self.log(Level::Notice, format_args!("quarantine, {reason}"));
        self.transaction.notes.set(QUARANTINE, all);
        self.mark_quarantine();
    }

    /// Why the message is in quarantine, `PLUGIN: REASON`; None for one that is not.
    pub fn quarantined(&self) -> Option<String> {
        let is_set = self.transaction.notes.is_true(QUARANTINE);
        self.transaction.notes.get(QUARANTINE).filter(|_| is_set)
    }

    /// Sees to it that the message has the field if and only if it is in quarantine, whatever its
    /// sender or a plugin wrote.
    pub(crate) fn mark_quarantine(&mut self) {
        let value = self.quarantined().map(|reasons| {
            let reasons: Vec<_> = log::clean(&reasons).split("; ").map(str::to_owned).collect();
            self.readable(results::folded(&reasons))
        });
        let header = &mut self.transaction.header;
        if header.count(FIELD) > 0 {
            header.delete(FIELD);
        }
        if let Some(value) = value {
            header.add_at(0, FIELD, &value);
        }
    }

    /// What the client or others said may be outside ASCII, which a header section must not be unless
    /// the message was declared so (RFC 6532 3).
    pub(crate) fn readable(&self, text: String) -> String {
        match self.transaction.mail_params.get("smtputf8") {
            None if !text.is_ascii() => text.replace(|c: char| !c.is_ascii(), "?"),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::hook::{Args, DECLINED, Hook, Hooks, OK};
    use crate::testing::Trial;

    /// Puts messages in quarantine for their subject.
    fn wary(hooks: &mut Hooks, _args: &Args) -> Result<()> {
        hooks.data_post(|session| {
            let subject =
                session.transaction.header.get("Subject").unwrap_or_default().into_owned();
            subject
                .split('|')
                .filter(|why| !why.is_empty())
                .for_each(|why| session.quarantine(why));
            OK
        });
        Ok(())
    }

    fn header(trial: &mut Trial) -> String {
        trial.session.mark_quarantine();
        String::from_utf8(trial.session.transaction.header.to_bytes()).unwrap()
    }

    #[test]
    fn a_message_has_the_field_and_the_log_a_line() {
        let mut trial = Trial::with(wary, "", &[("loglevel", "LOGNOTICE")]);
        trial.message("Subject: odd\nX-QUARANTINE : no\nx-quarantine: nothing\n\n");
        assert_eq!(trial.session.quarantined(), None);
        assert_eq!(trial.plain(Hook::DataPost), OK);
        assert_eq!(header(&mut trial), "X-Quarantine: trial: odd\r\nSubject: odd\r\n");
        assert_eq!(trial.session.quarantined().unwrap(), "trial: odd");
        assert_eq!(trial.log(), "(data_post) trial: quarantine, odd");
    }

    #[test]
    fn reasons_add_up_and_strangers_write_no_fields() {
        let long = "x".repeat(300);
        let mut trial = Trial::with(wary, "", &[]);
        trial.message(&format!("Subject: a|a|b\u{e9}\n\tX-Evil: 1|{long}\n\n"));
        trial.plain(Hook::DataPost);
        let long = "x".repeat(LONGEST);
        let want =
            format!("X-Quarantine: trial: a; trial: b? X-Evil: 1;\r\n\ttrial: {long}\r\nSubject");
        let found = header(&mut trial);
        assert!(found.starts_with(&want), "{found}");
        assert_eq!(trial.log().matches("quarantine, ").count(), 3, "{}", trial.log());
    }

    #[test]
    fn who_sets_the_note_quarantines_and_nobody_else_can_write_the_field() {
        let mut trial = Trial::new("", &[]);
        let forged = "Subject: x\nX-Quarantine: no\n\n";
        for (note, want) in [
            ("mine: odd", "X-Quarantine: mine: odd\r\nSubject: x\r\n"),
            ("a: 1\r\nX-Evil: 2", "X-Quarantine: a: 1\\r\\nX-Evil: 2\r\nSubject: x\r\n"),
            ("0", "Subject: x\r\n"),
        ] {
            trial.message(forged);
            trial.session.transaction.notes.set(QUARANTINE, note.into());
            assert_eq!(header(&mut trial), want);
            assert_eq!(header(&mut trial), want);
            trial.session.reset_transaction();
        }
        trial.message(forged);
        assert_eq!(header(&mut trial), "Subject: x\r\n");
        assert_eq!(trial.plain(Hook::DataPost), DECLINED);
    }
}
