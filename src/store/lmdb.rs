//! Entries in a file that all processes of this machine share, by LMDB.
//!
//! Each process opens it at first use, never the parent: whatever happens to the file, it happens to
//! somebody who can be replaced.  A transaction costs a few microseconds, and nobody waits for a disk.
//! A process that is killed leaves nothing half done; only a machine that stops may leave a damaged
//! file, which `lmdb/care.rs` finds at the next start.

pub(super) mod care;
pub(super) mod clocks;
mod folder;

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heed::{Error, MdbError};
use nix::sys::resource::{Resource, getrlimit};

use crate::log::Level;
use crate::store::Unavailable;
use crate::store::engine::{Change, Changer, Engine, Found, Moment, Result};
use crate::store::record::Record;
use crate::sys::lmdb::Lmdb;

/// What is in the folder: a folder for LMDB's two files, which go together, so that one can be put in
/// the place of another at once.
pub(super) const ENTRIES: &str = "entries";

/// The file's name there, which is LMDB's.
pub(super) const FILE: &str = "data.mdb";

/// The name of its locks there.
const LOCKS: &str = "lock.mdb";

/// What the keys of our own entries begin with, and no plugin's.
const RESERVED: &[u8] = b"\0";

/// An entry that says what the others are.
const FORMAT: (&[u8], &[u8]) = (b"\0format", b"qpsmtpd 1");

/// How many transactions may look at the file at the same time, each for a few microseconds.
const READERS: u32 = 1024;

/// Which part of the memory that a process may have (`ulimit -v`, softlimit) is for the file, which takes
/// as much of it as it may grow to.
const SHARE: u64 = 4;

const MEBIBYTE: u64 = 1 << 20;

/// How often a process looks whether the file is still the one that it has open.
const LOOK: Duration = Duration::from_secs(1);

/// LMDB in a folder.
#[derive(Debug)]
pub(super) struct LmdbEngine {
    folder: PathBuf,
    /// To how many octets the file may grow, and to how many it was meant to.
    size: usize,
    wanted: usize,
    open: RefCell<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    lmdb: Lmdb,
    /// By what its file is known.
    file: (u64, u64),
    looked: Option<Instant>,
}

impl LmdbEngine {
    /// The file in `folder`; nothing is opened yet.  It may grow to `size` octets, and to fewer where
    /// this process may not have the memory.
    pub(super) fn new(folder: &Path, size: u64) -> LmdbEngine {
        let (memory, _) = getrlimit(Resource::RLIMIT_AS).unwrap_or((u64::MAX, u64::MAX));
        let share = (memory / SHARE / MEBIBYTE).max(1) * MEBIBYTE;
        let octets = |size| usize::try_from(size).unwrap_or(usize::MAX);
        LmdbEngine {
            folder: folder.to_owned(),
            size: octets(size.min(share)),
            wanted: octets(size),
            open: RefCell::default(),
        }
    }

    /// The same with room to remove entries where it is full: what is removed is written anew first.
    pub(super) fn roomier(&self) -> LmdbEngine {
        let (folder, size) = (self.folder.clone(), self.size + self.size / 8);
        LmdbEngine { folder, size, wanted: size, open: RefCell::default() }
    }

    fn entries(&self) -> PathBuf {
        self.folder.join(ENTRIES)
    }

    fn path(&self) -> PathBuf {
        self.entries().join(FILE)
    }

    /// Does `act` with the open file.  It may be done again where the file has grown or been replaced.
    pub(super) fn with<R>(&self, act: impl Fn(&Lmdb) -> heed::Result<R>) -> Result<R> {
        let mut open = self
            .open
            .try_borrow_mut()
            .map_err(|_| Unavailable::now("it is asked from within an update"))?;
        self.forget_replaced(&mut open);
        let mut is_first = true;
        loop {
            let opened = match &mut *open {
                Some(opened) => opened,
                None => open.insert(self.open()?),
            };
            match act(&opened.lmdb) {
                Err(Error::Mdb(MdbError::MapResized)) if is_first => *open = None,
                Err(Error::Mdb(MdbError::ReadersFull)) if is_first => {
                    opened.lmdb.env().clear_stale_readers().map_err(|error| self.fault(&error))?;
                }
                Err(error) => {
                    let fault = self.fault(&error);
                    if fault.is_down() {
                        *open = None;
                    }
                    return Err(fault);
                }
                Ok(done) => return Ok(done),
            }
            is_first = false;
        }
    }

    /// Makes the next question look whether the file is still the one that is open.
    #[cfg(test)]
    pub(super) fn look_again(&self) {
        if let Some(opened) = &mut *self.open.borrow_mut() {
            opened.looked = None;
        }
    }

    fn open(&self) -> Result<Opened> {
        let no_file = |error| self.no_file(error);
        folder::make(&self.folder, &self.entries()).map_err(no_file)?;
        let locks = self.entries().join(LOCKS);
        folder::reserve(&locks, READERS)
            .map_err(|error| Unavailable::down(format_args!("{}: {error}", locks.display())))?;
        let lmdb = Lmdb::open(&self.entries(), self.size, READERS);
        let lmdb = lmdb.map_err(|error| self.fault(&error).for_all())?;
        let file = identity(&self.path()).map_err(no_file)?;
        self.is_of_this_kind(&lmdb)?;
        Ok(Opened { lmdb, file, looked: Some(Instant::now()) })
    }

