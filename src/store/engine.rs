//! What an engine does.

use std::time::{Duration, Instant};

use crate::store::Unavailable;

/// What an engine says.
pub(super) type Result<T> = std::result::Result<T, Unavailable>;

/// What becomes of an entry; see [`crate::store::Store::update`].
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
    #[allow(dead_code)]
    pub(super) until: Instant,
}

/// Where entries are kept.
pub(super) trait Engine {
    /// The value of a key.
    fn get(&self, key: &[u8], at: Moment) -> Result<Option<Vec<u8>>>;
    /// Changes an entry while nobody else does.
    fn update(&self, key: &[u8], at: Moment, change: Changer<'_>) -> Result<()>;
    /// All entries whose keys begin with `prefix`, in the order of their keys.
    fn list(&self, prefix: &[u8], at: Moment) -> Result<Vec<Found>>;
}
