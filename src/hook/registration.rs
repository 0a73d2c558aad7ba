//! What a plugin registered: handlers, and what goes with them.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::Config;
use crate::hook::lists::Lists;
use crate::hook::{Call, Hook, Incoming, Session, Verdict};
use crate::log::{Level, Record};
use crate::store::Kept;

pub(crate) type SessionFn = dyn Fn(&mut Session, &Call<'_>) -> Verdict;
pub(crate) type IncomingFn = dyn Fn(&Incoming<'_>) -> Verdict;
pub(crate) type ForkFn = dyn Fn(&Config) -> Verdict;
pub(crate) type LogFn = dyn Fn(&Record<'_>) -> Verdict;

/// Chooses certificates and parameters for a client that wants TLS.
pub(crate) type TlsFn = dyn Fn(&mut Session) -> Result<Arc<ServerConfig>, String>;

/// Brings something that processes inherit up to date; see [`super::Hooks::before_fork`].
pub(crate) type BeforeFork = Box<dyn Fn(&Config) -> bool>;

/// Says what an entry of the store means.
pub(crate) type ExplainFn = dyn Fn(&Kept) -> String;

/// Lets go of something.
pub(crate) type LetGo = Box<dyn Fn()>;

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

/// What a plugin that queues may be able to do, beyond taking mail as RFC 5321 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Takes addresses and header sections in UTF-8, and hands them on as they are (RFC 6531).
    Smtputf8,
    /// Hands on what senders ask about delivery status notifications (RFC 3461), to whom it hands
    /// messages to.
    Dsn,
}

/// The hooks for which handlers came after all plugins were loaded: a bit for each hook.
#[derive(Debug, Default)]
pub(crate) struct LateHooks(Cell<u64>);

impl LateHooks {
    pub(crate) fn set(&self, hooks: impl Iterator<Item = Hook>) {
        self.0.set(hooks.fold(0, |bits, hook| bits | 1 << hook as u8));
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.0.get() >> hook as u8 & 1 == 1
    }
}

/// All that one plugin registered.
#[derive(Default)]
pub(crate) struct Registration {
    /// Its handlers.
    pub(crate) handlers: Handlers,
    /// The places of those handlers that run before the handlers of all plugins loaded so far.
    pub(crate) first: HashSet<usize>,
    /// Handlers at the end of the chains of hooks that may become others at any time.
    pub(crate) late: Vec<(Rc<LateHooks>, Rc<SessionFn>)>,
    /// Runs in each new process before anything else.
    pub(crate) at_fork: Vec<LetGo>,
    /// Runs in the parent before a client gets a process.
    pub(crate) before_fork: Vec<BeforeFork>,
    /// Runs in a worker after a session with a lot of mail.
    pub(crate) after_much_mail: Vec<LetGo>,
    /// The configuration files that sessions will read.
    pub(crate) reads: Vec<Cow<'static, str>>,
    /// Who chooses certificates, where the plugin offers TLS.
    pub(crate) tls: Option<Rc<TlsFn>>,
    /// The lists of plugins that it gives clients.
    pub(crate) lists: Option<Lists>,
    /// What its `queue` handlers are able to do.
    pub(crate) abilities: Vec<Ability>,
    /// The tables of the store that are the plugin's, with what explains their entries.
    pub(crate) keeps: Vec<(&'static str, Rc<ExplainFn>)>,
    /// Lines for the log.
    pub(crate) lines: Vec<(Level, String)>,
}

impl Registration {
    /// Has it a handler for `hook`?
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.handlers.iter().any(|(own, _)| *own == hook)
    }
}
