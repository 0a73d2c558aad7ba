//! Handlers that see no session, and what runs at moments in the life of a process.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::Hooks;
use crate::config::Config;
use crate::hook::registration::Kind;
use crate::hook::{Hook, Incoming, IntoVerdict, Rest};
use crate::log::{Level, Record};

impl Hooks {
    /// In the parent, after accept: may refuse a client before it costs a process.
    pub fn pre_connection<R: IntoVerdict>(&mut self, run: impl Fn(&Incoming<'_>) -> R + 'static) {
        let run = Rc::new(move |incoming: &Incoming<'_>| run(incoming).into_verdict());
        self.registered.handlers.push((Hook::PreConnection, Kind::Incoming(run)));
    }

    /// In each new worker process: the place to open what must not be shared between processes.
    pub fn post_fork<R: IntoVerdict>(&mut self, run: impl Fn(&Config) -> R + 'static) {
        let run = Rc::new(move |config: &Config| run(config).into_verdict());
        self.registered.handlers.push((Hook::PostFork, Kind::Fork(run)));
    }

    /// A log line up to `most` was written; OK keeps it from the logging plugins that follow.
    pub fn logging<R: IntoVerdict>(
        &mut self,
        most: Level,
        run: impl Fn(&Record<'_>) -> R + 'static,
    ) {
        let run = Rc::new(move |record: &Record<'_>| run(record).into_verdict());
        self.registered.handlers.push((Hook::Logging, Kind::Log(most, run)));
    }

    /// Says whether the plugin writes the log as JSON: it gets the events in full then.
    pub(crate) fn writes_json(&mut self, writes_json: bool) {
        self.registered.writes_json = writes_json;
    }

    /// Says that the plugin writes the log to standard error, as lines of text.
    pub(crate) fn writes_to_stderr(&mut self) {
        self.registered.writes_to_stderr = true;
    }

    /// Runs in the parent, at most once a second, before a client gets a process: brings up to date
    /// what processes inherit.  True: those that were made before are to serve no more clients.
    pub fn before_fork(&mut self, run: impl Fn(&Config) -> bool + 'static) {
        self.registered.before_fork.push(Box::new(run));
    }

    /// Runs in each new process before anything else: the place to let go of what is the parent's.
    pub(crate) fn at_fork(&mut self, run: impl Fn() + 'static) {
        self.registered.at_fork.push(Box::new(run));
    }

    /// Changes how many connections an address may have at once (an IPv6 address: its /64), where the
    /// option `--max-from-ip` limits that: `max` is given the address and the number so far, and returns
    /// another; at least one is allowed.  It runs in the parent for each client and must not wait.
    pub fn max_from_ip(&mut self, max: impl Fn(IpAddr, usize) -> usize + 'static) {
        self.registered.max_from_ip = Some(Rc::new(max));
    }

    /// Runs when a process begins to wait for a client, and when it is done with it: the place to send
    /// what could wait until then.  The argument says whether the client keeps it waiting.
    pub(crate) fn before_wait(&mut self, run: impl Fn(&dyn Fn() -> bool) + 'static) {
        self.registered.before_wait.push(Box::new(run));
    }

    /// Runs in a worker of a pool that waits for its next client, and in every process that has served
    /// its last one: the place to close connections that were kept.  Returns how long it need not be
    /// asked again; None: not until there was a client.
    pub(crate) fn rests(&mut self, run: impl Fn(Rest) -> Option<Duration> + 'static) {
        self.registered.rests.push(Box::new(run));
    }

    /// Runs in a worker after a session with a lot of mail: the place to let go of what has grown.
    pub(crate) fn after_much_mail(&mut self, run: impl Fn() + 'static) {
        self.registered.after_much_mail.push(Box::new(run));
    }
}
