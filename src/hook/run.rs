//! How the handlers of a session are run.

use std::time::Instant;

use crate::hook::guarded::guarded;
use crate::hook::handler::Handler;
use crate::hook::session::SessionFn;
use crate::hook::{
    Call, Code, DECLINED, Decision, Failure, Hook, HookResult, Outcome, Plugins, Said, Session,
    Settings, Verdict, count, verdict_of,
};
use crate::log::Level;
use crate::sys::title;

impl Session {
    /// Asks the handlers of `hook` in order until one decides or fails, and tells the `deny` and
    /// `ok` hooks of each answer.  Where nobody decides, the last answer counts, for its text; for
    /// clients that authenticate the first text counts.
    pub(crate) fn ask(&mut self, hook: Hook, call: &Call<'_>) -> Outcome {
        if let Some(said) = &mut self.said {
            said.address = None;
        }
        let verdict = self.run(hook, call);
        Outcome { verdict, said: self.said.take() }
    }

    /// The same within the work for another hook: what handlers say beside the verdict waits for
    /// the [`Session::ask`] that is under way or comes next.
    pub(crate) fn run(&mut self, hook: Hook, call: &Call<'_>) -> Decision {
        self.run_chain(hook, call, true)
    }

    /// The same without the `deny` and `ok` hooks.
    pub(crate) fn run_quietly(&mut self, hook: Hook, call: &Call<'_>) -> Decision {
        self.run_chain(hook, call, false)
    }

    fn run_chain(&mut self, hook: Hook, call: &Call<'_>, tell: bool) -> Decision {
        let mut last = DECLINED;
        let list = self.list();
        if !self.plugins().has_in(list, hook) {
            return Ok(last);
        }
        if let Some(verdict) = self.rehearsed(hook) {
            return Ok(verdict);
        }
        let plugins = self.plugins().clone();
        let chain = &plugins.handlers[hook as usize];
        let mut clock = Instant::now();
        for (place, handler) in chain.iter().chain(plugins.late()).enumerate() {
            let is_asked = match handler.is_late() {
                true => plugins.is_late(hook),
                false => plugins.is_in(handler.plugin, list),
            };
            if !is_asked {
                continue;
            }
            let changed = match call {
                Call::Address(_, params) => {
                    self.replaced_address().map(|changed| (changed.clone(), *params))
                }
                _ => None,
            };
            let changed = changed.as_ref().map(|(address, params)| Call::Address(address, params));
            self.following = match handler.number {
                Some(_) => plugins.following(chain, place, list),
                None => vec![],
            };
            let call_of = changed.as_ref().unwrap_or(call);
            let mut decision = self.run_handler(&plugins, hook, handler, call_of, &mut clock);
            if matches!(call, Call::Credentials(_)) {
                decision = decision.map(|verdict| verdict.told_as(&last));
            }
            if tell {
                let name = &plugins.loaded(handler.plugin).name;
                count::decision(hook, name, &decision);
                self.ledger().decides(hook, handler.plugin, decision.as_ref().ok());
                self.tell(&plugins, hook, handler.plugin, &decision, &mut clock);
            }
            last = decision?;
            if last.ends_chain() {
                break;
            }
        }
        if hook == Hook::Rcpt && last.code() == Code::Ok {
            return self.ask_onward(&plugins, call, last, &mut clock);
        }
        Ok(last)
    }

    /// A recipient is accepted: can those who queue take the message on to it?
    fn ask_onward(
        &mut self,
        plugins: &Plugins,
        call: &Call<'_>,
        accepted: Verdict,
        clock: &mut Instant,
    ) -> Decision {
        let Call::Address(asked, params) = call else { return Ok(accepted) };
        let address = self.replaced_address().unwrap_or(asked).clone();
        let list = self.list();
        for handler in plugins.onward.iter().filter(|own| plugins.is_in(own.plugin, list)) {
            let call = Call::Address(&address, params);
            let decision = self.run_handler(plugins, Hook::Rcpt, handler, &call, clock);
            if verdict_of(&decision).code().is_deny() {
                count::decision(Hook::Rcpt, &plugins.loaded(handler.plugin).name, &decision);
                return decision;
            }
        }
        Ok(accepted)
    }

    /// Runs a handler; `clock` says what time it is, before and after that.
    fn run_handler(
        &mut self,
        plugins: &Plugins,
        hook: Hook,
        handler: &Handler<SessionFn>,
        call: &Call<'_>,
        clock: &mut Instant,
    ) -> Decision {
        let plugin = plugins.loaded(handler.plugin);
        let outer = self.enter(handler.plugin, hook, *clock, plugin.settings.limit());
        let before = self.said.clone();
        title::asks(&plugin.name);
        let done = guarded(plugin, hook, || {
            let verdict = (handler.run)(self, call);
            self.without_route(verdict, hook, call)
        });
        self.log_store();
        let decision = self.judged(done, &plugin.settings, before);
        self.leave(outer);
        title::asks(self.plugin_name());
        let begun = std::mem::replace(clock, Instant::now());
        count::time(hook, &plugin.name, *clock - begun);
        self.ledger().took(hook, *clock - begun);
        let code = verdict_of(&decision).code();
        if let (Hook::Queue, Code::Declined, Some(said)) = (hook, code, &mut self.said) {
            said.each.clear();
        }
        if !handler.is_late() {
            self.keep_result(hook, handler.id as usize, code);
            plugins.watched(handler.plugin, hook, &decision);
        }
        decision
    }

