//! The parent's part in the store.  It never opens it: a process looks after it that is made for that.

use std::rc::Rc;
use std::time::Instant;

use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::{Plugins, Shared};
use crate::log::Level;
use crate::server::parent::Parent;
use crate::store::{PACE, Store};

/// The store for new processes, where there were others before: `old` is theirs.
///
/// # Errors
/// Plugins want it, and it cannot be had: the text says why.
pub(in crate::server) fn for_plugins(
    config: &Config,
    plugins: &Plugins,
    old: Option<&Store>,
) -> Result<Rc<Store>> {
    let store = match old {
        Some(old) => old.anew(config),
        None => Store::new(config)?,
    };
    match store.fault(false) {
        Some(fault) if !plugins.tables().is_empty() => Err(Error::new(fault)),
        _ => {
            let is_used = !plugins.tables().is_empty();
            for why in store.narrowed().iter().filter(|_| is_used) {
                plugins.log(Level::Info, why);
            }
            Ok(Rc::new(store))
        }
    }
}

impl Parent {
    /// Before the first client: what is damaged is set aside.  Waits for that.
    pub(in crate::server) fn check_store(&mut self) {
        if let Some(pid) = self.look_after_store() {
            let _ = waitpid(pid, None);
        }
    }

    /// From time to time, without waiting.
    pub(super) fn tend_store(&mut self, now: Instant) {
        if now.duration_since(self.tended) >= PACE {
            self.look_after_store();
        }
    }

    /// A process was killed as one is that reads a damaged file.
    pub(super) fn suspect_store(&mut self) {
        self.look_after_store();
    }

    fn look_after_store(&mut self) -> Option<Pid> {
        self.tended = Instant::now();
        self.aside("looks after the store", |Shared { store, plugins, .. }| {
            store.tend(&|level, text| plugins.log(level, text));
        })
    }
}
