//! Lines of the log for plugins in Perl that log.
//!
//! Where all that log are Perl plugins, a session's lines are not worth a call each: they go with the
//! next message, or on their own when the client keeps us waiting or is gone; and what Perl's handlers
//! log never leaves the Perl process.  Where native plugins log as well, they depend on what Perl's say
//! to a line, so each line is a call, and the lines of a handler in Perl are held until its process
//! listens.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Caller, Perl};
use crate::hook::{DECLINED, Hook, Hooks, OK, PARENT_LIMIT, Verdict};
use crate::log::stall::Stall;
use crate::log::{Level, Record};
use crate::perl::protocol::{Loggers, ToPerl};
use crate::perl::verdict::{log_arguments, verdict};
use crate::perl::wire::Item;

/// For how long a `logging` handler that took too long is not called again.
const REST: Duration = Duration::from_secs(30);

/// Lines that are on their way.
#[derive(Default)]
pub(super) struct Lines {
    loggers: Cell<Option<Loggers>>,
    /// Lines for Perl's loggers, with the first of them that is to be asked.
    to_perl: RefCell<Vec<(i64, Vec<Item>)>>,
    /// Lines, level and text, that a handler has said and that loggers in Perl get when its process
    /// listens again.
    held: RefCell<Vec<Vec<Item>>>,
    /// What each logger has to do with lines that nobody reads.
    stalls: RefCell<HashMap<i64, Stall>>,
    /// A logger that has failed, and why, which nobody was told.
    failed: RefCell<Option<(i64, String)>>,
}

impl Lines {
    /// In which language the plugins that log are written.
    pub(super) fn loggers(&self) -> Loggers {
        self.loggers.get().unwrap_or(Loggers::Native)
    }

    /// There is a logger in Perl.
    fn add(&self, logger: i64) -> Stall {
        self.loggers.set(Some(Loggers::Mixed));
        let stall = Stall::new();
        self.stalls.borrow_mut().insert(logger, stall);
        stall
    }

    /// There are no others.
    pub(super) fn go_to_perl_alone(&self) {
        if self.loggers() == Loggers::Mixed {
            self.loggers.set(Some(Loggers::Perl));
        }
    }

    /// Is this statement held back?
    pub(super) fn holds(&self, statement: &str) -> bool {
        statement == "log" && self.loggers() == Loggers::Mixed
    }

    /// Keeps a line until its process listens again.
    pub(super) fn hold(&self, line: Vec<Item>) {
        self.held.borrow_mut().push(line);
    }

    /// Takes the lines that were kept.
    pub(super) fn take_held(&self) -> Vec<Vec<Item>> {
        self.held.take()
    }

    /// The lines for Perl.
    pub(super) fn take(&self) -> Option<ToPerl> {
        let lines = self.to_perl.take();
        (!lines.is_empty()).then_some(ToPerl::Lines(lines))
    }

    fn is_empty(&self) -> bool {
        self.to_perl.borrow().is_empty()
    }

    fn push(&self, logger: i64, record: &Record<'_>) {
        self.to_perl.borrow_mut().push((logger, log_arguments(record)));
    }

    /// A logger has failed in Perl, or took too long.
    pub(super) fn failed(&self, logger: i64, is_late: bool, why: String) {
        if let Some(stall) = self.stalls.borrow().get(&logger).filter(|_| is_late) {
            stall.begins();
        }
        self.failed.borrow_mut().get_or_insert((logger, why));
    }

    fn take_failure(&self, logger: i64) -> Option<String> {
        self.failed.borrow_mut().take_if(|failed| failed.0 == logger).map(|failed| failed.1)
    }
}

impl Perl {
    pub(super) fn register_logger(&self, hooks: &mut Hooks, logger: i64, most: Level) {
        let Some(perl) = self.this.upgrade() else { return };
        let stall = self.lines.add(logger);
        hooks.logging(most, move |record| {
            if let Some(why) = perl.lines.take_failure(logger) {
                return Err(why);
            }
            // No line waits for a handler that has kept one waiting just before.
            if stall.age().is_some_and(|age| age < REST) {
                stall.loses();
                return Ok(DECLINED);
            }
            let can_wait = record.peer.is_some() || perl.is_running();
            if perl.lines.loggers() == Loggers::Perl && can_wait {
                perl.lines.push(logger, record);
                if let Some(missing) = stall.ends() {
                    perl.lines.push(logger, &note(&missing));
                }
                // Perl asks the loggers that follow.
                return Ok(OK);
            }
            let begin = Instant::now();
            let reply = perl.log_now(logger, record).inspect_err(|_| {
                if begin.elapsed() >= PARENT_LIMIT {
                    stall.begins();
                }
            })?;
            if let Some(missing) = stall.ends() {
                perl.log_now(logger, &note(&missing))?;
            }
            Ok(reply)
        });
    }

    fn log_now(&self, logger: i64, record: &Record<'_>) -> Result<Verdict, String> {
        let mut caller = Caller::Process(&self.config);
        let args = log_arguments(record);
        let reply = self.call(&mut caller, logger, Hook::Logging.name(), args, PARENT_LIMIT);
        let reply = reply.map_err(|failure| failure.to_string())?;
        Ok(verdict(Hook::Logging, reply).unwrap_or(DECLINED))
    }

    /// Sends the lines that wait, if the client keeps us waiting.
    pub(super) fn send_lines(&self, waits_long: &dyn Fn() -> bool) {
        if !self.lines.is_empty() && waits_long() {
            let _ = self.send(&mut Caller::Process(&self.config), |_, _| None);
        }
    }
}

fn note(text: &str) -> Record<'_> {
    Record { level: Level::Warn, hook: Some(Hook::Logging.name()), text, ..Record::default() }
}
