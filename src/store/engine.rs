//! What an engine does.

use std::time::{Duration, Instant};

use crate::log::Level;
use crate::store::Unavailable;

/// What an engine says.
pub(super) type Result<T> = std::result::Result<T, Unavailable>;

/// What becomes of an entry; see [`crate::store::Table::update`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is, or absent.
    Keep,
    /// It has this value from now on, for so long.
    Put(T, Duration),
    /// It is forgotten.
    Remove,
}

/// An entry as an engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its key, with the name of the plugin's part.
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// How much longer it is kept.
    pub(super) left: Duration,
}

/// Makes a new value of the old one, perhaps several times until nobody came in between.
pub(super) type Changer<'a> = &'a mut dyn FnMut(Option<&[u8]>) -> Change<Vec<u8>>;

/// When something is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The time since 1970, by the clock on the wall.
    pub(super) now: Duration,
    /// Until when there has to be an answer.
    pub(super) until: Instant,
}

/// Where entries are kept.
pub(super) trait Engine {
    /// The value of a key.
    fn get(&self, key: &[u8], at: Moment) -> Result<Option<Vec<u8>>>;
    /// Changes an entry while nobody else does.
    fn update(&self, key: &[u8], at: Moment, change: Changer<'_>) -> Result<()>;
    /// Shows all entries of plugins whose keys begin with `prefix`.
    fn each(&self, prefix: &[u8], at: Moment, show: &mut dyn FnMut(Found)) -> Result<()>;
    /// Is there something to be asked?
    fn exists(&self) -> bool {
        true
    }
    /// Does what has to be done from time to time, and does not come to harm.  To be called where nothing
    /// was asked before.
    fn tend(&self, _now: Duration, _log: &dyn Fn(Level, &str)) {}
    /// Does it answer?
    fn greet(&self, _at: Moment) -> Result<()> {
        Ok(())
    }
    /// Has it been asked here, and was that not done for a while?
    fn is_neglected(&self, _now: Duration) -> bool {
        false
    }
    /// Why it has less room than it was given.
    fn narrowed(&self) -> Option<String> {
        None
    }
    /// What is wrong with where it is, without a change to it.  `makes`: somebody makes folders who may
    /// do so anywhere.
    fn fault(&self, _makes: bool) -> Option<String> {
        None
    }
}
