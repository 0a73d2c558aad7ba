//! Who is loaded, and what that means for all sessions.

mod of_list;
mod process;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::rc::Rc;

use super::{HearFn, JobFn, Session, SessionFn, TlsFn};
use crate::config::Line;
use crate::hook::handler::{
    BeforeFork, BeforeWait, CommandFn, ExplainFn, ForkFn, Handler, IncomingFn, LateHooks, LetGo,
    LogFn, MaxFn, RestFn,
};
use crate::hook::lists::{List, Lists};
use crate::hook::loaded::{Extension, Loaded, Origin};
use crate::hook::{Decision, Hook, TABLE};
use crate::log::{self, Level};

/// All loaded plugins with their handlers: what is built once at start-up and inherited by every
/// process.
#[derive(Default)]
pub struct Plugins {
    pub(in crate::hook) loaded: Vec<Loaded>,
    pub(in crate::hook) handlers: Vec<Vec<Handler<SessionFn>>>,
    pub(in crate::hook) incoming: Vec<Handler<IncomingFn>>,
    pub(in crate::hook) forks: Vec<Handler<ForkFn>>,
    pub(in crate::hook) loggers: Vec<(Level, Handler<LogFn>)>,
    /// Who of them writes events in full.
    pub(in crate::hook) json_loggers: HashSet<u16>,
    /// Who of them writes lines of text to standard error.
    pub(in crate::hook) stderr_loggers: HashSet<u16>,
    pub(in crate::hook) before_fork: Vec<BeforeFork>,
    pub(in crate::hook) at_fork: Vec<LetGo>,
    pub(in crate::hook) after_much_mail: Vec<LetGo>,
    pub(in crate::hook) before_wait: Vec<BeforeWait>,
    pub(in crate::hook) rests: Vec<Box<RestFn>>,
    pub(in crate::hook) onward: Vec<Handler<SessionFn>>,
    pub(in crate::hook) tls: Vec<(u16, Rc<TlsFn>)>,
    /// The lists that clients have, and whose plugin chooses them.
    pub(in crate::hook) lists: Option<(u16, Lists)>,
    /// The list that is being loaded.
    pub(in crate::hook) loading: List,
    pub(in crate::hook) files: BTreeSet<Cow<'static, str>>,
    pub(in crate::hook) late: Vec<(Rc<LateHooks>, Handler<SessionFn>)>,
    pub(in crate::hook) keeps: Vec<(&'static str, Rc<ExplainFn>)>,
    pub(in crate::hook) commands: Vec<(&'static str, &'static str, Rc<CommandFn>)>,
    pub(in crate::hook) jobs: Vec<(&'static str, u16, Rc<JobFn>)>,
    pub(in crate::hook) listeners: Vec<(u16, Rc<HearFn>)>,
    pub(in crate::hook) max_from_ip: Vec<Rc<MaxFn>>,
    pub(in crate::hook) count: u16,
    pub(in crate::hook) stderr_level: Cell<Option<Level>>,
    pub(in crate::hook) logging: Cell<bool>,
    pub(in crate::hook) is_check: bool,
    /// The lines of the log, with who says them, where these are to be shown later.
    pub(in crate::hook) kept: Option<RefCell<Vec<KeptLine>>>,
    /// Who watches, where sessions are only played.
    pub(in crate::hook) watch: Option<Rc<Watch>>,
    confined: Cell<bool>,
    pub(in crate::hook) broken_loggers: RefCell<HashSet<u16>>,
}

/// A line of the log that is to be shown later, with the plugin that says it.
pub(crate) type KeptLine = (Option<String>, String);

/// Who watches sessions that are only played.
pub(in crate::hook) struct Watch {
    /// Is told what a handler has decided: the hook, its plugin, the decision.
    pub(in crate::hook) said: Box<DecisionFn>,
    /// Gets the session in which a message would be queued.
    pub(in crate::hook) queue: Box<dyn Fn(&Session)>,
}

/// Is told what a handler has decided: the hook, its plugin, the decision.
pub(crate) type DecisionFn = dyn Fn(Hook, &str, &Decision);

impl Session {
    /// All loaded plugins.
    pub(crate) fn plugins(&self) -> &Rc<Plugins> {
        &self.shared.plugins
    }

    /// The list of plugins that this client has now.
    pub(crate) fn list(&self) -> List {
        let connection = &self.connection;
        self.shared.plugins.list_of(connection.remote_ip, connection.auth_user.is_some())
    }

    /// Has any plugin of this client's list a handler for `hook`?
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.shared.plugins.has_in(self.list(), hook)
    }

    /// Do the plugins of this client's list that queue support the extension?
    pub(crate) fn supports(&self, extension: Extension) -> bool {
        self.shared.plugins.supports(self.list(), extension)
    }

    /// Who chooses certificates for this client, if it is offered TLS.
    pub(crate) fn tls(&self) -> Option<Rc<TlsFn>> {
        self.shared.plugins.tls(self.list())
    }

    /// Is there a plugin of that name in this client's list?
    pub(crate) fn has_plugin(&self, name: &str) -> bool {
        self.shared.plugins.names_in(self.list()).any(|own| own == name)
    }
}

impl Plugins {
    /// No plugins; the log goes to standard error up to `level`.
    pub fn new(level: Level) -> Plugins {
        log::prepare_stderr();
        Plugins {
            handlers: TABLE.iter().map(|_| vec![]).collect(),
            stderr_level: Cell::new(Some(level)),
            ..Plugins::default()
        }
    }

