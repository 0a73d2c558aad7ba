//! What every engine does, and what LMDB does with its file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;

use super::lmdb::clocks::Clocks;
use super::lmdb::{ENTRIES, FILE, LmdbEngine};
use super::*;
use crate::config::Config;
use crate::log::Level;
use crate::sys::fork::{Forked, exit, fork};

/// Whoever makes a process does so while nobody opens a file: LMDB's list of what is open has a lock,
/// which the new process would find taken for ever.
static ALONE: Mutex<()> = Mutex::new(());

const DAY: Duration = Duration::from_secs(24 * 3600);

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn store_in(folder: &Path, size: &str) -> Rc<Store> {
    let config = folder.join("config");
    fs::create_dir_all(&config).unwrap();
    let line = format!("lmdb {} {size}", folder.join("store").display());
    fs::write(config.join("store"), line).unwrap();
    Rc::new(Store::new(&Config::new(vec![config])).unwrap())
}

fn table(store: &Rc<Store>) -> Table {
    Table::new(store.clone(), "test", None)
}

fn add(table: &Table, key: &str, number: u64) -> std::result::Result<u64, Unavailable> {
    table.update(key, |old: Option<u64>| {
        let sum = old.unwrap_or(0) + number;
        (Put(sum, DAY), sum)
    })
}

/// Runs `test` with a table of every engine.
fn each_engine(test: impl Fn(&Rc<Store>)) {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    test(&store_in(dir.path(), "8M"));
    test(&Rc::new(Store::volatile(&Config::new(vec![])).unwrap()));
}

#[test]
fn entries_are_changed_listed_and_removed() {
    each_engine(|store| {
        let one = table(store);
        let other = Table::new(store.clone(), "tes", None);
        assert_eq!(one.get::<u64>("a"), Ok(None));
        assert_eq!((add(&one, "a", 2), add(&one, "a", 3)), (Ok(2), Ok(5)));
        assert_eq!(add(&other, "t:a", 9), Ok(9));
        one.put("b", "x", DAY).unwrap();
        let kept = one.update("a", |old: Option<u64>| (Keep, old));
        assert_eq!(kept, Ok(Some(5)));
        let entries = one.entries().unwrap();
        let entries = entries.iter().map(|kept| (&*kept.key, &*kept.value)).collect::<Vec<_>>();
        assert_eq!(entries, [("a", "5"), ("b", "x")]);
        // What is of another type is as if it were not there.
        assert_eq!(one.get::<u64>("b"), Ok(None));
        assert_eq!(one.get("b"), Ok(Some("x".to_owned())));
        assert_eq!((one.remove("a"), one.remove("a")), (Ok(true), Ok(false)));
        assert_eq!(other.entries().unwrap().len(), 1);
        assert_eq!(store.take_lines(), []);
    });
}

#[test]
fn keys_may_be_anything() {
    each_engine(|store| {
        let table = table(store);
        let long = "x".repeat(3000);
        let keys: [&[u8]; 5] = [b"", b"\0", b"a:b", b"\xff\xfe", long.as_bytes()];
        for (number, key) in keys.iter().enumerate() {
            table.put(key, number, DAY).unwrap();
        }
        table.put(long.clone() + "y", 9, DAY).unwrap();
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(table.get(key), Ok(Some(number)), "{key:?}");
        }
        assert_eq!(table.entries().unwrap().len(), 6);
    });
}

#[test]
fn entries_end_when_their_time_is_over_and_clocks_may_jump() {
    each_engine(|store| {
        let table = table(store);
        store.set_clock(seconds(1000));
        table.put("a", 1, seconds(10)).unwrap();
        assert_eq!(table.entries().unwrap()[0].left, seconds(10));
        store.set_clock(seconds(1009));
        assert_eq!(table.get("a"), Ok(Some(1)));
        // Back to the beginning, and beyond the end of all times.
        store.set_clock(Duration::ZERO);
        assert_eq!(table.get("a"), Ok(Some(1)));
        assert!(table.entries().unwrap()[0].left <= seconds(1010));
        store.set_clock(Duration::MAX);
        assert_eq!(table.get::<u64>("a"), Ok(None));
        assert_eq!(add(&table, "b", 1), Ok(1));
        table.put("c", 1, Duration::MAX).unwrap();
        store.set_clock(seconds(1010));
        assert_eq!(table.get::<u64>("a"), Ok(None));
        assert_eq!(table.get("c"), Ok(Some(1)));
    });
}

