//! The values of the core's settings, each kept until its file changes.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use super::cache::Slot;
use super::{Config, Line, Lines};
use crate::error::Error;
use crate::settings::{Default, Effect, Row, Setting, TABLE, Value};

/// What the settings were found to be, by the numbers of their rows: sessions ask for some all the
/// time.
pub(super) struct Values {
    slots: [OnceCell<Slot>; TABLE.len()],
    kept: RefCell<[Option<Kept>; TABLE.len()]>,
}

impl std::default::Default for Values {
    fn default() -> Values {
        let slots = [const { OnceCell::new() }; TABLE.len()];
        Values { slots, kept: RefCell::new([const { None }; TABLE.len()]) }
    }
}

struct Kept {
    /// The lines that were read last, good or not.
    lines: Lines,
    /// The last good value.
    value: Rc<dyn Any>,
    /// Until when neither the lines nor their files are looked at again.
    trusted: Option<Instant>,
}

impl Values {
    /// Makes the next look at each setting check its lines.
    pub(super) fn expire(&self) {
        self.kept.borrow_mut().iter_mut().flatten().for_each(|kept| kept.trusted = None);
    }
}

/// A line of a setting as it is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The setting's name.
    pub name: &'static str,
    /// The line; empty where there is none.
    pub text: String,
    /// The file and the number of the line; None: it is the default.
    pub place: Option<String>,
}

impl Config {
    /// The value of a setting.  Where its file has a line that is none of its kind, the last good
    /// value counts, and the line is a problem to log, once.
    pub fn setting<T: Value>(&self, setting: Setting<T>) -> T {
        let mut found = None;
        self.with_value(setting.row(), &mut |value| found = value.downcast_ref::<T>().cloned());
        found.expect("the table makes values of the setting's type")
    }

    /// Has the setting a file with a line?
    pub fn is_set<T>(&self, setting: Setting<T>) -> bool {
        !self.list(setting.row().name).is_empty()
    }

    /// Reads what sessions ask for.
    pub(crate) fn preload(&self) {
        let now = Instant::now();
        for row in TABLE.iter().filter(|row| row.effect == Effect::AtOnce) {
            self.value_of(row, now);
        }
    }

    /// Reads all settings now.  Returns what is wrong with their files, each with file and line.
    pub fn check_settings(&self) -> Vec<Error> {
        TABLE.iter().flat_map(|row| self.check(row)).collect()
    }

    /// Every setting as it is in effect, a line of a list each, in the order of the table.
    pub fn shown(&self) -> Vec<Shown> {
        TABLE.iter().flat_map(|row| self.shown_of(row)).collect()
    }

    /// What is wrong with the file of a setting: of a list all lines that are.
    fn check(&self, row: &'static Row) -> Vec<Error> {
        let (lines, mut errors) = self.load_what_can_be(row.name);
        let mut left: Vec<&Line> = lines.entries().collect();
        while !left.is_empty() {
            let texts: Vec<&str> = left.iter().map(|line| line.text.as_str()).collect();
            let Err((at, why)) = row.read(&texts) else { break };
            match left.get(at) {
                Some(line) => errors.push(Error::at(&line.file, line.number, why)),
                None => errors.push(Error::new(why)),
            }
            if !row.kind.is_list() || at >= left.len() {
                break;
            }
            left.remove(at);
        }
        // Who asked for the value before has noted the same.
        for error in &errors {
            self.0.search.problems.forget(&error.to_string());
        }
        errors
    }

    fn shown_of(&self, row: &'static Row) -> Vec<Shown> {
        let lines = self.list(row.name);
        let shown = |text: &str, place| Shown { name: row.name, text: text.to_owned(), place };
        let most = if row.kind.is_list() { usize::MAX } else { 1 };
        let found: Vec<_> = lines
            .entries()
            .take(most)
            .map(|line| {
                let place = format!("{}:{}", line.file.display(), line.number);
                shown(row.kind.shown(&line.text), Some(place))
            })
            .collect();
        match found.is_empty() {
            false => found,
            true => vec![shown(&self.value(row.name).unwrap_or_default(), None)],
        }
    }

    /// Lets somebody use the value where it is: a new process that counted its references to it would
    /// need a copy of the page that it is on.
    fn with_value(&self, row: &'static Row, use_it: &mut dyn FnMut(&dyn Any)) {
        let now = Instant::now();
        if let Some(kept) = &self.0.values.kept.borrow()[row.number]
            && kept.trusted.is_some_and(|until| now < until)
        {
            return use_it(&*kept.value);
        }
        use_it(&*self.value_of(row, now));
    }

    /// The value after a look at the lines, which in their turn are as old as their cache allows.
    fn value_of(&self, row: &'static Row, now: Instant) -> Rc<dyn Any> {
        let Values { slots, kept } = &self.0.values;
        let lists = &self.0.lists;
        let slot = *slots[row.number].get_or_init(|| lists.slot(row.name));
        let lines = lists.look(&self.0.search, slot, now, Lines::clone);
        let mut trusted = lists.trusted(slot);
        let value = match row.default {
            Default::As(other) if lines.is_empty() => {
                let value = self.value_of(other, now);
                let others = kept.borrow()[other.number].as_ref().and_then(|kept| kept.trusted);
                trusted = trusted.min(others);
                value
            }
            _ => self.same_value(row, &lines).unwrap_or_else(|| self.read_or_keep(row, &lines)),
        };
        let now_kept = Kept { lines, value: Rc::clone(&value), trusted };
        kept.borrow_mut()[row.number] = Some(now_kept);
        value
    }

    /// The value that is kept, if it is that of these lines.
    fn same_value(&self, row: &Row, lines: &Lines) -> Option<Rc<dyn Any>> {
        let kept = self.0.values.kept.borrow();
        let kept = kept[row.number].as_ref().filter(|kept| kept.lines.same(lines))?;
        Some(Rc::clone(&kept.value))
    }

    /// The value of new lines, or else the last good one, or else the default.
    fn read_or_keep(&self, row: &'static Row, lines: &Lines) -> Rc<dyn Any> {
        if lines.is_empty() {
            return self.default_of(row);
        }
        read(row, lines).unwrap_or_else(|error| {
            let kept = self.0.values.kept.borrow();
            let last = kept[row.number].as_ref().map(|kept| Rc::clone(&kept.value));
            let stays = if last.is_some() { "last value" } else { "default" };
            if row.effect != Effect::AtOnce || !self.0.lists.is_watched(row.name) {
                self.note_problem(format_args!("{error}; the {stays} stays"));
            }
            last.unwrap_or_else(|| self.default_of(row))
        })
    }

    fn default_of(&self, row: &'static Row) -> Rc<dyn Any> {
        let text = match row.default {
            Default::Host => return Rc::new(self.host().to_owned()),
            Default::As(other) => return self.read_or_keep(other, &self.list(other.name)),
            Default::Is(text) => vec![text],
            Default::Without(_) => vec![],
        };
        row.read(&text).expect("a test reads every default")
    }
}

/// The value of lines that are there.
fn read(row: &Row, lines: &Lines) -> Result<Rc<dyn Any>, Error> {
    let texts: Vec<&str> = lines.iter().collect();
    row.read(&texts).map_err(|(at, why)| match lines.entries().nth(at) {
        Some(line) => Error::at(&line.file, line.number, why),
        None => Error::new(why),
    })
}

/// As `--show-config` prints it.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.as_deref().unwrap_or("default");
        let text = format!("{} = {}", self.name, self.text);
        write!(f, "{:<40} # {place}", text.trim_end())
    }
}
