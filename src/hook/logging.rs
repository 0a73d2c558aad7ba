//! Who gets the lines of the log.

use std::fmt;

use crate::hook::guarded::guarded;
use crate::hook::handler::{Handler, LogFn};
use crate::hook::{Code, Failure, Hook, Plugins};
use crate::log::{self, Level, Record};
use crate::sys::deadline;

impl Plugins {
    /// Writes a line of the core's own, outside any session.
    pub fn log(&self, level: Level, text: impl fmt::Display) {
        if self.wants(level) {
            self.log_as(None, None, level, &text.to_string());
        }
    }

    /// Writes that a handler of that session was overdue, which has ended its process.
    pub(crate) fn log_overdue(&self, session: &str, hook: &str, plugin: &str) {
        self.write_log(&Record {
            level: Level::Crit,
            hook: Some(hook),
            plugin: Some(plugin),
            session,
            text: &Failure::new(deadline::PASSED).to_string(),
            ..Record::default()
        });
    }

    /// Where there are no logging plugins: up to which level lines go to standard error.
    pub(crate) fn set_stderr_level(&self, level: Level) {
        self.stderr_level.set(Some(level));
    }

    /// Who gets the lines: nobody where it is only found out who can be loaded.
    pub(super) fn loggers(&self) -> &[(Level, Handler<LogFn>)] {
        if self.is_check { &[] } else { &self.loggers }
    }

    /// Is there anybody who would keep a line of that level?
    pub fn wants(&self, level: Level) -> bool {
        if self.loggers().is_empty() {
            self.stderr_level.get().is_some_and(|most| level <= most)
        } else {
            self.loggers().iter().any(|(most, _)| level <= *most)
        }
    }

    /// Would anybody who writes JSON keep a line of that level?
    pub(crate) fn wants_json(&self, level: Level) -> bool {
        let writes_json = |handler: &Handler<LogFn>| self.json_loggers.contains(&handler.plugin);
        self.loggers().iter().any(|(most, handler)| level <= *most && writes_json(handler))
    }

    /// Would a line of that level be one of text on standard error?
    pub(crate) fn tells_stderr(&self, level: Level) -> bool {
        let tells = |handler: &Handler<LogFn>| self.stderr_loggers.contains(&handler.plugin);
        match self.loggers() {
            [] => self.wants(level),
            loggers => loggers.iter().any(|(most, handler)| level <= *most && tells(handler)),
        }
    }

    /// Hands an event to the logging plugins that write JSON, or to all.
    pub(crate) fn write_event(&self, record: &Record<'_>, is_for_all: bool) {
        self.write(record, &|plugin| is_for_all || self.json_loggers.contains(&plugin));
    }

    /// Hands a line to the logging plugins, or to standard error where there are none.
    pub(crate) fn write_log(&self, record: &Record<'_>) {
        self.write(record, &|_| true);
    }

    fn write(&self, record: &Record<'_>, gets_it: &dyn Fn(u16) -> bool) {
        if self.loggers().is_empty() {
            if self.stderr_level.get().is_some_and(|most| record.level <= most) {
                match &self.kept {
                    Some(kept) => {
                        let plugin = record.plugin.map(str::to_owned);
                        kept.borrow_mut().push((plugin, record.text.to_owned()));
                    }
                    None => log::to_stderr(record),
                }
            }
            return;
        }
        if self.logging.replace(true) {
            return;
        }
        for (most, handler) in self.loggers() {
            if record.level > *most || !gets_it(handler.plugin) {
                continue;
            }
            let plugin = self.loaded(handler.plugin);
            match guarded(plugin, Hook::Logging, || (handler.run)(record)) {
                Ok(verdict) if verdict.code() == Code::Ok => break,
                Ok(_) => {}
                Err(failure) => {
                    if self.broken_loggers.borrow_mut().insert(handler.plugin) {
                        log::to_stderr(&Record {
                            level: Level::Crit,
                            hook: Some(Hook::Logging.name()),
                            plugin: Some(&plugin.name),
                            text: &log::clean(&failure.to_string()),
                            ..record.clone()
                        });
                        log::to_stderr(record);
                    }
                }
            }
        }
        self.logging.set(false);
    }

    pub(super) fn log_as(&self, plugin: Option<u16>, hook: Option<Hook>, level: Level, text: &str) {
        let plugin = plugin.map(|plugin| self.loaded(plugin));
        self.write_log(&Record {
            level,
            hook: hook.map(Hook::name),
            plugin: plugin.map(|plugin| &*plugin.name),
            session: "",
            text: &log::clean(text),
            ..Record::default()
        });
    }
}
