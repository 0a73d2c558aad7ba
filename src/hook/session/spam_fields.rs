//! The fields by which readers of mail tell spam, which must not be the sender's.

use super::Session;
use crate::error::Result;
use crate::hook::Args;
use crate::state::Note;

/// How the names of such fields begin; nothing follows, or something behind a hyphen.
const NAMES: [&str; 3] = ["X-Spam", "X-Spamd", "X-Rspamd"];

/// The fields of scanners for viruses.
const VIRUS: [&str; 3] = ["X-Virus-Found", "X-Virus-Checked", "X-Virus-Details"];

/// It has been seen to them already: those that are there are a scanner's.
const DISTRUSTED: Note<bool> = Note::new("spam_fields_distrusted");

/// What becomes of fields that came with the message: the argument `leave_old_headers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldFields {
    Drop,
    /// `X-Spam-Flag` becomes `X-Old-Spam-Flag`.
    Rename,
    Keep,
}

impl OldFields {
    /// What the argument says.
    ///
    /// # Errors
    /// It has another value.
    pub(crate) fn from_args(args: &Args) -> Result<OldFields> {
        let words =
            [("drop", OldFields::Drop), ("rename", OldFields::Rename), ("keep", OldFields::Keep)];
        args.one_of("leave_old_headers", &words, OldFields::Rename)
    }
}

impl Session {
    /// Takes the names from fields about viruses that somebody else wrote: `X-Virus-Found` becomes
    /// `X-Old-Virus-Found`.
    pub(crate) fn distrust_virus_fields(&mut self) {
        let header = &mut self.transaction.header;
        for name in VIRUS.iter().filter(|name| header.count(name) > 0).collect::<Vec<_>>() {
            header.rename(name, &former(name));
        }
    }

    /// Takes the names from fields about spam that somebody else wrote.  What a scanner of ours writes
    /// afterwards stays, whatever the next one says.
    pub(crate) fn distrust_spam_fields(&mut self, old: OldFields) {
        if self.transaction.notes.is_true(DISTRUSTED) {
            return;
        }
        self.transaction.notes.set(DISTRUSTED, true);
        let header = &mut self.transaction.header;
        // There may be very many, of as many names.
        match old {
            OldFields::Drop => header.delete_where(is_about_spam),
            OldFields::Rename => {
                header.rename_where(|name| is_about_spam(name).then(|| former(name)));
            }
            OldFields::Keep => {}
        }
    }
}

/// `X-Old-Spam-Flag` for `X-Spam-Flag`.
fn former(name: &str) -> String {
    format!("X-Old-{}", &name["X-".len()..])
}

fn is_about_spam(name: &str) -> bool {
    NAMES.iter().any(|ours| {
        name.split_at_checked(ours.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(ours) && (rest.is_empty() || rest.starts_with('-'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Header;
    use crate::testing::Trial;
    use std::time::{Duration, Instant};

    fn left(fields: &str, old: OldFields) -> String {
        let mut trial = Trial::new("", &[]);
        trial.session.transaction.header = Header::parse(fields.as_bytes());
        trial.session.distrust_spam_fields(old);
        String::from_utf8(trial.session.transaction.header.to_bytes()).unwrap()
    }

    #[test]
    fn each_field_keeps_its_spelling() {
        let fields =
            "X-Spam-Flag: a\r\nno field\r\nSubject: x\r\nx-spam-FLAG : b\r\nX-Spammer: c\r\n";
        let renamed = "X-Old-Spam-Flag: a\r\nno field\r\nSubject: x\r\nX-Old-spam-FLAG: b\r\nX-Spammer: c\r\n";
        assert_eq!(left(fields, OldFields::Rename), renamed);
        assert_eq!(left(fields, OldFields::Drop), "no field\r\nSubject: x\r\nX-Spammer: c\r\n");
        assert_eq!(left(fields, OldFields::Keep), fields);
    }

    /// A header section of a megabyte has room for so many.
    #[test]
    fn very_many_fields_cost_no_more_than_one_pass() {
        let fields: String = (0..50_000).map(|one| format!("X-Spam-{one}:\r\n")).collect();
        let begun = Instant::now();
        let renamed = left(&fields, OldFields::Rename);
        assert_eq!(renamed, fields.replace("X-Spam", "X-Old-Spam"));
        assert_eq!(left(&fields, OldFields::Drop), "");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
}
