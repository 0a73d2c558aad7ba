//! The lines of a configuration file, with everything that it includes.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use super::cache::Source;
use super::fingerprint::{Fingerprint, Kind};
use super::lookup::{Lookup, Search};
use crate::error::Error;

/// What editors of Windows put in front of a text; it is no part of the first line.
const BYTE_ORDER_MARK: &[u8; 3] = b"\xef\xbb\xbf";

/// Is this a plain file that begins with one?  Opening any other might never end.
pub(crate) fn has_byte_order_mark(path: &Path) -> bool {
    let mut begin = [0; BYTE_ORDER_MARK.len()];
    let is_plain = fs::metadata(path).is_ok_and(|found| found.is_file());
    is_plain
        && File::open(path)
            .and_then(|mut file| file.read_exact(&mut begin))
            .is_ok_and(|()| begin == *BYTE_ORDER_MARK)
}

/// Lists longer than this are searched with an index.
const SHORT: usize = 8;

/// One line of a list, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line without blanks around it; never empty when it comes from a file.
    pub text: String,
    /// The file in which it stands, which may be an included one.
    pub file: Rc<Path>,
    /// Its number in that file, from 1.
    pub number: usize,
}

impl Line {
    /// The first word, and what follows it without the blanks between; empty where nothing does.
    pub fn word_and_rest(&self) -> (&str, &str) {
        word_and_rest(&self.text)
    }
}

