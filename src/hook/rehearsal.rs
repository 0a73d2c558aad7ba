//! A session that is played to see what plugins say: `--try`.

use std::rc::Rc;

use crate::hook::handler::BeforeWait;
use crate::hook::session::{DecisionFn, Watch};
use crate::hook::{DECLINED, Decision, Hook, Listed, Plugins, Session, Verdict};

/// The answer to a message, which is thrown away.
const NOT_QUEUED: &str = "Not queued, this is a rehearsal";

/// Who watches a session, and has its messages in the place of the plugins that queue.
pub(crate) struct Rehearsal {
    pub(crate) said: Box<DecisionFn>,
    /// Gets the session in which a message would be queued.
    pub(crate) queue: Box<dyn Fn(&Session)>,
    /// Runs whenever the client is waited for.
    pub(crate) waits: BeforeWait,
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

    /// The handlers of a hook, in the order in which they are asked.
    pub(crate) fn asked_at(&self, hook: Hook) -> Vec<Listed> {
        self.plugins().listed_in(self.list(), hook)
    }

    /// What the plugins answer that queue, and those that look back at that, where the session is only
    /// played: nobody asks them.
    pub(super) fn rehearsed(&self, hook: Hook) -> Option<Verdict> {
        let watch = self.plugins().watch.as_ref()?;
        match hook {
            Hook::Queue => {
                (watch.queue)(self);
                Some(Verdict::ok(NOT_QUEUED))
            }
            Hook::QueuePost => Some(DECLINED),
            _ => None,
        }
    }
}
