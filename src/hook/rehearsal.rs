//! A session that is played to see what plugins say: `--try`.

use std::rc::Rc;

use crate::hook::handler::BeforeWait;
use crate::hook::{DECLINED, Decision, Hook, Listed, Plugins, Session, Verdict};

/// Is told what a handler has decided: the hook, its plugin, the decision.
type SaidFn = dyn Fn(Hook, &str, &Decision);

/// Gets a message that would be queued, and the handlers that would be asked to take it.
type QueueFn = dyn Fn(&Session, &[Listed]);

/// Who watches a session, and has its messages in the place of the plugins that queue.
pub(crate) struct Rehearsal {
    pub(crate) said: Box<SaidFn>,
    pub(crate) queue: Box<QueueFn>,
    /// Runs whenever the client is waited for.
    pub(crate) waits: BeforeWait,
}

impl Rehearsal {
    /// The answer to a message, which is thrown away.
    const NOT_QUEUED: &'static str = "Not queued, this is a rehearsal";
}

/// What [`Plugins`] keep of a [`Rehearsal`].
pub(super) struct Watch {
    said: Box<SaidFn>,
    queue: Box<QueueFn>,
}

impl Plugins {
    /// From now on sessions are only played.
    pub(crate) fn rehearse(&mut self, rehearsal: Rehearsal) {
        let Rehearsal { said, queue, waits } = rehearsal;
        self.watch = Some(Rc::new(Watch { said, queue }));
        self.before_wait.push(waits);
    }

    /// A handler has decided.
    pub(super) fn watched(&self, plugin: u16, hook: Hook, decision: &Decision) {
        if let Some(watch) = &self.watch {
            (watch.said)(hook, &self.loaded(plugin).name, decision);
        }
    }
}

impl Session {
    /// Is nothing to be written or sent, as the session is only played?
    pub(crate) fn is_rehearsal(&self) -> bool {
        self.plugins().watch.is_some()
    }

    /// What the plugins answer that queue, and those that look back at that, where the session is only
    /// played: nobody asks them.
    pub(super) fn rehearsed(&self, hook: Hook) -> Option<Verdict> {
        let plugins = self.plugins();
        let watch = plugins.watch.as_ref()?;
        match hook {
            Hook::Queue => {
                (watch.queue)(self, &plugins.listed_in(self.list(), hook));
                Some(Verdict::ok(Rehearsal::NOT_QUEUED))
            }
            Hook::QueuePost => Some(DECLINED),
            _ => None,
        }
    }
}
