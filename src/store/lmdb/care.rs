//! Looking after LMDB's file: what is over is removed, what killed processes left behind is cleared,
//! the rest is written to the disk; and a damaged file is set aside, so that a new one can begin.
//!
//! A damaged file may bring to harm who reads it.  So a process reads it that has nothing else to do,
//! and another waits to see what becomes of it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use heed::{CompactionOption, Error, MdbError, RwTxn};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::log::Level;
use crate::store::engine::Result;
use crate::store::lmdb::clocks::{Clocks, DRIFT};
use crate::store::lmdb::{LmdbEngine, RESERVED};
use crate::store::record::Record;
use crate::sys::fork::{Forked, exit, fork};
use crate::sys::lmdb::Lmdb;

/// An entry with the clocks as they were when the file was last looked after.
const CLOCKS: &[u8] = b"\0clocks";

/// How often that is done.
pub(crate) const PACE: Duration = Duration::from_secs(600);

/// How many entries are changed at once, while others wait.
const AT_ONCE: usize = 500;

/// How many are remembered to be changed in one look.
const MOST: usize = 200_000;

/// How long reading everything may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How a process ends that has found the file damaged, or could not look at it.
const DAMAGED: i32 = 3;
const FAILED: i32 = 4;

/// What kills a process that reads a damaged file.
const HARM: [Signal; 3] = [Signal::SIGBUS, Signal::SIGSEGV, Signal::SIGABRT];

/// What has become of the entries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Tended {
    pub(in crate::store) entries: usize,
    /// How many were over, and are no more.
    pub(in crate::store) removed: usize,
    /// What is wrong with the file.
    pub(in crate::store) damage: Option<&'static str>,
}

impl LmdbEngine {
    /// Looks after the file in a process of its own, and waits for that.
    pub(super) fn tend_apart(&self, wall: Duration, log: &dyn Fn(Level, &str)) {
        if !self.path().exists() {
            return;
        }
        let outcome = outcome_of(|| self.roomier().tend_and_say(&Clocks::now(wall), log));
        let why = match outcome {
            Ok(WaitStatus::Exited(_, DAMAGED)) => String::new(),
            Ok(WaitStatus::Signaled(_, signal, _)) if HARM.contains(&signal) => {
                format!(" ({signal})")
            }
            Ok(WaitStatus::Exited(..)) => return,
            other => {
                let folder = self.folder.display();
                return log(Level::Warn, &format!("{folder} was not looked after: {other:?}"));
            }
        };
        self.set_aside(&why, log);
    }

    /// Was that done within the last while?
    pub(super) fn was_tended(&self, now: Duration) -> Result<bool> {
        self.with(|lmdb| {
            let reading = lmdb.env().read_txn()?;
            let last = lmdb.get(&reading, CLOCKS)?.and_then(Clocks::read);
            Ok(last.is_some_and(|last| last.wall.abs_diff(now) < PACE))
        })
    }

    fn set_aside(&self, why: &str, log: &dyn Fn(Level, &str)) {
        let entries = self.entries();
        let bad = entries.with_extension("bad");
        let (shown, aside) = (entries.display(), bad.display());
        let _ = fs::remove_dir_all(&bad);
        let text = match fs::rename(&entries, &bad) {
            Ok(()) => {
                format!("{shown} was damaged{why}: it is {aside} now, and a new store begins")
            }
            Err(error) => format!("{shown} is damaged{why}, and cannot become {aside}: {error}"),
        };
        log(Level::Error, &text);
    }

    /// Looks after the file, and returns how the process has to end.
    fn tend_and_say(&self, clocks: &Clocks, log: &dyn Fn(Level, &str)) -> i32 {
        match self.tend(clocks) {
            Ok(Tended { damage: Some(damage), .. }) => {
                log(Level::Error, &format!("{}: {damage}", self.path().display()));
                DAMAGED
            }
            Ok(Tended { entries, removed, .. }) => {
                let text = format!("the store has {entries} entries, {removed} were expired");
                log(Level::Debug, &text);
                0
            }
            Err(error) if error.is_damage() => DAMAGED,
            Err(error) => {
                log(Level::Error, &error.to_string());
                FAILED
            }
        }
    }