/// The first word of a text without blanks around it, and what follows.
pub fn word_and_rest(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// The lines of a list: shared, never changed. A clone is the same list.
#[derive(Clone, Debug)]
pub struct Lines(Rc<Inner>);

thread_local! {
    /// All empty lists are this one.  A new process that counts its references to many of them
    /// would otherwise need a copy of each page that one is on.
    static NOTHING: Lines = Lines(Rc::default());
}

impl Default for Lines {
    fn default() -> Lines {
        NOTHING.with(Lines::clone)
    }
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Line>,
    /// The first word in lower case -> the first entry that has it; made when first asked for.
    index: OnceCell<HashMap<String, usize>>,
    reported: Cell<bool>,
}

impl Lines {
    /// The list that has these texts, as a `config` hook gives them.
    pub fn from_values(values: Vec<String>) -> Lines {
        let file: Rc<Path> = Rc::from(Path::new("config hook"));
        let line = |(at, text)| Line { text, file: Rc::clone(&file), number: at + 1 };
        Lines::new(values.into_iter().enumerate().map(line).collect())
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.entries.iter().map(|line| line.text.as_str())
    }

    /// The lines in order, with their places.
    pub fn entries(&self) -> impl Iterator<Item = &Line> {
        self.0.entries.iter()
    }

    /// What `read` makes of each line, in order.  A line that it refuses is left out, and why goes to
    /// `problems`, with file and line.
    pub fn read_each<T, E: Into<Error>>(
        &self,
        problems: &mut Vec<Error>,
        mut read: impl FnMut(&Line) -> Result<T, E>,
    ) -> Vec<T> {
        let mut found = vec![];
        for line in self.entries() {
            match read(line) {
                Ok(value) => found.push(value),
                Err(why) => problems.push(why.into().or_at(&line.file, line.number)),
            }
        }
        found
    }

    /// The first line, which is the value where one value is wanted.
    pub fn first(&self) -> Option<&str> {
        self.iter().next()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// The first line whose first word is `word`, without regard to ASCII case.
    pub fn find(&self, word: &str) -> Option<&str> {
        let at = match self.len() > SHORT {
            true => self.0.index().get(&word.to_ascii_lowercase()).copied(),
            false => self.iter().position(|text| {
                first_word(text).is_some_and(|first| first.eq_ignore_ascii_case(word))
            }),
        };
        at.map(|at| self.0.entries[at].text.as_str())
    }

    /// Whether this is the very same list, so that nothing has changed since `other` was given.
    pub fn same(&self, other: &Lines) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    #[cfg(test)]
    pub(super) fn is_indexed(&self) -> bool {
        self.0.index.get().is_some()
    }

    /// True for the first caller, false from then on: what is wrong with a list is said once.
    pub(super) fn report(&self) -> bool {
        !self.0.reported.replace(true)
    }

    /// All lines that can be read, and what is wrong with the others.
    pub(super) fn what_can_be_read(search: &Search, name: &str) -> (Lines, Vec<Error>) {
        let mut lookup = Lookup::new(search, &[], false);
        let mut reader = Reader::new(&mut lookup);
        reader.errors = Some(vec![]);
        let done = reader.name(name);
        let errors = reader.errors.unwrap_or_default().into_iter().chain(done.err()).collect();
        (Lines::new(reader.lines), errors)
    }

    fn new(entries: Vec<Line>) -> Lines {
        if entries.is_empty() {
            return Lines::default();
        }
        Lines(Rc::new(Inner { entries, ..Inner::default() }))
    }
}

impl Inner {
    fn index(&self) -> &HashMap<String, usize> {
        self.index.get_or_init(|| {
            let mut index = HashMap::with_capacity(self.entries.len());
            for (at, line) in self.entries.iter().enumerate() {
                if let Some(word) = first_word(&line.text) {
                    index.entry(word.to_ascii_lowercase()).or_insert(at);
                }
            }
            index
        })
    }
}

impl Source for Lines {
    fn read(lookup: &mut Lookup<'_>, name: &str) -> Result<Lines, Error> {
        let mut reader = Reader::new(lookup);
        reader.name(name)?;
        Ok(Lines::new(reader.lines))
    }

    fn equals(&self, new: &Lines) -> bool {
        self.0.entries == new.0.entries
    }
}

fn first_word(text: &str) -> Option<&str> {
    text.split_ascii_whitespace().next()
}

/// Reads a file and what it includes into one list.
struct Reader<'a, 'b> {
    lookup: &'a mut Lookup<'b>,
    open: Vec<Open>,
    lines: Vec<Line>,
    /// What is wrong with lines that are left out, where reading goes on without them.
    errors: Option<Vec<Error>>,
}

/// A file that is being read, and how far.
struct Open {
    path: Rc<Path>,
    id: (u64, u64),
    number: usize,
}

impl<'a, 'b> Reader<'a, 'b> {
    fn new(lookup: &'a mut Lookup<'b>) -> Reader<'a, 'b> {
        Reader { lookup, open: Vec::new(), lines: Vec::new(), errors: None }
    }
}

impl Reader<'_, '_> {
    fn name(&mut self, name: &str) -> Result<(), Error> {
        match self.lookup.find(name, false).map_err(Error::new)? {
            Some((path, fingerprint)) => self.file(&path, fingerprint),
            None => Ok(()),
        }
    }

    fn file(&mut self, path: &Path, fingerprint: Fingerprint) -> Result<(), Error> {
        if self.open.iter().any(|open| open.id == fingerprint.id) {
            let chain: Vec<_> = self.open.iter().map(Open::to_string).collect();
            let chain = format!("{} -> {}", chain.join(" -> "), path.display());
            return Err(self.error(format!("$include goes round in a circle: {chain}")));
        }
        if fingerprint.kind != Kind::Plain {
            return Err(self.error(format!("{}: not a plain file", path.display())));
        }
        let bytes =
            fs::read(path).map_err(|error| self.error(format!("{}: {error}", path.display())))?;

        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(self.error(format!("{}: UTF-16, not UTF-8", path.display())));
        }
        let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
        let path: Rc<Path> = Rc::from(path);
        self.open.push(Open { path: Rc::clone(&path), id: fingerprint.id, number: 0 });
        for (at, octets) in text.split(|octet| *octet == b'\n').enumerate() {
            let octets = octets.trim_ascii();
            let number = at + 1;
            if octets.is_empty() || octets.starts_with(b"#") {
                continue;
            }
            let text = String::from_utf8_lossy(octets);
            if matches!(text, Cow::Owned(_)) {
                // Not the text itself, which may be a secret.
                let problem = Error::at(&path, number, "not UTF-8: in a list, nothing matches it");
                self.lookup.search.problems.note(problem.to_string());
            }
            if first_word(&text) == Some("$include") {
                if let Some(open) = self.open.last_mut() {
                    open.number = number;
                }
                let depth = self.open.len();
                if let Err(error) = self.include(&text) {
                    let Some(errors) = &mut self.errors else { return Err(error) };
                    errors.push(error);
                    self.open.truncate(depth);
                }
            } else {
                self.lines.push(Line { text: text.into_owned(), file: Rc::clone(&path), number });
            }
        }
        self.open.pop();
        Ok(())
    }

    fn include(&mut self, text: &str) -> Result<(), Error> {
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let [_, name] = words[..] else {
            return Err(self.error("$include takes one name"));
        };
        let (path, fingerprint) = match self.lookup.find(name, true) {
            Ok(Some(found)) => found,
            Ok(None) => return Err(self.error(format!("$include {name}: no such file"))),
            Err(text) => return Err(self.error(text)),
        };
        if fingerprint.kind != Kind::Folder {
            return self.file(&path, fingerprint);
        }
        for name in self.lookup.folder(&path).map_err(|text| self.error(text))? {
            let path = path.join(name);
            match self.lookup.look(&path).map_err(|text| self.error(text))? {
                Some(fingerprint) if fingerprint.kind == Kind::Plain => {
                    self.file(&path, fingerprint)?
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// An error in the line that is being read, or without a place where no file is open.
    fn error(&self, text: impl std::fmt::Display) -> Error {
        match self.open.last() {
            Some(open) => Error::at(&open.path, open.number, text),
            None => Error::new(text),
        }
    }
}

impl std::fmt::Display for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.number)
    }
}
