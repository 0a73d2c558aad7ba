//! What was read under a name, kept until a file that it came from changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::trail::{Dependency, Search, Trail};
use crate::error::Error;

/// How long an answer is given again without a look at the files.
const TRUST: Duration = Duration::from_secs(1);

/// Something that is read from the files under one name. The default is what a missing file gives.
pub(super) trait Source: Clone + Default {
    fn read(trail: &mut Trail<'_>, name: &str) -> Result<Self, Error>;

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
    held: Vec<PathBuf>,
    /// What the last read looked at, good or not.
    dependencies: Vec<Dependency>,
    /// Whether these dependencies can tell a change; false before the first read.
    settled: bool,
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
        let entry = &mut self.0.borrow_mut().entries[slot.0];
        entry.check(search, now);
        use_it(entry.get(search))
    }

    /// The same names, with nothing read yet.  Files that were in reach are known as such.
    pub(super) fn anew(&self) -> Cache<T> {
        let known = self.0.borrow();
        let entries = known.entries.iter().map(|entry| Entry {
            name: entry.name.clone(),
            held: entry.held.clone(),
            ..Entry::default()
        });
        let (entries, slots) = (entries.collect(), known.slots.clone());
        Cache(RefCell::new(Known { entries, slots }))
    }

    /// The files that were read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.0.borrow().entries.iter().flat_map(|entry| entry.held.clone()).collect()
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
            entry.check(search, now);
        }
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

    fn check(&mut self, search: &Search, now: Instant) {
        self.trusted = Some(now + TRUST);
        if self.settled && self.dependencies.iter().all(Dependency::unchanged) {
            return;
        }
        if let Err((error, true)) = self.read(search) {
            search.problems.note(error.to_string());
        }
    }

    /// Reads anew.  If that fails, the value stays, and the error says whether it is a new one.
    fn read(&mut self, search: &Search) -> Result<(), (Error, bool)> {
        let mut trail = Trail::new(search, &self.held, self.is_good);
        let result = T::read(&mut trail, &self.name);
        let Trail { dependencies, settled, .. } = trail;
        let result = match result {
            Ok(value) => {
                let there = dependencies.iter().filter(|dependency| dependency.is_there());
                self.held = there.map(|dependency| dependency.path.clone()).collect();
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
        self.settled = settled;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The text of a file; its reads are counted.
    #[derive(Clone, Default, Debug, PartialEq)]
    struct Counted(String);

    thread_local! {
        static READS: RefCell<u32> = const { RefCell::new(0) };
    }

    impl Source for Counted {
        fn read(trail: &mut Trail<'_>, name: &str) -> Result<Counted, Error> {
            READS.with_borrow_mut(|reads| *reads += 1);
            match trail.find(name, false).map_err(Error::new)? {
                Some((path, _)) => {
                    let text = fs::read_to_string(path).map_err(Error::new)?;
                    if text == "bad" { Err(Error::new("it is bad")) } else { Ok(Counted(text)) }
                }
                None => Ok(Counted::default()),
            }
        }
    }

    struct Setup {
        dir: tempfile::TempDir,
        search: Search,
        cache: Cache<Counted>,
        start: Instant,
    }

    fn setup() -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let search = Search { dirs: vec![dir.path().to_owned()], ..Search::default() };
        READS.set(0);
        Setup { dir, search, cache: Cache::default(), start: Instant::now() }
    }

    impl Setup {
        fn write(&self, text: &str) {
            fs::write(self.dir.path().join("x"), text).unwrap();
        }

        /// What is got `after` milliseconds, and how often it was read by then.
        fn get(&self, after: u64) -> (String, u32) {
            let now = self.start + Duration::from_millis(after);
            let text = self.cache.get(&self.search, "x", now).0;
            (text, READS.with_borrow(|reads| *reads))
        }

        /// As if the files had been changed long before they were read, or just then.
        fn settle(&self, settled: bool) {
            self.cache.0.borrow_mut().entries.iter_mut().for_each(|entry| entry.settled = settled);
        }
    }

    fn got(text: &str, reads: u32) -> (String, u32) {
        (text.to_owned(), reads)
    }

    #[test]
    fn trusts_for_a_second() {
        let setup = setup();
        setup.write("old");
        assert_eq!(setup.get(0), got("old", 1));
        setup.write("newer");
        assert_eq!(setup.get(999), got("old", 1));
        assert_eq!(setup.get(1000), got("newer", 2));
    }

    #[test]
    fn trusts_that_there_is_nothing() {
        let setup = setup();
        assert_eq!(setup.get(0), got("", 1));
        setup.write("new");
        assert_eq!(setup.get(999), got("", 1));
        assert_eq!(setup.get(1000), got("new", 2));
    }

    #[test]
    fn counts_the_second_from_the_last_check() {
        let setup = setup();
        setup.write("old");
        setup.get(0);
        setup.settle(true);
        assert_eq!(setup.get(1500), got("old", 1));
        setup.write("newer");
        assert_eq!(setup.get(2400), got("old", 1));
        assert_eq!(setup.get(2500), got("newer", 2));
    }

    #[test]
    fn reads_again_only_what_changed() {
        let setup = setup();
        setup.write("old");
        setup.get(0);
        setup.settle(true);
        for second in 1..5 {
            assert_eq!(setup.get(second * 1000), got("old", 1));
        }
        let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        let file = fs::File::options().write(true).open(setup.dir.path().join("x")).unwrap();
        file.set_times(times).unwrap();
        assert_eq!(setup.get(9000), got("old", 2));
    }

    #[test]
    fn reads_a_fresh_file_again() {
        let setup = setup();
        setup.write("old");
        setup.get(0);
        setup.settle(false);
        assert_eq!(setup.get(1000), got("old", 2));
    }

    #[test]
    fn refresh_and_expire() {
        let setup = setup();
        setup.write("old");
        setup.get(0);
        setup.write("newer");
        setup.cache.refresh(&setup.search, setup.start);
        assert_eq!(setup.get(1), got("newer", 2));
        setup.write("newest");
        setup.cache.expire();
        assert_eq!(setup.get(1), got("newest", 3));
    }

    #[test]
    fn keeps_the_last_good_one_and_complains_once_per_change() {
        let setup = setup();
        setup.write("good");
        setup.get(0);
        setup.write("bad");
        assert_eq!(setup.get(1000), got("good", 2));
        assert_eq!(setup.search.problems.take(), ["it is bad"]);
        setup.settle(false);
        assert_eq!(setup.get(2000), got("good", 3));
        setup.settle(true);
        assert_eq!(setup.get(3000), got("good", 3));
        assert!(setup.search.problems.take().is_empty());

        fs::write(setup.dir.path().join("y"), "bad").unwrap();
        fs::rename(setup.dir.path().join("y"), setup.dir.path().join("x")).unwrap();
        assert_eq!(setup.get(4000), got("good", 4));
        assert_eq!(setup.search.problems.take(), ["it is bad"]);

        setup.write("better");
        assert_eq!(setup.get(5000), got("better", 5));
        assert!(setup.search.problems.take().is_empty());
    }

    #[test]
    fn load_returns_the_error() {
        let setup = setup();
        setup.write("bad");
        let error = setup.cache.load(&setup.search, "x", setup.start).unwrap_err();
        assert_eq!(error.to_string(), "it is bad");
        assert_eq!(setup.get(0), got("", 1));
        setup.settle(false);
        assert_eq!(setup.get(1000), got("", 2));
        assert!(setup.search.problems.take().is_empty());

        setup.write("good");
        let loaded = setup.cache.load(&setup.search, "x", setup.start).unwrap();
        assert_eq!(loaded, Counted("good".into()));
        assert_eq!(setup.get(0), got("good", 3));
    }
}