    /// What the store has to say is logged as the handler's that has asked it.
    fn log_store(&self) {
        for (level, text) in self.shared_store().take_lines() {
            self.log_at(level, text);
        }
    }

    /// Logs a failure, and drops all that the failed handler has said; `before` is what was said when
    /// it began.  A handler that did not get a value that it asked for has failed, too: what it decided
    /// without the value cannot be trusted.  The log already says why there was none.
    pub(super) fn judged(
        &mut self,
        done: Decision,
        settings: &Settings,
        before: Option<Box<Said>>,
    ) -> Decision {
        let failure = match done {
            Ok(verdict) if !self.lacks_a_value() => return Ok(verdict),
            Ok(_) => Failure::new("a value is missing"),
            Err(failure) => {
                self.log_at(Level::Crit, &failure);
                failure
            }
        };
        self.said = before;
        settings.on_failure(failure)
    }

    /// Refuses a recipient that a plugin, whichever it is, accepts although a later hop could take
    /// it for a route past us.
    fn without_route(&mut self, verdict: Verdict, hook: Hook, call: &Call<'_>) -> Verdict {
        let (Hook::Rcpt, Code::Ok, Call::Address(asked, _)) = (hook, verdict.code(), call) else {
            return verdict;
        };
        let replaced = self.replaced_address().cloned();
        self.refused_route(replaced.as_ref().unwrap_or(asked)).unwrap_or(verdict)
    }

    fn tell(
        &mut self,
        plugins: &Plugins,
        hook: Hook,
        plugin: u16,
        decision: &Decision,
        clock: &mut Instant,
    ) {
        let verdict = verdict_of(decision);
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
        if plugins.has_in(self.list(), listener) && hook != listener {
            let result = HookResult { plugin: name, hook: hook.name(), verdict };
            // What it says changes nothing.
            let _ = self.run_chain(listener, &Call::Result(&result), false);
            *clock = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::hook::{Args, Call, DECLINED, Hook, Hooks, OK, Verdict};
    use crate::mail::Address;
    use crate::settings::DATABYTES;
    use crate::testing::Trial;

    /// A handler that fails has said nothing, however much it did before.
    #[test]
    fn a_failed_handler_loses_all_that_it_said() {
        fn says_and_fails(hooks: &mut Hooks, _args: &Args) -> crate::error::Result<()> {
            hooks.rcpt(|session, address, _| {
                if address.host() == "sound.example" {
                    session.respond(250, "from the first");
                }
            });
            hooks.rcpt(|session, address, _| {
                session.respond(250, "well done");
                session.disconnect();
                session.recipient_verdict(0, OK);
                session.replace_address(Address::new("other", "example.net"));
                match address.host() {
                    "panics.example" => panic!("no way"),
                    "sound.example" => Ok(DECLINED),
                    _ => Err("no way"),
                }
            });
            hooks.rcpt(|_, address, _| Verdict::deny(address.to_string()));
            Ok(())
        }
        let mut trial = Trial::with(says_and_fails, "on_error ignore", &[]);
        for host in ["panics.example", "errs.example"] {
            assert_eq!(trial.rcpt(&format!("<a@{host}>")).text(), format!("<a@{host}>"));
            assert!(trial.session.said.is_none(), "{:?}", trial.session.said);
        }
        assert_eq!(trial.rcpt("<a@sound.example>").text(), "<other@example.net>");
        let said = trial.session.said.take().unwrap();
        assert!(said.replies.len() == 2 && said.hang_up, "{said:?}");
    }

    /// What a configuration hook fails to give is not taken for an empty file: the handler that asked
    /// decides nothing, and where the core has asked, the handler that comes next does not.
    #[test]
    fn who_lacks_a_value_does_not_decide() {
        fn lacks(hooks: &mut Hooks, _args: &Args) -> crate::error::Result<()> {
            hooks.on(Hook::Config, |_, call| match call {
                Call::Config("broken" | "databytes") => Verdict::failure("no such table"),
                _ => OK,
            });
            hooks.rcpt(|session, address, _| {
                session.config(address.host());
                session.config("sound");
                OK
            });
            Ok(())
        }
        let mut trial = Trial::with(lacks, "", &[]);
        assert!(trial.rcpt("<a@broken>").is_failure());
        assert_eq!(trial.rcpt("<a@sound>"), OK);
        assert_eq!(trial.session.setting(DATABYTES), 0);
        trial.session.config("sound");
        assert!(trial.rcpt("<a@sound>").is_failure());
        assert_eq!(trial.rcpt("<a@sound>"), OK);
        let mut trial = Trial::with(lacks, "on_error ignore", &[]);
        assert_eq!(trial.rcpt("<a@broken>"), OK);
    }
}
