//! The loaded plugins and how a hook's handlers are run.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::config::Config;
use crate::hook::registration::{
    BeforeFork, ForkFn, IncomingFn, Kind, LateHooks, LetGo, LogFn, Registration, SessionFn, TlsFn,
};
use crate::hook::settings::OnError;
use crate::hook::{
    Ability, Call, Code, DECLINED, Hook, HookResult, Incoming, Session, Settings, TABLE, Verdict,
};
use crate::log::{self, Level, Record};
use crate::sys::{confine, deadline};

/// One plugin as loaded: a name and its settings.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: Rc<str>,
    pub(crate) settings: Settings,
    abilities: Vec<Ability>,
}

struct Handler<F: ?Sized> {
    plugin: u16,
    id: u16,
    run: Rc<F>,
}

/// The id of a handler that stands for those that came after all plugins were loaded.
const LATE: u16 = u16::MAX;

impl<F: ?Sized> Handler<F> {
    fn is_late(&self) -> bool {
        self.id == LATE
    }
}

/// All loaded plugins with their handlers: what is built once at start-up and inherited by every
/// process.
#[derive(Default)]
pub struct Plugins {
    loaded: Vec<Loaded>,
    handlers: Vec<Vec<Handler<SessionFn>>>,
    incoming: Vec<Handler<IncomingFn>>,
    forks: Vec<Handler<ForkFn>>,
    loggers: Vec<(Level, Handler<LogFn>)>,
    before_fork: Vec<BeforeFork>,
    at_fork: Vec<LetGo>,
    after_much_mail: Vec<LetGo>,
    tls: Option<Rc<TlsFn>>,
    files: BTreeSet<Cow<'static, str>>,
    late: Vec<(Rc<LateHooks>, Handler<SessionFn>)>,
    count: u16,
    stderr_level: Cell<Option<Level>>,
    logging: Cell<bool>,
    is_check: bool,
    confined: Cell<bool>,
    broken_loggers: RefCell<HashSet<u16>>,
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

    /// Adds a plugin with all that it registered.
    pub(crate) fn add(&mut self, name: &str, settings: Settings, registered: Registration) {
        let plugin = self.loaded.len() as u16;
        let abilities = registered.abilities;
        self.loaded.push(Loaded { name: name.into(), settings, abilities });
        self.at_fork.extend(registered.at_fork);
        self.before_fork.extend(registered.before_fork);
        self.after_much_mail.extend(registered.after_much_mail);
        self.files.extend(registered.reads);
        self.tls = registered.tls.or(self.tls.take());
        let late = registered.late.into_iter();
        self.late.extend(late.map(|(hooks, run)| (hooks, Handler { plugin, id: LATE, run })));
        for (place, (hook, kind)) in registered.handlers.into_iter().enumerate() {
            let id = self.count;
            self.count += 1;
            match kind {
                Kind::Session(run) => {
                    let chain = &mut self.handlers[hook as usize];
                    let at = if registered.first.contains(&place) { 0 } else { chain.len() };
                    chain.insert(at, Handler { plugin, id, run });
                }
                Kind::Incoming(run) => self.incoming.push(Handler { plugin, id, run }),
                Kind::Fork(run) => self.forks.push(Handler { plugin, id, run }),
                Kind::Log(..) if self.is_check => {}
                Kind::Log(level, run) => self.loggers.push((level, Handler { plugin, id, run })),
            }
            if hook != Hook::Logging {
                self.log(Level::Debug, format_args!("{name} hooking {}", hook.name()));
            }
        }
        for (level, text) in registered.lines {
            let level = self.loaded(plugin).settings.adjust(level);
            self.log_as(Some(plugin), None, level, &text);
        }
    }

    /// Who chooses certificates, if TLS is offered.
    pub(crate) fn tls(&self) -> Option<Rc<TlsFn>> {
        self.tls.clone()
    }

