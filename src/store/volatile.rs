//! Entries in memory, for tests: nobody else sees them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::store::engine::{Change, Changer, Engine, Found, Moment, Result};

/// Entries by their keys.
#[derive(Debug, Default)]
pub(super) struct Volatile(RefCell<BTreeMap<Vec<u8>, Entry>>);

/// A value, and the time since 1970 at which it ends.
type Entry = (Vec<u8>, Duration);

impl Engine for Volatile {
    fn get(&self, key: &[u8], at: Moment) -> Result<Option<Vec<u8>>> {
        let entries = self.0.borrow();
        let live = entries.get(key).filter(|(_, ends)| *ends > at.now);
        Ok(live.map(|(value, _)| value.clone()))
    }

    fn update(&self, key: &[u8], at: Moment, change: Changer<'_>) -> Result<()> {
        match change(self.get(key, at)?.as_deref()) {
            Change::Keep => {}
            Change::Put(value, time) => {
                let ends = at.now.saturating_add(time);
                self.0.borrow_mut().insert(key.to_vec(), (value, ends));
            }
            Change::Remove => {
                self.0.borrow_mut().remove(key);
            }
        }
        Ok(())
    }

    fn each(&self, prefix: &[u8], at: Moment, show: &mut dyn FnMut(Found)) -> Result<()> {
        let entries = self.0.borrow();
        let live = entries.iter().filter(|(_, (_, ends))| *ends > at.now);
        for (key, (value, ends)) in live.filter(|(key, _)| key.starts_with(prefix)) {
            let left = ends.saturating_sub(at.now);
            show(Found { key: key.clone(), value: value.clone(), left });
        }
        Ok(())
    }
}
