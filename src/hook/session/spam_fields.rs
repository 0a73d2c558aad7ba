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
            header.rename(name, &format!("X-Old-{}", &name["X-".len()..]));
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
        let names: Vec<String> =
            header.names().filter(|name| is_about_spam(name)).map(str::to_owned).collect();
        for name in &names {
            match old {
                OldFields::Drop => header.delete(name),
                OldFields::Rename => header.rename(name, &format!("X-Old-{}", &name["X-".len()..])),
                OldFields::Keep => 0,
            };
        }
    }
}

fn is_about_spam(name: &str) -> bool {
    NAMES.iter().any(|ours| {
        name.split_at_checked(ours.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(ours) && (rest.is_empty() || rest.starts_with('-'))
        })
    })
}
