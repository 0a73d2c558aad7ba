//! A plugin that another one inherits from.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use crate::hook::registration::{Handlers, Kind};
use crate::hook::{Call, DECLINED, Extension, Hook, Session, TABLE, Verdict};
use crate::mail::Address;
use crate::state::Params;

/// A parent plugin's handlers, for its child to call; see [`super::Hooks::isa_plugin`].
#[derive(Clone)]
pub struct Parent(Rc<Inherited>);

struct Inherited {
    handlers: Handlers,
    extensions: Vec<Extension>,
    left_out: RefCell<HashSet<Hook>>,
}

impl Parent {
    pub(super) fn new(handlers: Handlers, extensions: Vec<Extension>) -> Parent {
        Parent(Rc::new(Inherited { handlers, extensions, left_out: RefCell::default() }))
    }

    /// Asks the parent's handlers of any hook.
    pub fn call(&self, session: &mut Session, hook: Hook, call: &Call<'_>) -> Verdict {
        let mut last = DECLINED;
        for (own, kind) in &self.0.handlers {
            if let Kind::Session(run) = kind
                && *own == hook
            {
                last = run(session, call);
                if last.ends_chain() {
                    break;
                }
            }
        }
        last
    }

    /// What the parent says at `connect`, `data`, `data_post`, `queue` or another hook that has no
    /// arguments.
    pub fn plain(&self, session: &mut Session, hook: Hook) -> Verdict {
        self.call(session, hook, &Call::Nothing)
    }

    /// What the parent says of a reverse-path.
    pub fn mail(&self, session: &mut Session, address: &Address, params: &Params) -> Verdict {
        self.call(session, Hook::Mail, &Call::Address(address, params))
    }

    /// What the parent says of a forward-path.
    pub fn rcpt(&self, session: &mut Session, address: &Address, params: &Params) -> Verdict {
        self.call(session, Hook::Rcpt, &Call::Address(address, params))
    }

    /// The hooks that it has handlers for, each once.
    pub(crate) fn hooks(&self) -> impl Iterator<Item = Hook> {
        TABLE.iter().map(|row| row.hook).filter(|hook| {
            self.0
                .handlers
                .iter()
                .any(|(own, kind)| own == hook && matches!(kind, Kind::Session(_)))
        })
    }

    /// Does not inherit the parent's handlers of `hook`.
    pub fn leave_out(&self, hook: Hook) {
        self.0.left_out.borrow_mut().insert(hook);
    }

    /// The handlers that a child inherits that has `own` ones for some hooks.
    pub(super) fn inherited(&self, own: &HashSet<Hook>) -> Handlers {
        let left_out = self.0.left_out.borrow();
        let all = self.0.handlers.iter();
        all.filter(|(hook, _)| !own.contains(hook) && !left_out.contains(hook)).cloned().collect()
    }

    /// The extensions that its `queue` handlers support; None where a child does not inherit any.
    pub(super) fn extensions(&self) -> Option<&[Extension]> {
        let queues = self.0.handlers.iter().any(|(hook, _)| *hook == Hook::Queue);
        let inherits = queues && !self.0.left_out.borrow().contains(&Hook::Queue);
        inherits.then_some(&self.0.extensions)
    }
}
