//! The store of a process: which engine, when it is left alone, and what the log is told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::log::Level;
use crate::metrics::{Outside, answered};
use crate::settings::{STORE, STORE_TIMEOUT, StorePlace};
use crate::store::Unavailable;
use crate::store::engine::{self, Engine, Moment};
use crate::store::lmdb::LmdbEngine;
use crate::store::redis::RedisEngine;
use crate::store::volatile::Volatile;
use crate::sys::shared;

/// How long a store is left alone that did not answer.
const REST: Duration = Duration::from_secs(10);

/// How often the log says that it does not.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What plugins remember; made by a parent for all its processes, each of which opens it at first use.
pub struct Store {
    engine: Box<dyn Engine>,
    timeout: Duration,
    /// What all processes of the parent know: until when the store is left alone, and until when the log
    /// is told nothing, in milliseconds since `begun`; 0: not at all.
    rest: &'static AtomicU64,
    quiet: &'static AtomicU64,
    begun: Instant,
    /// What the time is in a test.
    clock: Cell<Option<Duration>>,
    lines: RefCell<Vec<(Level, String)>>,
}

impl Store {
    /// The store that the settings name; nothing is opened or asked yet.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(config: &Config) -> Result<Store> {
        let cells = shared::cells(2);
        let cells =
            cells.map_err(|error| Error::new(format!("no memory for the store: {error}")))?;
        let [rest, quiet] = cells else {
            unreachable!("there are as many cells as were asked for")
        };
        Ok(Store::made(config, rest, quiet, Instant::now()))
    }

    /// The same in the place of this one, when the settings may have changed.
    pub fn anew(&self, config: &Config) -> Store {
        self.rest.store(0, Relaxed);
        self.quiet.store(0, Relaxed);
        Store::made(config, self.rest, self.quiet, self.begun)
    }

    /// One that is this process's alone, in memory, for tests.
    ///
    /// # Errors
    /// There is no memory.
    pub fn volatile(config: &Config) -> Result<Store> {
        Ok(Store { engine: Box::new(Volatile::default()), ..Store::new(config)? })
    }

    fn made(
        config: &Config,
        rest: &'static AtomicU64,
        quiet: &'static AtomicU64,
        begun: Instant,
    ) -> Store {
        let engine: Box<dyn Engine> = match config.setting(STORE) {
            StorePlace::Lmdb { folder, size } => {
                Box::new(LmdbEngine::new(&config.expand(&folder), size))
            }
            StorePlace::Redis(place) => Box::new(RedisEngine::new(*place)),
        };
        Store {
            engine,
            timeout: config.setting(STORE_TIMEOUT),
            rest,
            quiet,
            begun,
            clock: Cell::default(),
            lines: RefCell::default(),
        }
    }

    /// For tests: from now on it is so long after the beginning of 1970.
    pub fn set_clock(&self, now: Duration) {
        self.clock.set(Some(now));
    }

    /// For tests: from now on there is no answer.
    pub fn break_down(&self) {
        self.rest.store(u64::MAX, Relaxed);
        self.note(Level::Error, Unavailable::down("it was broken by a test"));
    }

    /// The time since 1970.
    pub(super) fn now(&self) -> Duration {
        let real = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.clock.get().unwrap_or_else(real)
    }

    /// Asks the engine for an answer by `until`, and within `store_timeout`, unless it is left alone.
    pub(super) fn ask<R>(
        &self,
        until: Option<Instant>,
        ask: impl FnOnce(&dyn Engine, Moment) -> engine::Result<R>,
    ) -> engine::Result<R> {
        let rest = self.rest.load(Relaxed);
        if rest != 0 && !self.is_over(self.rest, rest, REST) {
            return Err(Unavailable::now("it did not answer, and is left alone for a moment"));
        }
        let call = Outside::begin("store");
        let limit = call.since() + self.timeout;
        let until = until.map_or(limit, |until| until.min(limit));
        let answer = ask(&*self.engine, Moment { now: self.now(), until });
        call.end(answered(&answer));
        match &answer {
            Ok(_) if rest != 0 => {
                self.rest.store(0, Relaxed);
                self.quiet.store(0, Relaxed);
                self.note(Level::Notice, "the store is available again");
            }
            Ok(_) => {}
            Err(error) => {
                if error.is_down() {
                    self.rest.store(self.tick() + millis(REST), Relaxed);
                }
                if self.is_over(self.quiet, self.quiet.load(Relaxed), SAY_AGAIN) {
                    self.note(Level::Error, error);
                }
            }
        }
        answer
    }

    /// Is there one already?
    pub(crate) fn exists(&self) -> bool {
        self.engine.exists()
    }

    /// The names of the tables, each with how many entries it has.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) fn tables(&self) -> engine::Result<BTreeMap<String, usize>> {
        let mut tables = BTreeMap::new();
        self.ask(None, |engine, at| {
            engine.each(b"", at, &mut |found| {
                let name = found.key.split(|octet| *octet == b':').next().unwrap_or_default();
                *tables.entry(String::from_utf8_lossy(name).into_owned()).or_default() += 1;
            })
        })?;
        Ok(tables)
    }

    /// Does what has to be done from time to time, in a process that has not asked anything, and waits for
    /// that: removes what is over, and sets a damaged file aside.
    pub(crate) fn tend(&self, log: &dyn Fn(Level, &str)) {
        self.engine.tend(self.now(), log);
        if let Err(error) = self.greet() {
            log(Level::Error, &error.to_string());
        }
    }

    /// Asks a server whether it answers.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn greet(&self) -> engine::Result<()> {
        self.ask(None, |engine, at| engine.greet(at))
    }

    /// Was it used by this process, and not looked after for a while?  So it is where there is no parent.
    pub(crate) fn is_neglected(&self) -> bool {
        self.engine.is_neglected(self.now())
    }

    /// What is wrong with where it is, without a change to it.  `makes`: a folder that does not exist will
    /// be made by somebody who can make it anywhere.
    pub(crate) fn fault(&self, makes: bool) -> Option<String> {
        self.engine.fault(makes).map(|why| format!("store: {why}"))
    }

    /// Why it has less room than `config/store` gives it, if it has.
    pub(crate) fn narrowed(&self) -> Option<String> {
        self.engine.narrowed().map(|why| format!("store: {why}"))
    }

    /// Lines for the log since the last call.
    pub(crate) fn take_lines(&self) -> Vec<(Level, String)> {
        self.lines.take()
    }

    /// Has the time passed that the cell was found with?  Then it begins anew, and only one process is
    /// told so.
    fn is_over(&self, cell: &AtomicU64, found: u64, length: Duration) -> bool {
        let now = self.tick();
        now >= found && cell.compare_exchange(found, now + millis(length), Relaxed, Relaxed).is_ok()
    }

    fn tick(&self) -> u64 {
        millis(self.begun.elapsed()) + 1
    }

    fn note(&self, level: Level, text: impl fmt::Display) {
        self.lines.borrow_mut().push((level, text.to_string()));
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}
