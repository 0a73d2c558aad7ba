//! What a plugin registered: handlers, and what goes with them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::hook::handler::{
    BeforeFork, BeforeWait, CommandFn, ExplainFn, ForkFn, Handler, IncomingFn, LATE, LateHooks,
    LetGo, LogFn, MaxFn, RestFn,
};
use crate::hook::lists::{List, Lists};
use crate::hook::loaded::{Extension, Loaded, Origin};
use crate::hook::session::{HearFn, JobFn, SessionFn, TlsFn};
use crate::hook::{Hook, Plugins, Reject, Settings};
use crate::log::Level;

/// Handlers with their hooks, in the order in which they were registered.
pub(crate) type Handlers = Vec<(Hook, Kind)>;

/// A handler with the arguments of its hook.
pub(crate) enum Kind {
    Session(Rc<SessionFn>),
    Incoming(Rc<IncomingFn>),
    Fork(Rc<ForkFn>),
    Log(Level, Rc<LogFn>),
}

impl Clone for Kind {
    fn clone(&self) -> Kind {
        match self {
            Kind::Session(run) => Kind::Session(run.clone()),
            Kind::Incoming(run) => Kind::Incoming(run.clone()),
            Kind::Fork(run) => Kind::Fork(run.clone()),
            Kind::Log(level, run) => Kind::Log(*level, run.clone()),
        }
    }
}

/// All that one plugin registered.
#[derive(Default)]
pub(crate) struct Registration {
    /// Its handlers.
    pub(crate) handlers: Handlers,
    /// The places of those handlers that run before the handlers of all plugins loaded so far.
    pub(crate) first: HashSet<usize>,
    /// The numbers of handlers, by their places, that somebody else knows and can run together.
    pub(crate) numbers: HashMap<usize, i64>,
    /// Handlers at the end of the chains of hooks that may become others at any time.
    pub(crate) late: Vec<(Rc<LateHooks>, Rc<SessionFn>)>,
    /// Runs in each new process before anything else.
    pub(crate) at_fork: Vec<LetGo>,
    /// Runs in the parent before a client gets a process.
    pub(crate) before_fork: Vec<BeforeFork>,
    /// Runs in a worker after a session with a lot of mail.
    pub(crate) after_much_mail: Vec<LetGo>,
    /// Runs when a process begins to wait for a client, or is done with it.
    pub(crate) before_wait: Vec<BeforeWait>,
    /// Runs when a worker has nothing to do, and before it ends.
    pub(crate) rests: Vec<Box<RestFn>>,
    /// Asked about recipients that have been accepted.
    pub(crate) onward: Vec<Rc<SessionFn>>,
    /// The configuration files that sessions will read.
    pub(crate) reads: Vec<Cow<'static, str>>,
    /// Who chooses certificates, where the plugin offers TLS.
    pub(crate) tls: Option<Rc<TlsFn>>,
    /// The lists of plugins that it gives clients.
    pub(crate) lists: Option<Lists>,
    /// The extensions that its `queue` handlers support.
    pub(crate) extensions: Vec<Extension>,
    /// The hooks at which it always decides, unless it fails.
    pub(crate) decides: Vec<Hook>,
    /// The tables of the store that are the plugin's, with what explains their entries.
    pub(crate) keeps: Vec<(&'static str, Rc<ExplainFn>)>,
    /// Commands for people: of which table, by which name.
    pub(crate) commands: Vec<(&'static str, &'static str, Rc<CommandFn>)>,
    /// What it does without a client, by the name of the option that asks for it.
    pub(crate) jobs: Vec<(&'static str, Rc<JobFn>)>,
    /// Who listens to what goes over the line.
    pub(crate) listeners: Vec<Rc<HearFn>>,
    /// How many connections addresses may have.
    pub(crate) max_from_ip: Option<Rc<MaxFn>>,
    /// What `reject` says where it is not given.
    pub(crate) default_reject: Option<Reject>,
    /// It reads the argument `reject` itself.
    pub(crate) reads_reject: bool,
    /// Its handlers for the log write JSON.
    pub(crate) writes_json: bool,
    /// They write lines of text to standard error.
    pub(crate) writes_to_stderr: bool,
    /// Lines for the log.
    pub(crate) lines: Vec<(Level, String)>,
}

impl Registration {
    /// Has it a handler for `hook`?
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.handlers.iter().any(|(own, _)| *own == hook)
    }
}

impl Plugins {
    /// Adds a plugin with all that it registered.
    pub(crate) fn add(&mut self, name: &str, settings: Settings, registered: Registration) {
        let plugin = self.loaded.len() as u16;
        let (extensions, decides) = (registered.extensions, registered.decides);
        let (origin, list) = (Origin::Native, self.loading);
        let has_logger = self.loggers.iter().any(|(_, own)| &*self.loaded(own.plugin).name == name);
        self.loaded.push(Loaded {
            name: name.into(),
            settings,
            extensions,
            decides,
            origin,
            list,
            line: None,
            native: None,
            perl: None,
        });
        self.json_loggers.extend(registered.writes_json.then_some(plugin));
        self.stderr_loggers.extend(registered.writes_to_stderr.then_some(plugin));
        self.at_fork.extend(registered.at_fork);
        self.before_fork.extend(registered.before_fork);
        self.after_much_mail.extend(registered.after_much_mail);
        self.before_wait.extend(registered.before_wait);
        self.rests.extend(registered.rests);
        let onward = registered.onward.into_iter();
        self.onward.extend(onward.map(|run| Handler { plugin, id: LATE, number: None, run }));
        self.files.extend(registered.reads);
        self.tls.extend(registered.tls.map(|choose| (plugin, choose)));
        self.lists = registered.lists.map(|lists| (plugin, lists)).or(self.lists.take());
        self.keeps.extend(registered.keeps);
        self.commands.extend(registered.commands);
        let jobs = registered.jobs.into_iter();
        self.jobs.extend(jobs.map(|(name, run)| (name, plugin, run)));
        self.listeners.extend(registered.listeners.into_iter().map(|run| (plugin, run)));
        self.max_from_ip.extend(registered.max_from_ip);
        let late = registered.late.into_iter();
        self.late.extend(
            late.map(|(hooks, run)| (hooks, Handler { plugin, id: LATE, number: None, run })),
        );
        for (place, (hook, kind)) in registered.handlers.into_iter().enumerate() {
            let id = self.count;
            self.count += 1;
            let number = registered.numbers.get(&place).copied();
            match kind {
                Kind::Session(run) => {
                    let chain = &mut self.handlers[hook as usize];
                    let at = if registered.first.contains(&place) { 0 } else { chain.len() };
                    chain.insert(at, Handler { plugin, id, number, run });
                }
                Kind::Incoming(run) => self.incoming.push(Handler { plugin, id, number, run }),
                Kind::Fork(run) => self.forks.push(Handler { plugin, id, number, run }),
                // A logger that is in several lists gets each line once.
                Kind::Log(..) if has_logger && list != List::Main => {}
                Kind::Log(level, run) => {
                    self.loggers.push((level, Handler { plugin, id, number, run }))
                }
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
}
