//! What both parents are made of: one loop over listeners, signals and children.
//!
//! Everything that happens arrives as a readable descriptor, is dealt with in a fixed order, and
//! never waits.  The parent alone knows who is connected.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use crate::error::{Error, Result};
use crate::hook::Shared;
use crate::log::Level;
use crate::plugin;
use crate::server::children::{Child, Children};
use crate::server::crowd::Crowd;
use crate::server::handoff::{self, Report};
use crate::server::listener::{Listener, Peer};
use crate::server::pre_connection;
use crate::server::signals::{Event, Signals};
use crate::server::spawn::Backoff;
use crate::server::worker::Post;
use crate::smtp;
use crate::smtp::reply::{INTERNAL_ERROR, Reply};
use crate::sys::fork::{Forked, exit, fork};
use crate::sys::{stop, title};

/// What tells events apart; listener `n` has the last token and `n`.
const SIGNALS: usize = 0;
const REPORTS: usize = 1;
const LISTENERS: usize = 2;

/// How many events are looked at in one go.
const EVENTS: usize = 64;

/// How often the parent looks around while something is out of order, while there are clients, and
/// while there are none.
const SOON: Duration = Duration::from_millis(250);
const AT_WORK: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(15);

/// How long it is no news that every slot is busy.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How long not to accept when descriptors or memory have run out.
const BREATHER: Duration = Duration::from_secs(1);

/// How clients get to processes: what the two parents differ in.
pub(crate) trait Model {
    /// How many clients there may be at a time.
    fn most(&self) -> usize;
    /// Is there a process, or room for one, for another client?
    fn has_room(&mut self, parent: &mut Parent) -> bool;
    /// Gives an accepted client to a process.
    fn take(&mut self, parent: &mut Parent, client: OwnedFd, peer: &Peer);
    /// Finds out who has served its client without saying so.
    fn look(&mut self, _parent: &mut Parent) {}
    /// A process says that it has served its client.
    fn done(&mut self, _parent: &mut Parent, _pid: i32, _leaving: bool) {}
    /// A process has ended as it should not have.
    fn died(&mut self, _parent: &mut Parent, _child: &Child) {}
    /// Something has changed: are there enough processes, or too many?
    fn balance(&mut self, _parent: &mut Parent, _now: Instant) {}
}

/// The state of a parent process.
pub(crate) struct Parent {
    pub(crate) shared: Shared,
    pub(crate) children: Children,
    pub(crate) backoff: Backoff,
    max_from_ip: usize,
    grace: Duration,
    poll: Option<Poll>,
    listeners: Vec<Listener>,
    signals: Option<Signals>,
    /// Our end of the socket for reports; None in a child.
    reports: Option<OwnedFd>,
    post: Post,
    listening: bool,
    said_full: Option<Instant>,
    crowd: Crowd,
    short_until: Option<Instant>,
    stopping: Option<Instant>,
    warmed: Instant,
}

impl Parent {
    pub(crate) fn new(
        shared: Shared,
        listeners: Vec<Listener>,
        signals: Signals,
        max_from_ip: usize,
        grace: Duration,
    ) -> io::Result<Parent> {
        let poll = Poll::new()?;
        let (reports, post) = handoff::reports()?;
        watch(&poll, signals.as_fd(), SIGNALS)?;
        watch(&poll, reports.as_fd(), REPORTS)?;
        Ok(Parent {
            shared,
            children: Children::default(),
            backoff: Backoff::default(),
            max_from_ip,
            grace,
            poll: Some(poll),
            listeners,
            signals: Some(signals),
            reports: Some(reports),
            post: Post { parent: getpid(), reports: post },
            listening: false,
            said_full: None,
            crowd: Crowd::new(Instant::now()),
            short_until: None,
            stopping: None,
            warmed: Instant::now(),
        })
    }

