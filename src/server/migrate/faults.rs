//! What a start would find, by file and line, each to be told once.

use std::path::Path;

use crate::error::Error;
use crate::hook::KeptLine;

/// All that is wrong.
pub(super) struct Faults {
    placed: Vec<(String, usize, String)>,
    rest: Vec<String>,
    /// Warnings from loading, with the plugins that say them.
    kept: Vec<KeptLine>,
}

impl Faults {
    /// From errors, and from what was logged while plugins were loaded.
    pub(super) fn new(errors: Vec<Error>, kept: Vec<KeptLine>) -> Faults {
        let (mut placed, mut rest) = (vec![], vec![]);
        for error in Error::sorted(errors) {
            let text = error.text().to_owned();
            match error.place() {
                Some((file, line)) => placed.push((file.to_owned(), line, text)),
                None => rest.push(text),
            }
        }
        Faults { placed, rest, kept }
    }

    /// Adds what has no place.
    pub(super) fn add(&mut self, texts: impl IntoIterator<Item = impl Into<String>>) {
        self.rest.extend(texts.into_iter().map(Into::into));
    }

    /// Is anything wrong with a plugin whose name begins so?
    pub(super) fn are_of(&self, name: &str) -> bool {
        self.placed.iter().any(|fault| fault.2.starts_with(name))
    }

    /// What is wrong with a line.
    pub(super) fn at(&mut self, file: &Path, line: usize) -> Vec<String> {
        let file = file.display().to_string();
        let found = self.placed.extract_if(.., |fault| fault.0 == file && fault.1 == line);
        found.map(|fault| fault.2).collect()
    }

    /// What is wrong with other lines of a file.
    pub(super) fn within(&mut self, file: &Path) -> Vec<(usize, String)> {
        let file = file.display().to_string();
        let found = self.placed.extract_if(.., |fault| fault.0 == file);
        found.map(|fault| (fault.1, fault.2)).collect()
    }

    /// What was said of a Perl file that does not run, or said by a plugin while it was loaded.
    pub(super) fn said_of(&mut self, plugin: &str, file: Option<&str>) -> Vec<String> {
        let name = plugin.split(':').next().unwrap_or(plugin);
        let is_of = |(who, text): &KeptLine| match (who, file) {
            (Some(who), _) => who == plugin,
            (None, Some(file)) => text.starts_with(&format!("{file} ")),
            (None, None) => {
                text.split_once(' ').is_some_and(|(path, _)| path.ends_with(&format!("/{name}")))
            }
        };
        self.kept.extract_if(.., |said| is_of(said)).map(|said| said.1).collect()
    }

    /// All that was not told yet.
    pub(super) fn rest(self) -> Vec<String> {
        let placed =
            self.placed.into_iter().map(|(file, line, text)| format!("{file}:{line}: {text}"));
        let kept = self.kept.into_iter().map(|(who, text)| match who {
            Some(who) => format!("{who}: {text}"),
            None => text,
        });
        placed.chain(self.rest).chain(kept).collect()
    }
}