    /// Looks after the file in this process.
    pub(in crate::store) fn tend(&self, clocks: &Clocks) -> Result<Tended> {
        let found = self.with(|lmdb| look(lmdb, clocks))?;
        let mut tended = Tended { entries: found.entries, removed: 0, damage: found.damage };
        if tended.damage.is_some() {
            return Ok(tended);
        }
        for keys in found.odd.chunks(AT_ONCE) {
            tended.removed += self.with(|lmdb| {
                let mut writing = lmdb.env().write_txn()?;
                let mut removed = 0;
                for key in keys {
                    removed += usize::from(repair(lmdb, &mut writing, key, clocks.wall)?);
                }
                writing.commit().map(|()| removed)
            })?;
        }
        self.with(|lmdb| {
            let mut writing = lmdb.env().write_txn()?;
            lmdb.put(&mut writing, CLOCKS, clocks.to_text().as_bytes())?;
            writing.commit()?;
            lmdb.env().clear_stale_readers()?;
            lmdb.env().force_sync()
        })?;
        Ok(tended)
    }
}

/// Runs `work` in a process of its own.
fn outcome_of(work: impl FnOnce() -> i32) -> nix::Result<WaitStatus> {
    let pid = match fork()? {
        Forked::Child => exit(catch_unwind(AssertUnwindSafe(work)).unwrap_or(FAILED)),
        Forked::Parent(pid) => pid,
    };
    let until = Instant::now() + LIMIT;
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            Err(nix::errno::Errno::EINTR) => {}
            ended => return ended,
        }
        if Instant::now() >= until {
            kill(pid, Signal::SIGKILL)?;
        }
        // No call waits for a process for so long and no longer.
        thread::sleep(Duration::from_millis(2));
    }
}

/// What is in a file.
struct Found {
    entries: usize,
    damage: Option<&'static str>,
    /// Entries whose time is over, or begins later than now.
    odd: Vec<Vec<u8>>,
}

/// Reads everything.  Where the clock on the wall was set since the last look, nothing is odd yet.
fn look(lmdb: &Lmdb, clocks: &Clocks) -> heed::Result<Found> {
    let reading = lmdb.env().read_txn()?;
    let before = lmdb.get(&reading, CLOCKS)?.and_then(Clocks::read);
    let is_steady = before.as_ref().is_some_and(|before| clocks.went_on_from(before));
    let length = lmdb.len(&reading)?;
    let mut found = Found { entries: 0, damage: None, odd: vec![] };
    if before.is_none_or(|before| before.boot != clocks.boot) && !is_whole(lmdb)? {
        found.damage = Some("its pages do not fit together");
        return Ok(found);
    }
    let (mut count, mut last) = (0, None);
    for entry in lmdb.from(&reading, RESERVED)? {
        let (key, octets) = entry?;
        count += 1;
        if count > length || last.is_some_and(|last| last >= key) {
            found.damage = Some("its entries are not in order");
            return Ok(found);
        }
        last = Some(key);
        if key.starts_with(RESERVED) {
            continue;
        }
        let Some(record) = Record::read(octets) else {
            found.damage = Some("an entry is too short");
            return Ok(found);
        };
        found.entries += 1;
        if is_steady && found.odd.len() < MOST && is_odd(&record, clocks.wall) {
            found.odd.push(key.to_vec());
        }
    }
    if count < length {
        found.damage = Some("entries are missing");
    }
    Ok(found)
}

/// The first time after a start of the machine: is each page either in use or free?  LMDB finds that out
/// when it copies a file, which nobody needs here.
fn is_whole(lmdb: &Lmdb) -> heed::Result<bool> {
    let mut nowhere = File::options().write(true).open("/dev/null")?;
    match lmdb.env().copy_to_file(&mut nowhere, CompactionOption::Enabled) {
        Err(Error::Mdb(MdbError::Problem | MdbError::Incompatible)) => Ok(false),
        // A limit of memory lets nobody have the thread that copies.
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        copied => copied.map(|()| true),
    }
}

fn is_odd(record: &Record<'_>, now: Duration) -> bool {
    !record.is_live(now) || record.written > now + DRIFT
}

/// Removes an entry whose time is over, and lets the time of one begin now that would begin later: it
/// was written before the clock was set back.  Was it removed?
fn repair(lmdb: &Lmdb, writing: &mut RwTxn<'_>, key: &[u8], now: Duration) -> heed::Result<bool> {
    let Some(octets) = lmdb.get(writing, key)? else { return Ok(false) };
    let octets = octets.to_vec();
    match Record::read(&octets).filter(|record| is_odd(record, now)) {
        Some(record) if record.is_live(now) => {
            let time = record.ends.saturating_sub(record.written);
            let record = Record::new(now, time, record.value).to_octets();
            lmdb.put(writing, key, &record).map(|()| false)
        }
        Some(_) => lmdb.delete(writing, key),
        None => Ok(false),
    }
}