#[test]
fn a_panic_or_a_question_within_an_update_leaves_the_store_as_it_was() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path(), "8M");
    let table = table(&store);
    add(&table, "a", 1).unwrap();
    let panics = std::panic::AssertUnwindSafe(|| {
        table.update("a", |_: Option<u64>| -> (Change<u64>, ()) { panic!("no way") })
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    let nested = table.update("a", |old: Option<u64>| (Put(7, DAY), (old, add(&table, "a", 1))));
    assert!(matches!(nested, Ok((Some(1), Err(_)))), "{nested:?}");
    assert_eq!(table.get("a"), Ok(Some(7)));
}

/// Several processes count, and some are killed at any moment: what was confirmed is there.
/// After so long nobody is going to be woken.
const HELD: Duration = Duration::from_secs(10);

#[test]
fn killed_processes_lose_nothing_and_leave_the_store_open() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path(), "64M");
    let confirmed = crate::sys::shared::cells(9).unwrap();
    let count = |own: &'static std::sync::atomic::AtomicU64, key: String| {
        let table = table(&store);
        let mut at = 0;
        loop {
            at = add(&table, &key, 1).unwrap_or_else(|error| panic!("{error} after {at}"));
            add(&table, "all", 1).unwrap();
            own.store(at, std::sync::atomic::Ordering::SeqCst);
        }
    };
    let mut held = 0;
    for round in 0..20_u64 {
        let children = confirmed[..3].iter().enumerate().map(|(place, own)| {
            own.store(0, std::sync::atomic::Ordering::SeqCst);
            match fork().unwrap() {
                Forked::Child => count(own, format!("{round} {place}")),
                Forked::Parent(pid) => pid,
            }
        });
        let children: Vec<_> = children.collect();
        for (pid, own) in children.into_iter().zip(confirmed) {
            // Everybody has got on since the one before was killed.
            let before = own.load(std::sync::atomic::Ordering::SeqCst);
            let since = Instant::now();
            while own.load(std::sync::atomic::Ordering::SeqCst) < before + 20 + round % 7 {
                // The kernel wakes one of those who wait for a lock.  Where that one is killed before
                // it has the lock, and another has taken it meanwhile, the next one sleeps on: in a
                // server until its handler's time is over.
                if since.elapsed() > HELD {
                    held += 1;
                    break;
                }
                std::thread::yield_now();
            }
            kill(pid, Signal::SIGKILL).unwrap();
            waitpid(pid, None).unwrap();
        }
        match fork().unwrap() {
            Forked::Child => {
                let table = table(&store);
                let seen = |place: usize| table.get::<u64>(format!("{round} {place}"));
                let is_there = (0..3).all(|place| {
                    let least = confirmed[place].load(std::sync::atomic::Ordering::SeqCst);
                    seen(place).unwrap().is_some_and(|seen| seen == least || seen == least + 1)
                });
                exit(i32::from(!is_there));
            }
            Forked::Parent(pid) => {
                let status = waitpid(pid, None).unwrap();
                assert_eq!(status, nix::sys::wait::WaitStatus::Exited(pid, 0), "round {round}");
            }
        }
    }
    assert!(held <= 3, "{held} of 60 were held");
    tend(dir.path(), &clocks(1000, 100));
}

/// The error of a first question, and what the log is told.
fn fault(store: &Rc<Store>) -> (String, String) {
    let error = add(&table(store), "a", 1).unwrap_err().to_string();
    let lines = store.take_lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, Level::Error);
    (error, lines[0].1.clone())
}