    /// No plugins, for finding out which can be loaded: logging plugins get no lines, and those
    /// up to `level`, warnings in any case, go to standard error.
    pub(crate) fn without_loggers(level: Level) -> Plugins {
        Plugins { is_check: true, ..Plugins::new(level.max(Level::Warn)) }
    }

    /// The same, and what they log, up to warnings, is kept for [`Plugins::take_kept`].
    pub(crate) fn that_keep_lines() -> Plugins {
        Plugins { kept: Some(RefCell::default()), ..Plugins::without_loggers(Level::Warn) }
    }

    /// What was kept, with the name of the plugin that said it.
    pub(crate) fn take_kept(&self) -> Vec<KeptLine> {
        self.kept.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Are all plugins that log written in Perl?
    pub(crate) fn all_loggers_are_perl(&self) -> bool {
        let is_perl = |plugin: u16| self.loaded(plugin).origin == Origin::Perl;
        self.loggers().iter().all(|(_, handler)| is_perl(handler.plugin))
    }

    /// Has any plugin of any list a handler for `hook`?
    pub fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::PreConnection => !self.incoming.is_empty(),
            Hook::PostFork => !self.forks.is_empty(),
            Hook::Logging => !self.loggers.is_empty(),
            _ => !self.handlers[hook as usize].is_empty() || self.is_late(hook),
        }
    }

    /// Have handlers for this hook come after all plugins were loaded?
    pub(in crate::hook) fn is_late(&self, hook: Hook) -> bool {
        self.late.iter().any(|(hooks, _)| hooks.has(hook))
    }

    /// What runs them, after all others.
    pub(in crate::hook) fn late(&self) -> impl Iterator<Item = &Handler<SessionFn>> {
        self.late.iter().map(|(_, handler)| handler)
    }

    /// Says which native plugin the one is that was added last.
    pub(crate) fn set_native(&mut self, name: &'static str) {
        if let Some(last) = self.loaded.last_mut() {
            last.native = Some(name);
        }
    }

    /// Says that the plugin that was added last is not plainly native; and the Perl file or module that it
    /// is, or in whose place it stands.
    pub(crate) fn set_origin(&mut self, origin: Origin, perl: String) {
        if let Some(last) = self.loaded.last_mut() {
            last.origin = origin;
            last.perl = Some(perl);
        }
    }

    /// The files and modules of the Perl plugins, in order.
    pub(crate) fn perl_sources(&self) -> impl Iterator<Item = &str> {
        let perl = self.loaded.iter().filter(|plugin| plugin.origin == Origin::Perl);
        perl.filter_map(|plugin| plugin.perl.as_deref())
    }

    /// Says which line names the plugin that was added last.
    pub(crate) fn set_line(&mut self, line: &Line) {
        if let Some(last) = self.loaded.last_mut() {
            last.line = Some(line.clone());
        }
    }

    /// All plugins, in the order in which they were loaded.
    pub(crate) fn all(&self) -> &[Loaded] {
        &self.loaded
    }

    /// The names of the loaded plugins that come from there, in order, each once.
    pub fn names_from(&self, origin: Origin) -> Vec<&str> {
        let mut names: Vec<&str> = vec![];
        for plugin in self.loaded.iter().filter(|plugin| plugin.origin == origin) {
            if !names.contains(&&*plugin.name) {
                names.push(&plugin.name);
            }
        }
        names
    }

    /// The names of the loaded plugins, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.loaded.iter().map(|plugin| &*plugin.name)
    }

    /// The configuration files that the plugins say they read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|name| &**name)
    }

    /// Does any plugin listen to what goes over the line?
    pub(crate) fn listens(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// The commands that plugins have for their tables of the store: of which table, by which name.
    pub(crate) fn commands(&self) -> &[(&'static str, &'static str, Rc<CommandFn>)] {
        &self.commands
    }

    /// The tables of the store that are plugins', with what explains their entries.
    pub(crate) fn tables(&self) -> &[(&'static str, Rc<ExplainFn>)] {
        &self.keeps
    }

    /// The plugin of that number, which counts from 0 in the order of loading.
    pub(crate) fn loaded(&self, plugin: u16) -> &Loaded {
        &self.loaded[plugin as usize]
    }

    /// Handler ids are below this; one octet per handler holds its result.
    pub(crate) fn handler_count(&self) -> usize {
        self.count as usize
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