    /// A new file gets the entry that says what it is; another's file does not have it.
    fn is_of_this_kind(&self, lmdb: &Lmdb) -> Result<()> {
        let known = |lmdb: &Lmdb| -> heed::Result<bool> {
            let reading = lmdb.env().read_txn()?;
            match lmdb.get(&reading, FORMAT.0)? {
                Some(found) => return Ok(found == FORMAT.1),
                None if lmdb.len(&reading)? > 0 => return Ok(false),
                None => drop(reading),
            }
            let mut writing = lmdb.env().write_txn()?;
            lmdb.put(&mut writing, FORMAT.0, FORMAT.1)?;
            writing.commit().map(|()| true)
        };
        match known(lmdb) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.no_file("a database of something else, or of another version")),
            Err(error) => Err(self.fault(&error).for_all()),
        }
    }

    /// A damaged file was set aside, or somebody put another in its place: that one counts from now on.
    fn forget_replaced(&self, open: &mut Option<Opened>) {
        let Some(opened) = open else { return };
        let now = Instant::now();
        if opened.looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
            return;
        }
        opened.looked = Some(now);
        if identity(&self.path()).ok() != Some(opened.file) {
            *open = None;
        }
    }

    fn no_file(&self, why: impl std::fmt::Display) -> Unavailable {
        Unavailable::down(format_args!("{}: {why}", self.folder.display()))
    }

    fn fault(&self, error: &Error) -> Unavailable {
        let file = self.path();
        let file = file.display();
        match error {
            Error::Mdb(MdbError::MapFull) => {
                let mebibytes = self.size >> 20;
                Unavailable::now(format_args!("{file} is full: it has {mebibytes} MiB"))
            }
            Error::Mdb(MdbError::Invalid | MdbError::VersionMismatch) => {
                Unavailable::down(format_args!("{file} is not a file of this version of LMDB"))
            }
            Error::Mdb(MdbError::Corrupted | MdbError::PageNotFound) => {
                Unavailable::damaged(format_args!("{file} is damaged: {error}"))
            }
            Error::Mdb(MdbError::Panic) => {
                Unavailable::down(format_args!("{file} could not be written, and is opened anew"))
            }
            Error::Mdb(MdbError::BadValSize) => Unavailable::now("an empty key, or one too long"),
            _ => Unavailable::now(format_args!("{file}: {error}")),
        }
    }
}

impl Engine for LmdbEngine {
    fn get(&self, key: &[u8], at: Moment) -> Result<Option<Vec<u8>>> {
        self.with(|lmdb| {
            let reading = lmdb.env().read_txn()?;
            let record = lmdb.get(&reading, key)?.and_then(Record::read);
            let live = record.filter(|record| record.is_live(at.now));
            Ok(live.map(|record| record.value.to_vec()))
        })
    }

    fn update(&self, key: &[u8], at: Moment, change: Changer<'_>) -> Result<()> {
        let change = RefCell::new(change);
        self.with(|lmdb| {
            let mut writing = lmdb.env().write_txn()?;
            let record = lmdb.get(&writing, key)?.and_then(Record::read);
            let live = record.filter(|record| record.is_live(at.now));
            match change.borrow_mut()(live.map(|record| record.value)) {
                Change::Keep => return Ok(()),
                Change::Put(value, time) => {
                    let record = Record::new(at.now, time, &value).to_octets();
                    lmdb.put(&mut writing, key, &record)?;
                }
                Change::Remove => {
                    lmdb.delete(&mut writing, key)?;
                }
            }
            writing.commit()
        })
    }

    fn each(&self, prefix: &[u8], at: Moment, show: &mut dyn FnMut(Found)) -> Result<()> {
        let show = RefCell::new(show);
        self.with(|lmdb| {
            let reading = lmdb.env().read_txn()?;
            let entries = lmdb.from(&reading, if prefix.is_empty() { RESERVED } else { prefix })?;
            for entry in entries {
                let (key, octets) = entry?;
                if key.starts_with(RESERVED) {
                    continue;
                }
                if !key.starts_with(prefix) {
                    break;
                }
                if let Some(record) = Record::read(octets).filter(|record| record.is_live(at.now)) {
                    let (value, left) = (record.value.to_vec(), record.left(at.now));
                    show.borrow_mut()(Found { key: key.to_vec(), value, left });
                }
            }
            Ok(())
        })
    }

    fn exists(&self) -> bool {
        !fs::metadata(self.path()).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    fn tend(&self, now: Duration, log: &dyn Fn(Level, &str)) {
        self.tend_apart(now, log);
    }

    fn is_neglected(&self, now: Duration) -> bool {
        self.open.borrow().is_some() && self.was_tended(now) == Ok(false)
    }

    fn narrowed(&self) -> Option<String> {
        let [size, wanted] = [self.size, self.wanted].map(|octets| octets >> 20);
        let is_less = self.size < self.wanted;
        is_less.then(|| {
            let file = self.path();
            let quarter = "a quarter of what memory a process may have (ulimit -v)";
            format!("{} may grow to {size} MiB, not {wanted}: {quarter}", file.display())
        })
    }

    fn fault(&self, makes: bool) -> Option<String> {
        folder::fault(&self.folder, &self.entries(), makes)
    }
}

fn identity(file: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(file).map(|found| (found.dev(), found.ino()))
}
