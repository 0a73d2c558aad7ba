use super::*;
use std::fs;

/// The text of a file; its reads are counted.
#[derive(Clone, Default, Debug, PartialEq)]
struct Counted(String);

thread_local! {
    static READS: RefCell<u32> = const { RefCell::new(0) };
}

impl Source for Counted {
    fn read(lookup: &mut Lookup<'_>, name: &str) -> Result<Counted, Error> {
        READS.with_borrow_mut(|reads| *reads += 1);
        match lookup.find(name, false).map_err(Error::new)? {
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
    fn settle(&self, is_stable: bool) {
        self.cache.0.borrow_mut().entries.iter_mut().for_each(|entry| entry.is_stable = is_stable);
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
