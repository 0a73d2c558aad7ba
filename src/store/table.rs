//! A plugin's part of the store.

use std::fmt::Display;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::store::engine::{Change, Changer, Found, Result};
use crate::store::{Store, Unavailable};

/// Longer keys are shortened: LMDB takes 511 octets.
const LONGEST: usize = 400;

/// What stays of a long key, in front of the hash of the whole.
const START: usize = 300;

/// The entries of one plugin.
#[derive(Debug, Clone)]
pub struct Table {
    store: Rc<Store>,
    /// The name and a colon, with which the keys begin.
    prefix: String,
    until: Option<Instant>,
}

/// An entry, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its key; what is no UTF-8 is replaced.
    pub key: String,
    /// Its key as it is.
    pub raw: Vec<u8>,
    /// Its value, likewise.
    pub value: String,
    /// How much longer it is kept.
    pub left: Duration,
    /// What time it is: since 1970, by the clock that values are reckoned with.
    pub now: Duration,
}

impl Table {
    /// The table `name` of a store that has to answer by `until`, and within its own limit.  Plugins have
    /// `session.store(NAME)`.
    pub fn new(store: Rc<Store>, name: &str, until: Option<Instant>) -> Table {
        Table { store, prefix: prefix(name), until }
    }

    /// The value of `key`; None where there is none, or its time is over, or it is none of this type.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn get<T: FromStr>(&self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        let value = self.get_octets(key.as_ref())?;
        Ok(value.and_then(|value| parsed(&value)))
    }

    /// The same as it is kept.
    pub(crate) fn get_octets(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let key = self.key(key);
        self.store.ask(self.until, |engine, at| engine.get(&key, at))
    }

    /// Changes the entry `key` as `change` says, which is given the value that there is, as
    /// [`Table::get`] gives it.  Returns what `change` has said beside.  Nobody else changes the entry
    /// in between; where somebody does, `change` is asked again.  It must not ask the store.
    ///
    /// # Errors
    /// The store does not answer, or takes nothing more; then the entry is what it was.  With Redis it
    /// may be changed although the answer did not come in time.
    pub fn update<T: FromStr + Display, R>(
        &self,
        key: impl AsRef<[u8]>,
        mut change: impl FnMut(Option<T>) -> (Change<T>, R),
    ) -> Result<R> {
        let mut said = None;
        self.update_octets(key.as_ref(), &mut |old| {
            let (changed, beside) = change(old.and_then(parsed));
            said = Some(beside);
            match changed {
                Change::Keep => Change::Keep,
                Change::Put(value, time) => Change::Put(value.to_string().into_bytes(), time),
                Change::Remove => Change::Remove,
            }
        })?;
        said.ok_or_else(|| Unavailable::now("nothing was changed"))
    }

    /// The same with values as they are kept.
    pub(crate) fn update_octets(&self, key: &[u8], change: Changer<'_>) -> Result<()> {
        let key = self.key(key);
        self.store.ask(self.until, |engine, at| engine.update(&key, at, change))
    }

    /// Gives `key` a value for so long, whatever it had.
    ///
    /// # Errors
    /// As [`Table::update`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Display, time: Duration) -> Result<()> {
        let value = value.to_string();
        self.update(key, |_: Option<String>| (Change::Put(value.clone(), time), ()))
    }

    /// Forgets `key`.  Was it there?
    ///
    /// # Errors
    /// As [`Table::update`].
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.update(key, |old: Option<String>| (Change::Remove, old.is_some()))
    }

    /// All entries in the order of their keys: for tools, not for sessions.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn entries(&self) -> Result<Vec<Kept>> {
        self.entries_from("")
    }

    /// Those whose keys begin with `start`, likewise.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn entries_from(&self, start: &str) -> Result<Vec<Kept>> {
        let prefix = [self.prefix.as_bytes(), start.as_bytes()].concat();
        let own = self.prefix.len();
        let (mut entries, now) = (vec![], self.now());
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        self.store.ask(self.until, |engine, at| {
            entries.clear();
            engine.each(&prefix, at, &mut |Found { key, value, left }| {
                let raw = key[own..].to_vec();
                entries.push(Kept { key: text(&raw), raw, value: text(&value), left, now });
            })
        })?;
        entries.sort_by(|one, other| one.raw.cmp(&other.raw));
        // Redis may show an entry twice while others are added.
        entries.dedup_by(|one, other| one.raw == other.raw);
        Ok(entries)
    }

    /// The time since the beginning of 1970 (UTC).
    pub fn now(&self) -> Duration {
        self.store.now()
    }

    fn key(&self, own: &[u8]) -> Vec<u8> {
        let mut key = self.prefix.clone().into_bytes();
        if own.len() <= LONGEST {
            key.extend(own);
        } else {
            key.extend(&own[..START]);
            key.push(b'#');
            key.extend(
                Sha256::digest(own).iter().flat_map(|octet| format!("{octet:02x}").into_bytes()),
            );
        }
        key
    }
}

/// What the keys of a table begin with: its name without what would end it, or make another of it.
fn prefix(name: &str) -> String {
    let plain = |c: char| if c == ':' || c.is_control() || c.is_whitespace() { '_' } else { c };
    name.chars().map(plain).chain([':']).collect()
}

fn parsed<T: FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
