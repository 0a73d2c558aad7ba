//! Makes a report of what is wanted.

use std::path::PathBuf;

use super::counts::Counts;
use super::read::each_line;
use super::summary::Summary;
use super::{page, text};
use crate::error::{Error, Result};

/// In which form a report is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For a terminal.
    Text,
    /// A page of its own, which needs nothing from elsewhere.
    Page,
}

/// What is wanted of the logs.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The files, those that end in `.gz` compressed; without any, standard input.
    pub(crate) files: Vec<PathBuf>,
    /// Only events of times that begin so: `2026-11-28`, `2026-11-28T14`.
    pub(crate) time: Option<String>,
    /// How many rows a list of the most has.
    pub(crate) top: usize,
    /// In which form.
    pub(crate) form: Form,
}

/// Makes a report.
///
/// # Errors
/// A file cannot be read, or there is no event in any.
pub(crate) fn make(wanted: &Wanted) -> Result<String> {
    let mut counts = Counts::default();
    each_line(&wanted.files, |line| counts.line(line, wanted.time.as_deref()))?;
    if counts.events == 0 {
        return Err(Error::new(format!(
            "no events in {} lines: events need 'loglevel LOGINFO format json' in config/logging (docs/events.md)",
            counts.lines
        )));
    }
    let summary = Summary::new(&mut counts, wanted.top);
    Ok(match wanted.form {
        Form::Text => text::render(&summary),
        Form::Page => page::render(&summary),
    })
}
