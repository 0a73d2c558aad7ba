//! What plugins do at moments in the life of a process.

use std::net::IpAddr;
use std::time::Duration;

use super::Plugins;
use crate::config::Config;
use crate::hook::handler::Rest;
use crate::log::Level;
use crate::sys::confine;

impl Plugins {
    /// How many connections the address may have at once, where the option `--max-from-ip` says `max`.
    pub(crate) fn max_from_ip(&self, ip: IpAddr, max: usize) -> usize {
        self.max_from_ip.iter().fold(max, |max, change| change(ip, max).max(1))
    }

    /// The process begins to wait for a client; `waits_long` finds out whether that takes long.
    pub(crate) fn before_wait(&self, waits_long: &dyn Fn() -> bool) {
        self.before_wait.iter().for_each(|run| run(waits_long));
    }

    /// The worker has no client.  Returns after how long this is to be called again if there is none
    /// by then.
    pub(crate) fn rest(&self, rest: Rest) -> Option<Duration> {
        self.rests.iter().filter_map(|run| run(rest)).min()
    }

    /// Reads what the plugins will want from the configuration now, so that processes made later
    /// inherit it.  True: processes that were made before are out of date.
    pub fn before_fork(&self, config: &Config) -> bool {
        for name in &self.files {
            config.list(name);
        }
        self.before_fork.iter().filter(|run| run(config)).count() > 0
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
}
