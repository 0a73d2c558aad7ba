//! This process's own Perl child: made at its first use, told what it has to know, let go of.

use std::rc::Rc;
use std::time::Instant;

use super::{Caller, Outcome, Perl, no_process};
use crate::hook::{PARENT_LIMIT, Session};
use crate::log::Level;
use crate::perl::protocol::{Failure, Loggers, ToPerl};
use crate::perl::serving::{Greeted, Serving};
use crate::perl::verdict;

impl Perl {
    /// Sends a message, after what Perl has to know before.  A process that has died meanwhile is
    /// replaced.
    pub(super) fn send(
        &self,
        caller: &mut Caller<'_, '_>,
        message: impl Fn(&Serving, Option<&mut Session>) -> Option<ToPerl>,
    ) -> Outcome<Rc<Serving>> {
        let lines = self.lines.take();
        for is_last in [false, true] {
            let serving = self.serving()?;
            let mut out = vec![];
            out.extend(self.greets(&serving, caller));
            out.extend(lines.clone());
            out.extend(message(&serving, caller.session()));
            match serving.link.send(out) {
                Ok(()) => return Ok(serving),
                Err(why) if is_last => return Err(Failure::Process(why)),
                Err(_) => drop(self.serving.take()),
            }
        }
        Err(no_process())
    }

    /// This process's own connection, made at its first use.
    pub(super) fn serving(&self) -> Outcome<Rc<Serving>> {
        let known = self.serving.borrow().clone().filter(|serving| serving.link.is_ours());
        match known {
            Some(serving) if !serving.is_running() => return Ok(serving),
            // Its last run was given up: nobody will ask for the handlers that it still calls.
            Some(serving) => serving.link.cut(),
            None => {}
        }
        let link = match &*self.process.borrow() {
            Some(process) => process.connect().map_err(Failure::Process)?,
            None => return Err(no_process()),
        };
        // A new child has only the handlers that were loaded.
        self.late.set(std::iter::empty());
        let serving = Rc::new(Serving::new(link));
        *self.serving.borrow_mut() = Some(serving.clone());
        Ok(serving)
    }

    /// Do handlers run that the core has not come to yet?
    pub(super) fn is_running(&self) -> bool {
        self.serving.borrow().as_ref().is_some_and(|serving| serving.is_running())
    }

    /// What Perl does not know yet of the plugins.
    fn greets(&self, serving: &Serving, caller: &mut Caller<'_, '_>) -> Option<ToPerl> {
        let greets = match caller {
            Caller::Session(_) => Greeted::InSession,
            _ => Greeted::Outside,
        };
        if serving.greeted.get() >= greets {
            return None;
        }
        serving.greeted.set(greets);
        let (level, plugins) = match caller {
            Caller::Session(session) => {
                let plugins = session.plugins();
                let wanted = (0..8).rev().find(|n| plugins.wants(Level::from_number(*n)));
                (wanted.unwrap_or(-1), plugins.names().map(verdict::escaped).collect())
            }
            _ => (7, vec![]),
        };
        let loggers = match (greets, self.lines.loggers()) {
            (Greeted::Outside, Loggers::Perl) => Loggers::Mixed,
            (_, loggers) => loggers,
        };
        Some(ToPerl::Hello { level, loggers, plugins })
    }

    /// In a process that was just forked: the parent's connection is not ours.
    pub(super) fn forget_inherited(&self) {
        self.serving.take();
    }

    /// Lets go of this process's Perl child if it keeps too much memory: the next call gets another.
    pub(super) fn let_go(&self) {
        let Some(serving) = self.serving.borrow().clone().filter(|own| own.link.is_ours()) else {
            return;
        };
        let mut caller = Caller::Process(&self.config);
        let deadline = Instant::now() + PARENT_LIMIT;
        if serving.link.send([ToPerl::HasGrown]).is_ok() {
            let reply = self.converse(&serving.link, None, &mut caller, deadline);
            if reply.is_ok_and(|reply| reply.code == Some(0)) {
                return;
            }
        }
        serving.link.cut();
        self.serving.take();
    }
}
