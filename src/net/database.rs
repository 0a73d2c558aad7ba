//! Databases about addresses, in the form that MaxMind's have (MaxMind DB 2.0, `.mmdb`).

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader};

use crate::error::{Error, Result};
use crate::sys::mapped::Mapped;

/// The longest name that is taken from a database, in characters.
const LONGEST: usize = 100;

/// A database in a file, which all processes that are made later share.
pub(crate) struct Database {
    path: PathBuf,
    /// What identifies the file that is open, or was tried last.
    stamp: RefCell<Option<Stamp>>,
    open: RefCell<Open>,
}

struct Open {
    octets: Shared,
    reader: Reader<Shared>,
}

type Stamp = (u64, u64, u64, i64, i64);

/// What a database has for an address.
pub(crate) struct Record<'a>(&'a LookupResult<'a, Shared>);

/// A database has something else than it should.
pub(crate) type Odd = MaxMindDbError;

impl Database {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be read, or is no database.
    pub(crate) fn open(path: &Path) -> Result<Database> {
        let stamp = stamp(path);
        let open = open(path)?;
        Ok(Database { path: path.into(), stamp: RefCell::new(stamp), open: RefCell::new(open) })
    }

    /// Opens the file again if there is another one now.  Returns whether it did.
    ///
    /// # Errors
    /// What is wrong with the new one, told once; the old one stays in use.
    pub(crate) fn refresh(&self) -> Result<bool> {
        let stamp = stamp(&self.path);
        if *self.stamp.borrow() == stamp {
            return Ok(false);
        }
        self.stamp.replace(stamp);
        let open = open(&self.path)
            .map_err(|error| error.within("the new database is broken, the old one stays"))?;
        self.open.replace(open);
        Ok(true)
    }

    /// Has `take` look at the record of an address, where there is one.
    ///
    /// # Errors
    /// The database cannot be read there, or `take` says so.
    pub(crate) fn look_up(
        &self,
        ip: IpAddr,
        take: impl FnOnce(&Record<'_>) -> std::result::Result<(), Odd>,
    ) -> Result<()> {
        let wrong = |why: &dyn fmt::Display| named(&self.path, why);
        let open = self.open.borrow();
        if ip.is_ipv6() && open.reader.metadata().ip_version == 4 {
            return Ok(());
        }
        if !open.octets.0.is_whole() {
            return Err(wrong(&"it was truncated"));
        }
        let found = open.reader.lookup(ip).map_err(|error| wrong(&error))?;
        if !found.has_data() {
            return Ok(());
        }
        take(&Record(&found)).map_err(|error| wrong(&error))
    }
}

impl Record<'_> {
    /// A text without control characters, of at most 100 characters.
    ///
    /// # Errors
    /// There is something else in its place.
    pub(crate) fn text(&self, path: &[&str]) -> std::result::Result<Option<String>, Odd> {
        let text: Option<&str> = self.0.decode_path(&keys(path))?;
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        Ok(text.map(plain).filter(|text: &String| !text.is_empty()))
    }

    /// A number with a fraction.
    ///
    /// # Errors
    /// There is something else in its place.
    pub(crate) fn float(&self, path: &[&str]) -> std::result::Result<Option<f64>, Odd> {
        self.0.decode_path(&keys(path))
    }

    /// A number of up to 32 bits.
    ///
    /// # Errors
    /// There is something else in its place.
    pub(crate) fn number(&self, path: &[&str]) -> std::result::Result<Option<u32>, Odd> {
        self.0.decode_path(&keys(path))
    }
}

/// The octets of a database, for its reader, and for who looks whether they are there.
#[derive(Clone)]
struct Shared(Rc<Mapped>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().as_ref()
    }
}

fn keys<'a>(path: &[&'a str]) -> Vec<PathElement<'a>> {
    path.iter().map(|name| PathElement::Key(name)).collect()
}

fn open(path: &Path) -> Result<Open> {
    let octets = Mapped::open(path).map_err(|error| named(path, &error))?;
    let octets = Shared(Rc::new(octets));
    let reader = Reader::from_source(octets.clone()).map_err(|error| named(path, &error))?;
    Ok(Open { octets, reader })
}

fn named(path: &Path, why: &dyn fmt::Display) -> Error {
    Error::new(format!("{}: {why}", path.display()))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}