#[test]
fn what_cannot_be_opened_is_named_once() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    let file = folder.join(ENTRIES).join(FILE);
    fs::create_dir_all(folder.join(ENTRIES)).unwrap();
    for (octets, why) in [
        (vec![b'x'; 9000], "not a file of this version of LMDB"),
        (vec![0; 9000], "not a file of this version of LMDB"),
        (b"short".to_vec(), "not a file of this version of LMDB"),
    ] {
        fs::write(&file, &octets).unwrap();
        let store = store_in(dir.path(), "8M");
        let (error, line) = fault(&store);
        assert!(error.contains(why) && line == error, "{error}");
        // It is left alone, quietly.
        assert!(add(&table(&store), "a", 1).unwrap_err().to_string().contains("left alone"));
        assert_eq!(store.take_lines(), []);
        assert_eq!(fs::read(&file).unwrap(), octets);
        fs::remove_file(&file).unwrap();
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(fault(&store_in(dir.path(), "8M")).0.contains("everybody may write in it"));
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "no folder").unwrap();
    assert!(fault(&store_in(dir.path(), "8M")).0.contains("Not a directory"));
}

#[test]
fn a_database_of_others_is_left_as_it_is() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store").join(ENTRIES);
    fs::create_dir_all(&folder).unwrap();
    {
        let theirs = crate::sys::lmdb::Lmdb::open(&folder, 1 << 20, 9).unwrap();
        let mut writing = theirs.env().write_txn().unwrap();
        theirs.put(&mut writing, b"key", b"value").unwrap();
        writing.commit().unwrap();
    }
    assert!(fault(&store_in(dir.path(), "8M")).0.contains("of something else"));
}

#[test]
fn a_full_store_says_so_and_is_read() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path(), "1M");
    let table = table(&store);
    let value = "x".repeat(1000);
    let full = (0..2000).find_map(|number| table.put(number.to_string(), &value, DAY).err());
    assert!(full.unwrap().to_string().contains("is full: it has 1 MiB"));
    assert_eq!(table.get("0"), Ok(Some(value)));
    assert_eq!(store.take_lines().len(), 1);
}

/// Another file in its place is taken, as after a damaged one was set aside.
#[test]
fn a_replaced_file_is_opened() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let engine = LmdbEngine::new(&dir.path().join("store"), 1 << 20);
    let len = |engine: &LmdbEngine| {
        let counted = engine.with(|lmdb| {
            let reading = lmdb.env().read_txn()?;
            lmdb.len(&reading)
        });
        counted.unwrap()
    };
    let put = |engine: &LmdbEngine| {
        engine.with(|lmdb| {
            let mut writing = lmdb.env().write_txn()?;
            lmdb.put(&mut writing, b"x", b"y")?;
            writing.commit()
        })
    };
    put(&engine).unwrap();
    assert_eq!(len(&engine), 2);
    fs::rename(dir.path().join("store"), dir.path().join("old")).unwrap();
    engine.look_again();
    assert_eq!(len(&engine), 1);
}

fn clocks(wall: u64, steady: u64) -> Clocks {
    Clocks { wall: seconds(wall), steady: seconds(steady), boot: "this".into() }
}

/// Looks after the file of `dir` when its clocks say so; nobody else may have it open in this process.
fn tend(dir: &Path, clocks: &Clocks) -> (usize, usize) {
    let tended = LmdbEngine::new(&dir.join("store"), 8 << 20).tend(clocks).unwrap();
    assert_eq!(tended.damage, None);
    (tended.entries, tended.removed)
}

