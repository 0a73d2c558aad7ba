//! Everything that can stop start-up.
//!
//! One line for the person at the terminal: the file and line that is wrong, then what is wrong.
//! Inside a session there are no errors of this kind, only verdicts and replies.

mod nearest;

use std::fmt;
use std::path::Path;

pub(crate) use nearest::{meant, nearest};

/// Why the daemon cannot start, in one line, or in several where as many things are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// File and line.
    place: Option<(String, usize)>,
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

    /// The argument or setting `name` has the value `word`, which is none of the words `known`.
    pub fn not_one_of(name: impl fmt::Display, word: &str, known: &[&str]) -> Error {
        let meant = meant(word, known.iter().copied());
        Error::new(format!("{}{meant}", Error::value(name, word, known.join(", "))))
    }

    /// There is no `what` with the name `word`; `known` are the names that there are.
    pub fn unknown(what: impl fmt::Display, word: &str, known: &[&str]) -> Error {
        let meant = meant(word, known.iter().copied());
        Error::new(format!("unknown {what} '{word}'{meant} (known: {})", known.join(", ")))
    }

    /// Something has to be installed first.
    pub fn missing(text: impl fmt::Display) -> Error {
        Error { is_missing: true, ..Error::new(text) }
    }

    /// Is that all that is wrong?
    pub(crate) fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// The file and line that it names.
    pub(crate) fn place(&self) -> Option<(&str, usize)> {
        self.place.as_ref().map(|(file, line)| (file.as_str(), *line))
    }

    /// What it says, without its place.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Several errors as one, of a line each; None for no error.
    pub(crate) fn all(errors: Vec<Error>) -> Option<Error> {
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        first.others.extend(errors);
        Some(first)
    }

    /// This error, and another one.
    pub(crate) fn and(mut self, other: Error) -> Error {
        self.others.push(other);
        self
    }

    /// The same errors, one by one, in the order of files and lines; those without a place first.
    pub(crate) fn sorted(errors: Vec<Error>) -> Vec<Error> {
        fn apart(mut error: Error) -> Vec<Error> {
            let others = std::mem::take(&mut error.others);
            std::iter::once(error).chain(others.into_iter().flat_map(apart)).collect()
        }
        let mut all: Vec<Error> = errors.into_iter().flat_map(apart).collect();
        all.sort_by(|one, other| one.place.cmp(&other.place));
        all
    }

    /// An error at `line` (counted from 1) of `file`.
    pub fn at(file: impl AsRef<Path>, line: usize, text: impl fmt::Display) -> Error {
        Error::new(text).or_at(file, line)
    }

    /// The same error, placed at `line` of `file` unless it already has a place.
    pub fn or_at(mut self, file: impl AsRef<Path>, line: usize) -> Error {
        let place = (file.as_ref().display().to_string(), line);
        self.each(&|error| {
            error.place.get_or_insert_with(|| place.clone());
        });
        self
    }

    /// The same error with `what` in front of its text: `what: text`.
    pub fn within(mut self, what: impl fmt::Display) -> Error {
        self.each(&|error| error.text = format!("{what}: {}", error.text));
        self
    }

    fn each(&mut self, change: &dyn Fn(&mut Error)) {
        change(self);
        self.others.iter_mut().for_each(|other| other.each(change));
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some((file, line)) => write!(f, "{file}:{line}: {}", self.text)?,
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
    fn several_errors_have_the_same_place() {
        let all = Error::all(vec![Error::new("one"), Error::at("b", 2, "two")]).unwrap();
        let all = all.within("plugin").or_at("a", 1);
        assert_eq!(all.to_string(), "a:1: plugin: one\nb:2: plugin: two");
        let early = Error::at("a", 1, "first");
        let sorted = Error::sorted(vec![Error::at("a", 10, "x"), all, Error::new("y"), early]);
        let places: Vec<String> = sorted.iter().map(|error| error.to_string()).collect();
        assert_eq!(places, ["y", "a:1: plugin: one", "a:1: first", "a:10: x", "b:2: plugin: two"]);
        assert_eq!(Error::all(vec![]), None);
    }

    #[test]
    fn words_that_are_known_are_named_and_the_nearest_is_suggested() {
        let known = ["allow", "deny"];
        for (word, unknown, value) in [
            (
                "dney",
                "unknown action 'dney'; did you mean 'deny'? (known: allow, deny)",
                "argument do has the value 'dney' (expected: allow, deny); did you mean 'deny'?",
            ),
            (
                "",
                "unknown action '' (known: allow, deny)",
                "argument do has the value '' (expected: allow, deny)",
            ),
        ] {
            assert_eq!(Error::unknown("action", word, &known).to_string(), unknown);
            assert_eq!(Error::not_one_of("do", word, &known).to_string(), value);
        }
    }

    #[test]
    fn stays_on_one_line() {
        assert_eq!(Error::new("first\n  second\n").to_string(), "first; second");
    }
}
