//! Handlers that see no session: in the parent before a client has a process, and in a new process.

use crate::config::Config;
use crate::hook::guarded::guarded;
use crate::hook::{DECLINED, Decision, Hook, Incoming, List, Plugins, count};
use crate::log::Level;

impl Plugins {
    /// Asks the `pre-connection` handlers, in the parent.
    pub(crate) fn pre_connection(&self, incoming: &Incoming<'_>) -> Decision {
        let list = self.list_of(incoming.remote_ip, false);
        for handler in &self.incoming {
            if !self.is_in(handler.plugin, list) && !self.is_in(handler.plugin, List::Main) {
                continue;
            }
            let done = guarded(self.loaded(handler.plugin), Hook::PreConnection, || {
                (handler.run)(incoming)
            });
            for (level, text) in incoming.take_lines() {
                let level = self.loaded(handler.plugin).settings.adjust(level);
                self.log_as(Some(handler.plugin), Some(Hook::PreConnection), level, &text);
            }
            let decision = self.judged(handler.plugin, Hook::PreConnection, done);
            count::decision(Hook::PreConnection, &self.loaded(handler.plugin).name, &decision);
            self.watched(handler.plugin, Hook::PreConnection, &decision);
            let verdict = decision?;
            if verdict.ends_chain() {
                return Ok(verdict);
            }
        }
        Ok(DECLINED)
    }

    /// Runs the `post-fork` handlers, in a new worker process.
    pub fn post_fork(&self, config: &Config) {
        for handler in &self.forks {
            let plugin = self.loaded(handler.plugin);
            let done = guarded(plugin, Hook::PostFork, || (handler.run)(config));
            // There is nobody to refuse yet.
            let _ = self.judged(handler.plugin, Hook::PostFork, done);
        }
    }

    /// A failure outside of sessions is logged and, by `on_error`, refuses.
    fn judged(&self, plugin: u16, hook: Hook, done: Decision) -> Decision {
        done.or_else(|failure| {
            self.log_as(Some(plugin), Some(hook), Level::Crit, &failure.to_string());
            self.loaded(plugin).settings.on_failure(failure)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::hook::{Args, Call, Code, Hook, Hooks, Verdict};
    use crate::testing::Trial;

    /// Handlers that see no session are run as all others are.
    #[test]
    fn a_failure_outside_of_sessions_is_logged_and_refuses_as_within() {
        fn fails(hooks: &mut Hooks, _args: &Args) -> crate::error::Result<()> {
            hooks.pre_connection(|_| -> Verdict { panic!("before") });
            hooks.post_fork(|_| Err::<Verdict, _>("after"));
            hooks.connect(|_| Err::<Verdict, _>("within"));
            Ok(())
        }
        for (args, code) in [("", Code::DenySoft), ("on_error ignore", Code::Declined)] {
            let mut trial = Trial::with(fails, args, &[]);
            trial.take_log();
            assert_eq!(trial.pre_connection("192.0.2.1", &[], 0).code(), code, "{args}");
            trial.post_fork();
            assert_eq!(trial.call(Hook::Connect, &Call::Nothing).code(), code, "{args}");
            let log = trial.log();
            let failures = log.lines().filter(|line| line.contains("trial: FATAL PLUGIN ERROR: "));
            assert_eq!(failures.count(), 3, "{log}");
        }
    }
}
