//! The handler that is running: whose it is, how long it may take, what it writes to the log.

use std::fmt;
use std::time::{Duration, Instant};

use super::Session;
use crate::hook::{Hook, Settings};
use crate::log::{self, Level, Record};

/// Which handler is running.
#[derive(Clone, Copy)]
pub(crate) struct Current {
    pub(super) plugin: u16,
    hook: Hook,
    pub(super) until: Instant,
    /// It did not get what it asked for.
    lacks_a_value: bool,
}

impl Session {
    /// Writes to the log.
    pub fn log(&self, level: Level, text: impl fmt::Display) {
        self.log_at(self.adjusted(level), text);
    }

    /// Does somebody take lines of this level that the running plugin writes?
    pub(in crate::hook) fn logs(&self, level: Level) -> bool {
        self.shared.plugins.wants(self.adjusted(level))
    }

    /// The level that the running plugin's argument `loglevel` makes of this one.
    fn adjusted(&self, level: Level) -> Level {
        let plugin = self.current.map(|current| self.shared.plugins.loaded(current.plugin));
        plugin.map_or(level, |plugin| plugin.settings.adjust(level))
    }

    /// Writes a line of the core about the running handler to the log: the plugin's argument
    /// `loglevel` is for the plugin's own lines.
    pub(crate) fn log_at(&self, level: Level, text: impl fmt::Display) {
        if !self.shared.plugins.wants(level) {
            return;
        }
        self.shared.plugins.write_log(&Record {
            level,
            hook: self.current.map(|current| current.hook.name()),
            plugin: self.current.map(|current| &*self.shared.plugins.loaded(current.plugin).name),
            session: &self.id,
            transaction: self.transaction.sender().map_or(0, |_| self.transactions),
            peer: Some(self.connection.remote_ip),
            text: &log::clean(&self.discreet(text.to_string())),
            event: None,
        });
    }

    /// The running plugin's name as in `config/plugins`; empty outside a handler.
    pub fn plugin_name(&self) -> &str {
        self.current.map_or("", |current| &self.shared.plugins.loaded(current.plugin).name)
    }

    /// The running hook; None outside a handler.
    pub(crate) fn hook(&self) -> Option<Hook> {
        self.current.map(|current| current.hook)
    }

    /// The running hook's name; empty outside a handler.
    pub fn hook_name(&self) -> &'static str {
        self.current.map_or("", |current| current.hook.name())
    }

    /// The running plugin's universal arguments; None outside a handler.
    pub fn settings(&self) -> Option<&Settings> {
        self.current.map(|current| &self.shared.plugins.loaded(current.plugin).settings)
    }

    /// How long the running handler may still take: the limit for anything it waits for.
    pub fn time_left(&self) -> Duration {
        self.current.map_or(Duration::ZERO, |current| {
            current.until.saturating_duration_since(Instant::now())
        })
    }

    /// A handler begins now, and may run for `limit`.
    pub(crate) fn enter(
        &mut self,
        plugin: u16,
        hook: Hook,
        now: Instant,
        limit: Duration,
    ) -> Option<Current> {
        let is_unread = self.shared.config.take_unread();
        let lacks_a_value = match &mut self.current {
            Some(outer) => {
                outer.lacks_a_value |= is_unread;
                false
            }
            // This handler is asked about a value, and decides nothing.
            None if matches!(hook, Hook::Config | Hook::UserConfig) => false,
            None => std::mem::take(&mut self.lacks_a_value),
        };
        let until = now + limit;
        self.current.replace(Current { plugin, hook, until, lacks_a_value })
    }

    pub(crate) fn leave(&mut self, outer: Option<Current>) {
        self.current = outer;
    }

    /// The running handler does not get what it asked for.  Where none is running the core has
    /// asked, and the handler that comes next is not to decide.
    pub(super) fn withhold_value(&mut self) {
        match &mut self.current {
            Some(current) => current.lacks_a_value = true,
            None => self.lacks_a_value = true,
        }
    }

    /// Has the running handler asked for something that cannot be read and never was, or that a
    /// handler failed to give?  An empty list in its place must not decide.
    pub(crate) fn lacks_a_value(&self) -> bool {
        let is_unread = self.shared.config.take_unread();
        is_unread || self.current.is_some_and(|current| current.lacks_a_value)
    }

    /// Will the running handler not have decided, whatever it says?
    pub(crate) fn is_void(&mut self) -> bool {
        let is_void = self.lacks_a_value();
        if is_void {
            self.withhold_value();
        }
        is_void
    }

    /// The numbers of the handlers that follow the running one, see [`crate::hook::Hooks::number_last`].
    pub(crate) fn take_following(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.following)
    }

    /// Has a plugin do its job `name`, within `limit`; None: no plugin has one of that name.  It runs as
    /// a handler of the hook `queue` does.
    pub(crate) fn run_job(
        &mut self,
        name: &str,
        word: &str,
        limit: Duration,
    ) -> Option<crate::error::Result<String>> {
        let plugins = self.shared.plugins.clone();
        let (_, plugin, run) = plugins.jobs.iter().find(|(known, ..)| *known == name)?;
        let outer = self.enter(*plugin, Hook::Queue, Instant::now(), limit);
        let done = run(self, word);
        self.leave(outer);
        Some(done)
    }
}