    /// Has any plugin a handler for `hook`?
    pub fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::PreConnection => !self.incoming.is_empty(),
            Hook::PostFork => !self.forks.is_empty(),
            Hook::Logging => !self.loggers.is_empty(),
            _ => !self.handlers[hook as usize].is_empty() || self.is_late(hook),
        }
    }

    /// Is there a plugin that queues, and are all that do able to do this?
    pub fn can(&self, ability: Ability) -> bool {
        let queues = &self.handlers[Hook::Queue as usize];
        let able = |plugin: u16| self.loaded(plugin).abilities.contains(&ability);
        !queues.is_empty()
            && queues.iter().all(|handler| able(handler.plugin))
            && !self.is_late(Hook::Queue)
    }

    /// Have handlers for this hook come after all plugins were loaded?
    fn is_late(&self, hook: Hook) -> bool {
        self.late.iter().any(|(hooks, _)| hooks.has(hook))
    }

    /// What runs them, after all others.
    fn late(&self) -> impl Iterator<Item = &Handler<SessionFn>> {
        self.late.iter().map(|(_, handler)| handler)
    }

    /// The names of the loaded plugins, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.loaded.iter().map(|plugin| &*plugin.name)
    }

    /// The configuration files that the plugins say they read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|name| &**name)
    }

    /// Reads what the plugins will want from the configuration now, so that processes made later
    /// inherit it.  True: processes that were made before are out of date.
    pub fn before_fork(&self, config: &Config) -> bool {
        for name in &self.files {
            config.list(name);
        }
        self.before_fork.iter().filter(|run| run(config)).count() > 0
    }

    /// Asks the `pre-connection` handlers, in the parent.
    pub fn pre_connection(&self, incoming: &Incoming<'_>) -> Verdict {
        for handler in &self.incoming {
            let verdict =
                self.guarded(handler.plugin, Hook::PreConnection, || (handler.run)(incoming));
            for (level, text) in incoming.take_lines() {
                let level = self.loaded(handler.plugin).settings.adjust(level);
                self.log_as(Some(handler.plugin), Some(Hook::PreConnection), level, &text);
            }
            if verdict.ends_chain() {
                return verdict;
            }
        }
        DECLINED
    }

    /// In a new process: lets go of what is the parent's.
    pub(crate) fn leave_parent(&self) {
        self.at_fork.iter().for_each(|run| run());
    }

    /// No plugin starts programs that need more rights than the process that starts them.
    pub(crate) fn need_no_privileges(&self) {
        self.confined.set(true);
    }

    /// In a process that serves: what it starts gets no more rights than it has itself, unless a
    /// plugin needs that.
    pub(crate) fn confine(&self) {
        if self.confined.get()
            && let Err(error) = confine::no_new_privileges()
        {
            self.log(Level::Error, format_args!("no_new_privs: {error}"));
        }
    }

    /// After a session with a lot of mail: lets go of what has grown.
    pub(crate) fn let_go(&self) {
        self.after_much_mail.iter().for_each(|run| run());
    }

    /// Runs the `post-fork` handlers, in a new worker process.
    pub fn post_fork(&self, config: &Config) {
        for handler in &self.forks {
            self.guarded(handler.plugin, Hook::PostFork, || (handler.run)(config));
        }
    }

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
            text: &format!("FATAL PLUGIN ERROR: {}", deadline::PASSED),
            ..Record::default()
        });
    }

    /// Where there are no logging plugins: up to which level lines go to standard error.
    pub(crate) fn set_stderr_level(&self, level: Level) {
        self.stderr_level.set(Some(level));
    }

    /// Is there anybody who would keep a line of that level?
    pub fn wants(&self, level: Level) -> bool {
        if self.loggers.is_empty() {
            self.stderr_level.get().is_some_and(|most| level <= most)
        } else {
            self.loggers.iter().any(|(most, _)| level <= *most)
        }
    }

    /// Hands a line to the logging plugins, or to standard error where there are none.
    pub(crate) fn write_log(&self, record: &Record<'_>) {
        if self.loggers.is_empty() {
            if self.stderr_level.get().is_some_and(|most| record.level <= most) {
                log::to_stderr(record);
            }
            return;
        }
        if self.logging.replace(true) {
            return;
        }
        for (most, handler) in &self.loggers {
            if record.level > *most {
                continue;
            }
            let verdict = catch_unwind(AssertUnwindSafe(|| (handler.run)(record)))
                .unwrap_or_else(|_| Verdict::failure(crate::sys::panics::last()));
            if verdict.is_failure() && self.broken_loggers.borrow_mut().insert(handler.plugin) {
                let name = &self.loaded[handler.plugin as usize].name;
                let text = format!("FATAL PLUGIN ERROR: {}", verdict.text());
                log::to_stderr(&Record {
                    level: Level::Crit,
                    hook: Some(Hook::Logging.name()),
                    plugin: Some(name),
                    text: &log::clean(&text),
                    ..record.clone()
                });
                log::to_stderr(record);
            }
            if verdict.code() == Code::Ok {
                break;
            }
        }
        self.logging.set(false);
    }

    pub(crate) fn loaded(&self, plugin: u16) -> &Loaded {
        &self.loaded[plugin as usize]
    }

    /// Handler ids are below this; one octet per handler holds its result.
    pub(crate) fn handler_count(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn handler_of(&self, plugin: &str, hook: Hook) -> Option<usize> {
        let named = |handler: &&Handler<_>| &*self.loaded[handler.plugin as usize].name == plugin;
        self.handlers[hook as usize].iter().find(named).map(|handler| handler.id as usize)
    }

    fn log_as(&self, plugin: Option<u16>, hook: Option<Hook>, level: Level, text: &str) {
        let plugin = plugin.map(|plugin| self.loaded(plugin));
        self.write_log(&Record {
            level,
            hook: hook.map(Hook::name),
            plugin: plugin.map(|plugin| &*plugin.name),
            session: "",
            transaction: 0,
            peer: None,
            text: &log::clean(text),
        });
    }

    /// Runs a handler outside a session; a failure is logged and, by `on_error`, refuses.
    fn guarded(&self, plugin: u16, hook: Hook, run: impl FnOnce() -> Verdict) -> Verdict {
        let verdict = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Verdict::failure(crate::sys::panics::last()));
        if !verdict.is_failure() {
            return verdict;
        }
        let text = format!("FATAL PLUGIN ERROR: {}", verdict.text());
        self.log_as(Some(plugin), Some(hook), Level::Crit, &text);
        match self.loaded(plugin).settings.on_error {
            OnError::Tempfail => Verdict::failure(""),
            OnError::Ignore => DECLINED,
        }
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Session {
    /// Asks the handlers of `hook` in order until one decides, and tells the `deny` and `ok`
    /// hooks of each answer.  Where nobody decides, the last answer counts, for its text; for
    /// clients that authenticate the first text counts.
    pub(crate) fn run(&mut self, hook: Hook, call: &Call<'_>) -> Verdict {
        self.run_chain(hook, call, true)
    }

    /// The same without the `deny` and `ok` hooks.
    pub(crate) fn run_quietly(&mut self, hook: Hook, call: &Call<'_>) -> Verdict {
        self.run_chain(hook, call, false)
    }

    fn run_chain(&mut self, hook: Hook, call: &Call<'_>, tell: bool) -> Verdict {
        let mut last = DECLINED;
        if !self.plugins().has(hook) {
            return last;
        }
        let plugins = self.plugins().clone();
        let chain = &plugins.handlers[hook as usize];
        for handler in chain.iter().chain(plugins.late()) {
            if handler.is_late() && !plugins.is_late(hook) {
                continue;
            }
            let changed = match call {
                Call::Address(_, params) => {
                    self.replaced_address().map(|changed| (changed, *params))
                }
                _ => None,
            };
            let changed = changed.as_ref().map(|(address, params)| Call::Address(address, params));
            let earlier = last;
            last = self.run_handler(&plugins, hook, handler, changed.as_ref().unwrap_or(call));
            if matches!(call, Call::Credentials(_)) {
                last = last.told_as(&earlier);
            }
            if tell {
                self.tell(&plugins, hook, handler.plugin, &last);
            }
            if last.ends_chain() {
                break;
            }
        }
        last
    }

    fn run_handler(
        &mut self,
        plugins: &Plugins,
        hook: Hook,
        handler: &Handler<SessionFn>,
        call: &Call<'_>,
    ) -> Verdict {
        let plugin = plugins.loaded(handler.plugin);
        let timeout = plugin.settings.timeout;
        let outer = self.enter(handler.plugin, hook, timeout);
        let said = self.responses().len();
        let alarm = deadline::arm(&plugin.name, hook.name(), timeout);
        let verdict = catch_unwind(AssertUnwindSafe(|| (handler.run)(self, call)))
            .unwrap_or_else(|_| Verdict::failure(crate::sys::panics::last()));
        let verdict = self.without_route(verdict, hook, call);
        drop(alarm);
        let verdict = self.judged(verdict, &plugin.settings, said);
        self.leave(outer);
        if hook == Hook::Queue && verdict.code() == Code::Declined {
            self.take_recipient_verdicts();
        }
        if !handler.is_late() {
            self.keep_result(hook, handler.id as usize, verdict.code());
        }
        verdict
    }

    /// A failure is logged here, and so is one that happened below, while a configuration hook
    /// ran on behalf of this handler: what it decided without that value is not to be trusted.
    /// Nor is what it has answered, after the `said` responses of those before: there is one reply
    /// to a command.
    fn judged(&mut self, verdict: Verdict, settings: &Settings, said: usize) -> Verdict {
        let below = self.take_nested_failure();
        if !verdict.is_failure() && !below {
            return verdict;
        }
        self.unsay(said);
        if verdict.is_failure() {
            self.log_at(Level::Crit, format_args!("FATAL PLUGIN ERROR: {}", verdict.text()));
        }
        match settings.on_error {
            OnError::Tempfail => Verdict::failure(""),
            OnError::Ignore => DECLINED,
        }
    }

    /// Refuses a recipient that a plugin, whichever it is, accepts although a later hop could take
    /// it for a route past us.
    fn without_route(&mut self, verdict: Verdict, hook: Hook, call: &Call<'_>) -> Verdict {
        let (Hook::Rcpt, Code::Ok, Call::Address(asked, _)) = (hook, verdict.code(), call) else {
            return verdict;
        };
        let replaced = self.replaced_address();
        self.refused_route(replaced.as_ref().unwrap_or(asked)).unwrap_or(verdict)
    }

    fn tell(&mut self, plugins: &Plugins, hook: Hook, plugin: u16, verdict: &Verdict) {
        let name = &plugins.loaded(plugin).name;
        if plugins.wants(Level::Debug) {
            let (code, text) = (verdict.code(), verdict.text());
            let comma = if text.is_empty() { "" } else { ", " };
            self.log(
                Level::Debug,
                format_args!("Plugin {name}, hook {} returned {code}{comma}{text}", hook.name()),
            );
        }
        let listener = if verdict.code().is_deny() { Hook::Deny } else { Hook::Ok };
        if plugins.has(listener) && hook != listener {
            let result = HookResult { plugin: name, hook: hook.name(), verdict };
            self.run_chain(listener, &Call::Result(&result), false);
        }
    }
}
