//! How the parent's processes begin and end, and what it does when it is told to stop or to read its
//! configuration again.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::hook::Shared;
use crate::log::Level;
use crate::plugin;
use crate::server::parent::{Dispatch, Parent};
use crate::server::signals::{Event, Signals};
use crate::server::worker::Post;
use crate::smtp;
use crate::sys::fork::{Forked, exit, fork};
use crate::sys::stop;

/// How long a session may take to say goodbye once the time of grace is over.
const LAST_WORDS: Duration = Duration::from_secs(3);

impl Parent {
    /// Makes a child process, which runs `duty` and ends.  `link`: our end of the socket for its
    /// jobs.  Returns the child's id; None when there can be no more processes now.
    pub(crate) fn spawn(
        &mut self,
        client: Option<IpAddr>,
        link: nix::Result<Option<OwnedFd>>,
        duty: impl FnOnce(&Post, &Shared),
    ) -> Option<i32> {
        let made = link.and_then(|link| Ok((link, fork()?)));
        match made {
            Ok((link, Forked::Child)) => {
                drop(link);
                self.leave_behind();
                duty(&self.post, &self.shared);
                exit(0);
            }
            Ok((link, Forked::Parent(pid))) => {
                self.children.add(pid, link, client);
                Some(pid.as_raw())
            }
            Err(error) => {
                let wait = self.backoff.failed(Instant::now()).as_secs();
                self.log(
                    Level::Error,
                    format_args!("cannot make a process: {error}; next try in {wait} s"),
                );
                None
            }
        }
    }

    /// Tells a child to end when it has finished with its client.
    pub(crate) fn dismiss(&mut self, pid: i32) {
        if let Some(child) = self.children.get_mut(pid).filter(|child| !child.dismissed) {
            child.dismissed = true;
            child.link = None;
            let _ = kill(Pid::from_raw(pid), stop::SIGNAL);
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
            let (pid, how) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, 0)) => (pid.as_raw(), None),
                Ok(WaitStatus::Exited(pid, status)) => {
                    (pid.as_raw(), Some(format!("ended with status {status}")))
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid.as_raw(), Some(format!("was killed by {signal}")))
                }
                _ => return,
            };
            // What it said at its end comes first.
            self.hear(dispatch);
            let Some(child) = self.children.remove(pid) else { continue };
            let Some(how) = how else {
                self.backoff.worked();
                continue;
            };
            let swept = self.shared.spool.sweep(pid as u32);
            let client = child.client.map_or("waiting".into(), |ip| format!("serving {ip}"));
            self.log(
                Level::Error,
                format_args!("process {pid}, {client}, {how}; {swept} spool files removed"),
            );
            dispatch.died(self, &child);
        }
    }

    /// Reads configuration and plugins anew.  Sessions in progress keep what they have.
    fn reload(&mut self) {
        let config = self.shared.config.anew();
        match plugin::load(&config) {
            Ok(plugins) => {
                smtp::preload(&config);
                for warning in smtp::warnings(&config, &plugins) {
                    plugins.log(Level::Warn, warning);
                }
                self.shared = Shared { plugins, config, ..self.shared.clone() };
                self.replace_children();
                self.log(Level::Notice, "the configuration was read again");
            }
            Err(error) => {
                let text = format!("the new configuration is broken, the old one stays: {error}");
                self.log(Level::Error, text);
            }
        }
    }

    /// Lets go of the children that there are, as soon as they serve nobody.
    pub(super) fn replace_children(&mut self) {
        for (_, child) in self.children.iter_mut() {
            child.outdated = true;
        }
        while let Some(pid) = self.children.take_longest_waiting() {
            self.dismiss(pid);
        }
    }

    fn stop(&mut self) {
        let now = Instant::now();
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(now + self.grace);
        self.set_listening(false);
        self.listeners.clear();
        let busy = self.children.busy();
        self.log(Level::Notice, format_args!("stopping, {busy} sessions in progress"));
        self.manager.tell("STOPPING=1");
        let pids: Vec<i32> = self.children.iter_mut().map(|(pid, _)| pid).collect();
        for pid in pids {
            self.dismiss(pid);
        }
    }

    /// Sessions that have not ended within the time of grace have to say goodbye; those that do not
    /// even do that are killed.
    pub(super) fn kill_late(&mut self, now: Instant) {
        let Some(until) = self.stopping.filter(|until| now >= *until) else { return };
        let signal = if now < until + LAST_WORDS { stop::DEMAND } else { Signal::SIGKILL };
        for (pid, _) in self.children.iter_mut() {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}
