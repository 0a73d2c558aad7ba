//! A constant database `NAME.cdb` as a map.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;

use super::cache::Source;
use super::cdb::Cdb;
use super::fingerprint::Kind;
use super::lookup::{Lookup, Problems};
use crate::error::Error;

/// The map in a file `NAME.cdb`; empty where there is no such file.
///
/// A key is looked up in the file each time, nothing is copied. Replace such a file by renaming a
/// new one onto it, as `cdbmake` does.
#[derive(Clone, Default)]
pub struct Map(Option<Rc<Open>>);

struct Open {
    cdb: Cdb,
    path: PathBuf,
    problems: Problems,
    reported: Cell<bool>,
}

impl Map {
    /// Is there such a map?
    pub(crate) fn exists(&self) -> bool {
        self.0.is_some()
    }

    /// The first value of `key`, byte for byte. A damaged file gives none, and one problem to log.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let open = self.0.as_deref()?;
        match open.cdb.get(key) {
            Ok(value) => value,
            Err(error) => {
                if !open.reported.replace(true) {
                    open.problems.note(format!("{}: {error}", open.path.display()));
                }
                None
            }
        }
    }

    /// All keys, in the order of the file; what follows damage is left out.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let Some(open) = self.0.as_deref() else { return vec![] };
        open.cdb.keys()
    }

    /// Whether the map has `key`, which must have the case that it has in the file.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key.as_bytes()).is_some()
    }
}

impl Source for Map {
    fn read(lookup: &mut Lookup<'_>, name: &str) -> Result<Map, Error> {
        let Some((path, fingerprint)) =
            lookup.find(&format!("{name}.cdb"), false).map_err(Error::new)?
        else {
            return Ok(Map::default());
        };
        if fingerprint.kind != Kind::Plain {
            return Err(Error::new(format!("{}: not a plain file", path.display())));
        }
        let cdb =
            Cdb::open(&path).map_err(|error| Error::new(format!("{}: {error}", path.display())))?;
        let problems = lookup.search.problems.clone();
        Ok(Map(Some(Rc::new(Open { cdb, path, problems, reported: Cell::new(false) }))))
    }
}
