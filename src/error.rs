//! Everything that can stop start-up.
//!
//! One line for the person at the terminal: the file and line that is wrong, then what is wrong.
//! Inside a session there are no errors of this kind, only verdicts and replies.

use std::fmt;
use std::path::Path;

/// Why the daemon cannot start, in one line, or in several where as many things are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    place: Option<String>,
    text: String,
    is_missing: bool,
    others: Vec<Error>,
}

/// The result of anything that happens before the first session.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that has no place in a file.
    pub fn new(text: impl fmt::Display) -> Error {
        Error { place: None, text: one_line(&text.to_string()), is_missing: false, others: vec![] }
    }

    /// The argument or setting `name` has a value that is none of those it may have.
    pub fn value(
        name: impl fmt::Display,
        value: impl fmt::Display,
        known: impl fmt::Display,
    ) -> Error {
        Error::new(format!("argument {name} has the value '{value}' (expected: {known})"))
    }

    /// Something has to be installed first.
    pub fn missing(text: impl fmt::Display) -> Error {
        Error { is_missing: true, ..Error::new(text) }
    }

    /// Is that all that is wrong?
    pub(crate) fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// Several errors as one, of a line each; None for no error.
    pub(crate) fn all(errors: Vec<Error>) -> Option<Error> {
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        first.others.extend(errors);
        Some(first)
    }

    /// An error at `line` (counted from 1) of `file`.
    pub fn at(file: impl AsRef<Path>, line: usize, text: impl fmt::Display) -> Error {
        Error::new(text).or_at(file, line)
    }

    /// The same error, placed at `line` of `file` unless it already has a place.
    pub fn or_at(mut self, file: impl AsRef<Path>, line: usize) -> Error {
        self.place.get_or_insert_with(|| format!("{}:{line}", file.as_ref().display()));
        self
    }

    /// The same error with `what` in front of its text: `what: text`.
    pub fn within(mut self, what: impl fmt::Display) -> Error {
        self.text = format!("{what}: {}", self.text);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text)?,
            None => f.write_str(&self.text)?,
        }
        self.others.iter().try_for_each(|other| write!(f, "\n{other}"))
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(text: String) -> Error {
        Error::new(text)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Error {
        Error::new(text)
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_place_once() {
        let error = Error::at("config/plugins", 3, "no such plugin").or_at("other", 9);
        assert_eq!(error.to_string(), "config/plugins:3: no such plugin");
    }

    #[test]
    fn stays_on_one_line() {
        assert_eq!(Error::new("first\n  second\n").to_string(), "first; second");
    }
}