    /// Runs until SIGTERM or SIGINT and until the last child is gone.
    ///
    /// # Errors
    /// The kernel does not let us wait for events.
    pub(crate) fn run(&mut self, model: &mut dyn Model) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            if self.stopping.is_none() {
                // Something that processes inherit may have ended, too.
                self.warm();
                model.balance(self, now);
                let has_room = model.has_room(self);
                self.listen_while(has_room, now);
                if !has_room {
                    self.make_room(now);
                }
            } else if self.children.is_empty() {
                return Ok(());
            }
            self.kill_late(now);
            self.show();
            self.wait(&mut events)?;
            model.look(self);
            let tokens = || events.iter().map(|event| event.token().0);
            if tokens().any(|token| token == REPORTS) {
                self.hear(model);
            }
            if tokens().any(|token| token == SIGNALS) {
                self.signalled(model);
            }
            for token in tokens().filter(|token| *token >= LISTENERS) {
                self.accept(model, token - LISTENERS);
            }
        }
    }

    /// Makes a child process, which runs `duty` and ends.  `link`: our end of the socket for its
    /// jobs.  Returns the child's id; None when there can be no more processes now.
    pub(crate) fn spawn(
        &mut self,
        client: Option<IpAddr>,
        link: nix::Result<Option<OwnedFd>>,
        duty: impl FnOnce(&Post, &Shared),
    ) -> Option<i32> {
        self.warm();
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

    /// Sends a client away for whom there is no process.
    pub(crate) fn refuse(&self, client: &OwnedFd) {
        pre_connection::send_away(client, &Reply::new(421, "4.3.2", INTERNAL_ERROR));
    }

    pub(crate) fn log(&self, level: Level, text: impl std::fmt::Display) {
        self.shared.plugins.log(level, text);
    }

    fn wait(&mut self, events: &mut Events) -> Result<()> {
        let odd = !self.listening || self.stopping.is_some() || self.short_until.is_some();
        let Some(poll) = &mut self.poll else { return Ok(()) };
        let wait = match self.children.busy() {
            _ if odd => SOON,
            0 => SELDOM,
            _ => AT_WORK,
        };
        match poll.poll(events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(Error::new(format!("cannot wait for events: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Listens while there is room; the kernel keeps the others waiting.
    fn listen_while(&mut self, room: bool, now: Instant) {
        if self.short_until.is_some_and(|until| now >= until) {
            self.short_until = None;
        }
        let wanted = room && self.short_until.is_none();
        if !room && self.said_full.is_none_or(|said| now.duration_since(said) > SAY_AGAIN) {
            self.said_full = Some(now);
            let busy = self.children.busy();
            self.log(Level::Warn, format_args!("all {busy} slots are busy, clients have to wait"));
        }
        self.set_listening(wanted);
    }

    /// Somebody waits and there is no room: the clients that have been here longest are to leave,
    /// with 421, as soon as they have no recipients: at once if they do nothing, else after their
    /// message.
    fn make_room(&mut self, now: Instant) {
        let waits = || self.listeners.iter().any(Listener::has_client);
        let Some(limit) = self.crowd.limit(waits, now) else { return };
        for _ in 0..self.children.len().div_ceil(8) {
            let Some(pid) = self.children.longest_busy(limit) else { return };
            if let Some(ip) = self.children.get_mut(pid).and_then(|child| child.client) {
                self.log(Level::Notice, format_args!("others wait: {ip} is asked to leave"));
                self.crowd.asked(ip, now);
            }
            self.dismiss(pid);
        }
    }

    fn set_listening(&mut self, wanted: bool) {
        if wanted == self.listening {
            return;
        }
        for (number, listener) in self.listeners.iter().enumerate() {
            let Some(poll) = &self.poll else { continue };
            let changed = match wanted {
                true => watch(poll, listener.as_fd(), LISTENERS + number),
                false => {
                    let fd = listener.as_fd().as_raw_fd();
                    poll.registry().deregister(&mut SourceFd(&fd))
                }
            };
            if let Err(error) = changed {
                self.log(Level::Error, format_args!("listening on {listener}: {error}"));
            }
        }
        self.listening = wanted;
    }

    /// Takes the clients that wait, as far as there is room.  That more have come is told only once,
    /// so who is left waiting is told of again when listening begins again.
    fn accept(&mut self, model: &mut dyn Model, number: usize) {
        while self.stopping.is_none() {
            if !model.has_room(self) {
                return self.set_listening(false);
            }
            let Some(listener) = self.listeners.get(number) else { return };
            let (client, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_client(&error) => continue,
                Err(error) => return self.failed_to_accept(&error),
            };
            self.warm();
            // Those who have taken their time do not get the last places again.
            let is_full = self.children.busy() * 4 >= model.most() * 3;
            let crowd = Some(&self.crowd).filter(|_| is_full);
            let (children, most) = (&self.children, self.max_from_ip);
            match pre_connection::check(&peer, children, most, crowd, &self.shared) {
                Some(reply) => pre_connection::send_away(&client, &reply),
                None => model.take(self, client, &peer),
            }
        }
    }

    /// Descriptors or memory have run out: the listener is left alone for a moment.
    fn failed_to_accept(&mut self, error: &io::Error) {
        self.log(Level::Error, format_args!("cannot accept: {error}; next try in 1 s"));
        self.short_until = Some(Instant::now() + BREATHER);
        self.set_listening(false);
    }

    /// Hears what children report.
    fn hear(&mut self, model: &mut dyn Model) {
        while let Some((pid, report)) = self.reports.as_ref().and_then(handoff::receive_report) {
            match report {
                Report::Overdue(text) => {
                    self.log(Level::Crit, format_args!("FATAL PLUGIN ERROR {text}"));
                }
                Report::Done { leaving } => model.done(self, pid, leaving),
            }
        }
    }

    fn signalled(&mut self, model: &mut dyn Model) {
        let events = self.signals.as_mut().map(Signals::take).unwrap_or_default();
        for event in events {
            match event {
                Event::Child => self.reap(model),
                Event::Reload if self.stopping.is_none() => self.reload(),
                Event::Reload => {}
                Event::Stop => self.stop(),
            }
        }
    }

    fn reap(&mut self, model: &mut dyn Model) {
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
            self.hear(model);
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
            model.died(self, &child);
        }
    }

    /// Reads configuration and plugins anew.  Sessions in progress keep what they have.
    fn reload(&mut self) {
        self.shared.config.expire();
        match plugin::load(&self.shared.config) {
            Ok(plugins) => {
                self.shared = Shared { plugins, ..self.shared.clone() };
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
    fn replace_children(&mut self) {
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
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let pids: Vec<i32> = self.children.iter_mut().map(|(pid, _)| pid).collect();
        for pid in pids {
            self.dismiss(pid);
        }
    }

    /// Kills what has not ended within the time of grace.
    fn kill_late(&mut self, now: Instant) {
        if self.stopping.is_some_and(|until| now >= until) {
            for (pid, _) in self.children.iter_mut() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Reads changed configuration before a client gets a process, so that this need not.
    fn warm(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.warmed) >= Duration::from_secs(1) {
            self.warmed = now;
            self.shared.config.refresh();
            smtp::warm(&self.shared.config);
            if self.shared.plugins.warm(&self.shared.config) {
                self.replace_children();
            }
            for problem in self.shared.config.take_problems() {
                self.log(Level::Error, problem);
            }
        }
    }

    /// In a new child: lets go of everything that is the parent's.
    fn leave_behind(&mut self) {
        self.children.forget_all();
        self.listeners.clear();
        self.poll = None;
        self.reports = None;
        if let Some(signals) = self.signals.take() {
            signals.leave();
        }
        self.shared.plugins.leave_parent();
    }

    fn show(&mut self) {
        let (busy, idle) = (self.children.busy(), self.children.idle());
        let state = if self.stopping.is_some() { "stopping" } else { "parent" };
        title::set(format_args!("{state}, {busy} busy, {idle} waiting"));
    }
}

/// Events come when something changes, not as long as there is something to read.
fn watch(poll: &Poll, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
    poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(token), Interest::READABLE)
}

/// Has only this client gone wrong?
fn is_of_one_client(error: &io::Error) -> bool {
    const CODES: [i32; 4] = [libc::ECONNABORTED, libc::EINTR, libc::EPROTO, libc::ENOTCONN];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}