#[test]
fn what_is_over_is_removed_unless_the_clock_was_set() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let fill = |now| {
        let store = store_in(dir.path(), "8M");
        store.set_clock(seconds(now));
        for number in 0..1200 {
            table(&store).put(number.to_string(), number, seconds(60)).unwrap();
        }
        table(&store).put("stays", 1, DAY).unwrap();
    };
    fill(1000);
    // The first look, one after the clock was set forwards, and one after a start of the machine.
    assert_eq!(tend(dir.path(), &clocks(2000, 100)), (1201, 0));
    assert_eq!(tend(dir.path(), &clocks(900_000_000, 700)), (1201, 0));
    let started = Clocks { boot: "another".into(), ..clocks(900_000_600, 1300) };
    assert_eq!(tend(dir.path(), &started), (1201, 0));
    // It was set back again, and goes on.
    assert_eq!(tend(dir.path(), &clocks(2600, 100)), (1201, 0));
    assert_eq!(tend(dir.path(), &clocks(3200, 700)), (1201, 1200));
    assert_eq!(tend(dir.path(), &clocks(3800, 1300)), (1, 0));
    let store = store_in(dir.path(), "8M");
    store.set_clock(seconds(3800));
    assert_eq!(table(&store).get("stays"), Ok(Some(1)));
}

/// The clock was wrong for a while: what was written then does not stay for ever.
#[test]
fn what_was_written_in_the_future_begins_now() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    {
        let store = store_in(dir.path(), "8M");
        store.set_clock(seconds(900_000_000));
        table(&store).put("a", 1, seconds(60)).unwrap();
    }
    tend(dir.path(), &clocks(1000, 100));
    tend(dir.path(), &clocks(1600, 700));
    let store = store_in(dir.path(), "8M");
    store.set_clock(seconds(1659));
    assert_eq!(table(&store).get("a"), Ok(Some(1)));
    store.set_clock(seconds(1661));
    assert_eq!(table(&store).get::<u64>("a"), Ok(None));
}

#[test]
fn a_full_store_has_room_again_when_entries_are_over() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let value = "x".repeat(1000);
    let fill = |now| {
        let store = store_in(dir.path(), "1M");
        store.set_clock(seconds(now));
        let put =
            |number: &u64| table(&store).put(number.to_string(), &value, seconds(60)).is_err();
        (0..2000).find(put).unwrap_or(2000)
    };
    let before = fill(1000);
    assert!(before > 200);
    let engine = || LmdbEngine::new(&dir.path().join("store"), 1 << 20).roomier();
    engine().tend(&clocks(2000, 100)).unwrap();
    assert_eq!(engine().tend(&clocks(2600, 700)).unwrap().removed, before as usize);
    assert!(fill(2600) + 50 > before);
}

/// Damage of many kinds: either nobody comes to harm and all can be read, or the file is set aside and
/// a new one begins.
#[test]
fn a_damaged_file_is_set_aside() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    let file = folder.join(ENTRIES).join(FILE);
    {
        let table = table(&store_in(dir.path(), "8M"));
        (0..3000).for_each(|number| table.put(number.to_string(), number, DAY).unwrap());
    }
    let sound = fs::read(&file).unwrap();
    let page = |octets: &[u8], number: usize, with: u8| {
        let mut octets = octets.to_vec();
        octets[number * 4096..(number + 1) * 4096].fill(with);
        octets
    };
    let last = sound.len() / 4096 - 1;
    let mut damaged = vec![sound[..sound.len() / 2].to_vec(), sound[..3 * 4096].to_vec(), vec![]];
    for number in (2..=last).step_by(5) {
        damaged.extend([0, 0xff].map(|with| page(&sound, number, with)));
    }
    let mut aside = 0;
    for (number, octets) in damaged.iter().enumerate() {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir_all(folder.join(ENTRIES)).unwrap();
        fs::write(&file, octets).unwrap();
        let lines = std::cell::RefCell::new(vec![]);
        store_in(dir.path(), "8M").tend(&|level, text| {
            lines.borrow_mut().push((level, text.to_owned()));
        });
        let lines = lines.take();
        if !file.exists() {
            aside += 1;
            assert!(
                lines.iter().any(|(level, text)| {
                    *level == Level::Error
                        && text.contains("entries was damaged")
                        && text.contains("entries.bad")
                }),
                "{lines:?}"
            );
        }
        // Whatever it was: it works now.
        let store = store_in(dir.path(), "8M");
        assert_eq!(add(&table(&store), "new", 1), Ok(1), "{number} {lines:?}");
        table(&store).entries().unwrap();
    }
    assert!(aside * 2 > damaged.len(), "{aside} of {}", damaged.len());
}
