//! How handlers are run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::config::Config;
use crate::hook::plugins::Handler;
use crate::hook::registration::SessionFn;
use crate::hook::settings::OnError;
use crate::hook::{
    Call, Code, DECLINED, Hook, HookResult, Incoming, Plugins, Session, Settings, Verdict,
};
use crate::log::Level;
use crate::sys::deadline;

impl Plugins {
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

    /// Runs the `post-fork` handlers, in a new worker process.
    pub fn post_fork(&self, config: &Config) {
        for handler in &self.forks {
            self.guarded(handler.plugin, Hook::PostFork, || (handler.run)(config));
        }
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
