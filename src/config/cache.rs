//! What was read under a name, kept until a file that it came from changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::fingerprint::Dependency;
use super::lookup::{Lookup, Search};
use crate::error::Error;

/// How long an answer is given again without a look at the files.
const TRUST: Duration = Duration::from_secs(1);

/// Something that is read from the files under one name. The default is what a missing file gives.
pub(super) trait Source: Clone + Default {
    fn read(lookup: &mut Lookup<'_>, name: &str) -> Result<Self, Error>;

    /// Whether `new`, just read, is no different, so that the old one can stay.
    fn equals(&self, _new: &Self) -> bool {
        false
    }
}

/// Everything that was asked for, found or not.
#[derive(Default)]
pub(super) struct Cache<T>(RefCell<Known<T>>);

#[derive(Default)]
struct Known<T> {
    entries: Vec<Entry<T>>,
    /// So few names that comparing costs less than hashing.
    slots: BTreeMap<String, Slot>,
    /// How many of the entries another process looks at as well: what is wrong with them is its to say.
    watched: usize,
}

/// Where the entry of a name is: who keeps it need not search for the name again.
#[derive(Clone, Copy)]
pub(super) struct Slot(usize);

#[derive(Default)]
struct Entry<T> {
    name: String,
    /// The last good one.
    value: T,
    /// The files from which it came.
    last_good: Vec<PathBuf>,
    /// What the last read looked at, good or not.
    dependencies: Vec<Dependency>,
    /// Whether these dependencies can tell a change; false before the first read.
    is_stable: bool,
    /// Whether the value was ever read.
    is_good: bool,
    /// What went wrong in the last read.
    trouble: Option<String>,
    /// Until when the files are not looked at again.
    trusted: Option<Instant>,
}

impl<T: Source> Cache<T> {
    /// Where the entry of `name` is from now on.
    pub(super) fn slot(&self, name: &str) -> Slot {
        self.0.borrow_mut().slot(name)
    }

    /// What is in the files, or was at most a second before `now`.
    pub(super) fn get(&self, search: &Search, name: &str, now: Instant) -> T {
        let slot = self.0.borrow().slots.get(name).copied();
        let slot = slot.unwrap_or_else(|| self.slot(name));
        self.look(search, slot, now, T::clone)
    }

    /// Uses the same of a name whose place is known; `use_it` must not ask this cache.
    pub(super) fn look<R>(
        &self,
        search: &Search,
        slot: Slot,
        now: Instant,
        use_it: impl FnOnce(&T) -> R,
    ) -> R {
        let known = self.0.borrow();
        let entry = &known.entries[slot.0];
        if entry.is_trusted(now) {
            return use_it(entry.get(search));
        }
        drop(known);
        let Known { entries, watched, .. } = &mut *self.0.borrow_mut();
        let entry = &mut entries[slot.0];
        entry.check(search, now, slot.0 < *watched);
        use_it(entry.get(search))
    }

    /// Until when that entry is given again without a look at its files; None: it was never read.
    pub(super) fn trusted(&self, slot: Slot) -> Option<Instant> {
        let known = self.0.borrow();
        let entry = &known.entries[slot.0];
        entry.trusted.filter(|_| entry.is_good)
    }

    /// The same names, with nothing read yet.  Files that were in reach are known as such.
    pub(super) fn anew(&self) -> Cache<T> {
        let known = self.0.borrow();
        let entries = known.entries.iter().map(|entry| Entry {
            name: entry.name.clone(),
            last_good: entry.last_good.clone(),
            ..Entry::default()
        });
        let (entries, slots) = (entries.collect(), known.slots.clone());
        Cache(RefCell::new(Known { entries, slots, watched: 0 }))
    }

    /// The files that were read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.0.borrow().entries.iter().flat_map(|entry| entry.last_good.clone()).collect()
    }

    /// Reads `name` now. What goes wrong is returned and not noted as a problem.
    pub(super) fn load(&self, search: &Search, name: &str, now: Instant) -> Result<T, Error> {
        let mut known = self.0.borrow_mut();
        let slot = known.slot(name);
        let entry = &mut known.entries[slot.0];
        entry.trusted = Some(now + TRUST);
        entry.read(search).map_err(|(error, _)| error)?;
        Ok(entry.value.clone())
    }

    /// Checks all that is known now.
    pub(super) fn refresh(&self, search: &Search, now: Instant) {
        for entry in &mut self.0.borrow_mut().entries {
            entry.check(search, now, false);
        }
    }

    /// From now on another process looks at all that is known.
    pub(super) fn watch_all(&self) {
        let known = &mut *self.0.borrow_mut();
        known.watched = known.entries.len();
    }

    /// Does another process look at this name as well?
    pub(super) fn is_watched(&self, name: &str) -> bool {
        let known = self.0.borrow();
        known.slots.get(name).is_some_and(|slot| slot.0 < known.watched)
    }

    /// Makes the next look check.
    pub(super) fn expire(&self) {
        for entry in &mut self.0.borrow_mut().entries {
            entry.trusted = None;
        }
    }
}

impl<T: Source> Known<T> {
    fn slot(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let slot = Slot(self.entries.len());
        self.entries.push(Entry { name: name.to_owned(), ..Entry::default() });
        self.slots.insert(name.to_owned(), slot);
        slot
    }
}

impl<T: Source> Entry<T> {
    /// The value; one that was never read is noted as such.
    fn get(&self, search: &Search) -> &T {
        if !self.is_good {
            search.has_unread.set(true);
        }
        &self.value
    }

    fn is_trusted(&self, now: Instant) -> bool {
        self.trusted.is_some_and(|until| now < until)
    }

    fn check(&mut self, search: &Search, now: Instant, is_watched: bool) {
        self.trusted = Some(now + TRUST);
        if self.is_stable && self.dependencies.iter().all(Dependency::unchanged) {
            return;
        }
        if let Err((error, true)) = self.read(search)
            && !is_watched
        {
            search.problems.note(error.to_string());
        }
    }

    /// Reads anew.  If that fails, the value stays, and the error says whether it is a new one.
    fn read(&mut self, search: &Search) -> Result<(), (Error, bool)> {
        let mut lookup = Lookup::new(search, &self.last_good, self.is_good);
        let result = T::read(&mut lookup, &self.name);
        let Lookup { dependencies, is_stable, .. } = lookup;
        let result = match result {
            Ok(value) => {
                let there = dependencies.iter().filter(|dependency| dependency.is_there());
                self.last_good = there.map(|dependency| dependency.path.clone()).collect();
                if !self.value.equals(&value) {
                    self.value = value;
                }
                self.trouble = None;
                self.is_good = true;
                Ok(())
            }
            Err(error) => {
                let text = Some(error.to_string());
                let news = self.trouble != text || self.dependencies != dependencies;
                self.trouble = text;
                Err((error, news))
            }
        };
        self.dependencies = dependencies;
        self.is_stable = is_stable;
        result
    }
}

#[cfg(test)]
mod tests;
