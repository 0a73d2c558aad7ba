//! How the parent's processes begin and end, and what it does when it is told to stop or to read its
//! configuration again.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getppid};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::{Hook, List, Shared};
use crate::log::Level;
use crate::metrics::{self, Metric};
use crate::plugin;
use crate::server::lists;
use crate::server::parent::{Dispatch, Parent, forget, store};
use crate::server::peer::Peer;
use crate::server::signals::{Event, Signals};
use crate::server::worker::{EXIT_BUG, Worker};
use crate::settings::PLUGINS;
use crate::smtp;
use crate::sys::deadline::EXIT_OVERDUE;
use crate::sys::fork::{Forked, exit, fork};
use crate::sys::{process, stop, title};

/// How long a session may take to say goodbye once the time of grace is over.
const LAST_WORDS: Duration = Duration::from_secs(3);

impl Parent {
    /// Makes a worker, which does `work` and ends.  `client`: whom it serves from the beginning; `link`:
    /// our end of the socket for its jobs.  Returns its place on the scoreboard; None when there can be
    /// no more processes now.
    pub(crate) fn spawn(
        &mut self,
        client: Option<Peer>,
        link: nix::Result<Option<OwnedFd>>,
        work: impl FnOnce(&Worker<'_>),
    ) -> Option<usize> {
        let (place, row) = self.board.free()?;
        // What nobody can see is not counted.
        let counts = self.board.counts(place).filter(|_| self.status.is_served());
        let made = link.and_then(|link| Ok((link, fork()?)));
        match made {
            Ok((link, Forked::Child)) => {
                drop(link);
                self.leave_behind();
                work(&Worker { settings: &self.settings, row, counts, shared: &self.shared });
                exit(0);
            }
            Ok((link, Forked::Parent(pid))) => {
                metrics::add(Metric::WorkersStarted, &[], 1);
                self.board.add(place, pid.as_raw(), link, client);
                Some(place)
            }
            Err(error) => {
                metrics::add(Metric::WorkerFailures, &["fork"], 1);
                let wait = self.backoff.failed(Instant::now()).as_secs();
                self.log(
                    Level::Error,
                    format_args!("cannot make a process: {error}; next try in {wait} s"),
                );
                None
            }
        }
    }

    /// Asks the lists of the plugins whether they answer as lists do, in a process of its own: nobody
    /// waits for it.  What is wrong is in the log; no list is left out.
    pub(crate) fn check_lists(&mut self) {
        let plugins = &self.shared.plugins;
        if lists::named(&self.shared.config, &plugins.names().collect::<Vec<_>>()).is_empty() {
            return;
        }
        self.aside("asks whether lists answer", |shared| {
            let Shared { plugins, config, .. } = shared;
            for fault in lists::faults(config, &plugins.names().collect::<Vec<_>>()) {
                plugins.log(Level::Warn, fault);
            }
        });
    }

    /// Sees to it that the status is served where it is to be.
    pub(super) fn tend_status(&mut self, now: Instant) {
        if !self.status.is_missing(now) {
            return;
        }
        let view = self.board.view();
        let shared = self.shared.clone();
        let service = self.status.lend_service(view, &shared.config, &shared.plugins);
        let server = service.and_then(|service| self.aside("serves the status", |_| service.run()));
        self.status.served_by(server, now);
    }

    /// Does `work` in a process that ends with the parent and serves nobody.
    pub(super) fn aside(&mut self, doing: &str, work: impl FnOnce(&Shared)) -> Option<Pid> {
        match fork() {
            Ok(Forked::Child) => {
                // The kernel knows the signal.
                let _ = set_pdeathsig(Signal::SIGKILL);
                if getppid() != self.settings.parent {
                    exit(0);
                }
                self.leave_behind();
                process::ignore_group_signals();
                title::set(doing);
                self.shared.plugins.confine();
                let done = catch_unwind(AssertUnwindSafe(|| work(&self.shared)));
                exit(done.map_or(EXIT_BUG, |()| 0));
            }
            Ok(Forked::Parent(pid)) => Some(pid),
            Err(error) => {
                self.log(Level::Warn, format_args!("no process that {doing}: {error}"));
                None
            }
        }
    }

    /// Tells a worker to end when it has finished with its client.
    pub(crate) fn dismiss(&mut self, place: usize) {
        if let Some(slot) = self.board.get_mut(place).filter(|slot| !slot.dismissed) {
            slot.dismissed = true;
            slot.link = None;
            let _ = kill(Pid::from_raw(slot.pid), stop::SIGNAL);
        }
    }

    pub(super) fn signalled(&mut self, dispatch: &mut dyn Dispatch) {
        let events = self.signals.as_mut().map(Signals::take).unwrap_or_default();
        for event in events {
            match event {
                Event::Child => self.reap(dispatch),
                Event::Reload if self.stopping.is_none() => self.reload(),
                Event::Reload => {}
                Event::Stop => self.stop(),
            }
        }
    }

    fn reap(&mut self, dispatch: &mut dyn Dispatch) {
        loop {
            let mut is_harmed = false;
            let (pid, how) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, 0)) => (pid.as_raw(), None),
                Ok(WaitStatus::Exited(pid, status)) => {
                    let reason = if status == EXIT_OVERDUE { "overdue" } else { "status" };
                    (pid.as_raw(), Some((reason, format!("ended with status {status}"))))
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    is_harmed = signal == Signal::SIGBUS || signal == Signal::SIGSEGV;
                    (pid.as_raw(), Some(("signal", format!("was killed by {signal}"))))
                }
                _ => return,
            };
            // What it said at its end comes first.
            self.hear();
            let Some(slot) = self.board.remove(pid) else {
                if self.status.has_ended(pid, Instant::now()) == Some(false) {
                    let how = how.map_or("ended".into(), |(_, how)| how);
                    self.log(
                        Level::Error,
                        format_args!("process {pid}, serving the status, {how}"),
                    );
                }
                continue;
            };
            let Some((reason, how)) = how else {
                self.backoff.worked();
                continue;
            };
            metrics::add(Metric::WorkerFailures, &[reason], 1);
            let swept = self.shared.spool.sweep(pid as u32);
            let client = slot.client.map_or("waiting".into(), |peer| format!("serving {peer}"));
            self.log(
                Level::Error,
                format_args!("process {pid}, {client}, {how}; {swept} spool files removed"),
            );
            dispatch.died(self, &slot);
            if is_harmed {
                self.suspect_store();
            }
        }
    }

    /// Reads configuration and plugins anew.  Sessions in progress keep what they have.
    fn reload(&mut self) {
        let config = self.shared.config.anew();
        let loaded = config.reachable().and_then(|()| plugin::load(&config)).and_then(|plugins| {
            self.refuse_no_plugins(&config)?;
            let store = store::for_plugins(&config, &plugins, Some(&self.shared.store))?;
            Ok((plugins, store))
        });
        match loaded {
            Ok((plugins, store)) => {
                smtp::preload(&config);
                for warning in smtp::warnings(&config, &plugins) {
                    plugins.log(Level::Warn, warning);
                }
                self.shared = Shared { plugins, config, store, ..self.shared.clone() };
                self.replace_children();
                if let Err(error) = self.status.reload(&self.shared.config) {
                    self.log(Level::Error, error);
                }
                metrics::add(Metric::Reloads, &["ok"], 1);
                self.log(Level::Notice, "the configuration was read again");
                self.check_lists();
            }
            Err(error) => {
                metrics::add(Metric::Reloads, &["failed"], 1);
                let text = format!("the new configuration is broken, the old one stays: {error}");
                self.log(Level::Error, text);
            }
        }
    }

    /// A list without a plugin in the place of one that decides about recipients is an error: an editor
    /// or a program may be about to write the file.
    fn refuse_no_plugins(&self, config: &Config) -> Result<()> {
        if config.is_set(PLUGINS) || !self.shared.plugins.has_in(List::Main, Hook::Rcpt) {
            return Ok(());
        }
        let file = config.path(PLUGINS.row().name).unwrap_or_default();
        let text = "no plugin in it (only a restart takes all plugins away)";
        Err(Error::new(format!("{}: {text}", file.display())))
    }

    /// Lets go of all children, each as soon as it serves nobody.
    pub(super) fn replace_children(&mut self) {
        for slot in self.board.iter_mut() {
            slot.outdated = true;
        }
        while let Some(place) = self.board.take_longest_waiting() {
            self.dismiss(place);
        }
    }

    fn stop(&mut self) {
        let now = Instant::now();
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(now + self.grace);
        self.is_open = false;
        if let Some(poll) = &self.poll {
            // Sockets that systemd passed stay open there, and would go on telling of clients.
            self.listeners.iter().for_each(|listener| forget(poll, listener.as_fd()));
        }
        self.listeners.clear();
        self.status.release();
        let busy = self.board.busy();
        self.log(Level::Notice, format_args!("stopping, {busy} sessions in progress"));
        self.manager.tell("STOPPING=1");
        for place in self.board.places() {
            self.dismiss(place);
        }
    }

    /// Sessions that have not ended within the time of grace have to say goodbye; those that do not
    /// even do that are killed.
    pub(super) fn kill_late(&mut self, now: Instant) {
        let Some(until) = self.stopping.filter(|until| now >= *until) else { return };
        let signal = if now < until + LAST_WORDS { stop::DEMAND } else { Signal::SIGKILL };
        for slot in self.board.iter_mut() {
            let _ = kill(Pid::from_raw(slot.pid), signal);
        }
    }
}
