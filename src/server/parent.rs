//! What both parents are made of: one loop over listeners, signals and children.
//!
//! Everything that happens arrives as a readable descriptor, is dealt with in a fixed order, and
//! never waits.  The parent alone knows who is connected.

mod clients;
mod inherit;
mod processes;
pub(super) mod store;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::error::{Error, Result};
use crate::hook::Shared;
use crate::log::Level;
use crate::metrics;
use crate::server::backoff::Backoff;
use crate::server::handoff::{self, Overdue, Report};
use crate::server::listener::Listener;
use crate::server::manager::Manager;
use crate::server::overload::Overload;
use crate::server::peer::Peer;
use crate::server::pid_file::PidFile;
use crate::server::pre_connection;
use crate::server::scoreboard::{Scoreboard, Slot};
use crate::server::signals::Signals;
use crate::server::status::Status;
use crate::server::worker::WorkerSettings;
use crate::smtp::refusals::INTERNAL_ERROR;
use crate::smtp::syntax::reply::Reply;
use crate::sys::title;

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

/// How clients get to processes: what the two parents differ in.
pub(crate) trait Dispatch {
    /// How many clients there may be at a time.
    fn most(&self) -> usize;
    /// Is there a process, or room for one, for another client?
    fn has_room(&self, parent: &Parent) -> bool;
    /// Gives an accepted client to a process.
    fn take(&mut self, parent: &mut Parent, client: OwnedFd, peer: Peer);
    /// Something has changed: are there enough processes, or too many?
    fn balance(&mut self, _parent: &mut Parent, _now: Instant) {}
    /// A process has ended as it should not have.
    fn died(&mut self, _parent: &mut Parent, _slot: &Slot) {}
}

/// What only a parent has, and no child keeps.
pub(crate) struct Resources {
    pub(crate) listeners: Vec<Listener>,
    /// The parent's end of the socket for reports.
    pub(crate) reports: OwnedFd,
    pub(crate) signals: Signals,
    pub(crate) pid_file: Option<PidFile>,
    pub(crate) manager: Manager,
    pub(crate) status: Status,
}

/// The state of a parent process.
pub(crate) struct Parent {
    pub(crate) shared: Shared,
    pub(crate) board: Scoreboard,
    pub(crate) backoff: Backoff,
    max_from_ip: usize,
    grace: Duration,
    poll: Option<Poll>,
    listeners: Vec<Listener>,
    signals: Option<Signals>,
    pid_file: Option<PidFile>,
    manager: Manager,
    status: Status,
    reports: Option<OwnedFd>,
    settings: WorkerSettings,
    /// At which listeners clients may wait: from when the kernel says so until none was found.
    ready: BTreeSet<usize>,
    /// Are clients taken?
    is_open: bool,
    said_full: Option<Instant>,
    overload: Overload,
    short_until: Option<Instant>,
    stopping: Option<Instant>,
    preloaded: Instant,
    /// When the store was looked after last.
    tended: Instant,
}

impl Parent {
    /// A parent that has nobody yet.  `max_from_ip`: how many connections an address may have, 0: any
    /// number; `grace`: how long sessions may take to end when it stops.
    ///
    /// # Errors
    /// The kernel does not let us wait for events.
    pub(crate) fn new(
        shared: Shared,
        resources: Resources,
        board: Scoreboard,
        settings: WorkerSettings,
        max_from_ip: usize,
        grace: Duration,
    ) -> io::Result<Parent> {
        metrics::keep(board.own_counts());
        let poll = Poll::new()?;
        watch(&poll, resources.signals.as_fd(), SIGNALS)?;
        watch(&poll, resources.reports.as_fd(), REPORTS)?;
        for (number, listener) in resources.listeners.iter().enumerate() {
            watch(&poll, listener.as_fd(), LISTENERS + number)?;
        }
        Ok(Parent {
            shared,
            board,
            backoff: Backoff::default(),
            max_from_ip,
            grace,
            poll: Some(poll),
            listeners: resources.listeners,
            signals: Some(resources.signals),
            pid_file: resources.pid_file,
            manager: resources.manager,
            status: resources.status,
            reports: Some(resources.reports),
            settings,
            ready: BTreeSet::new(),
            is_open: false,
            said_full: None,
            overload: Overload::new(Instant::now()),
            short_until: None,
            stopping: None,
            preloaded: Instant::now(),
            tended: Instant::now(),
        })
    }

    /// Tells the service manager that clients are served.
    pub(crate) fn is_ready(&self) {
        self.manager.tell("READY=1");
    }

    /// Runs until SIGTERM or SIGINT and until the last child is gone.
    ///
    /// # Errors
    /// The kernel does not let us wait for events.
    pub(crate) fn run(&mut self, dispatch: &mut dyn Dispatch) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            if self.stopping.is_none() {
                // Something that processes inherit may have ended, too.
                self.preload();
                self.tend_store(now);
                self.tend_status(now);
                dispatch.balance(self, now);
                let has_room = self.has_room(&*dispatch);
                self.open_while(has_room, now);
                if !has_room {
                    self.make_room(now);
                }
            } else if self.board.is_empty() {
                if let Some(pid_file) = self.pid_file.take() {
                    pid_file.release();
                }
                return Ok(());
            }
            self.kill_late(now);
            self.show();
            self.wait(&mut events)?;
            self.look();
            let tokens = || events.iter().map(|event| event.token().0);
            self.ready.extend(tokens().filter_map(|token| token.checked_sub(LISTENERS)));
            if tokens().any(|token| token == REPORTS) {
                self.hear();
            }
            if tokens().any(|token| token == SIGNALS) {
                self.signalled(dispatch);
            }
            for number in 0..self.listeners.len() {
                self.accept(dispatch, number);
            }
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
        let is_closing = !self.is_open || self.stopping.is_some();
        let Some(poll) = &mut self.poll else { return Ok(()) };
        let wait = match self.board.busy() {
            _ if is_closing => SOON,
            // Only what else has happened has its turn.
            _ if !self.ready.is_empty() => Duration::ZERO,
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

    /// Is there room for another client?  If not, the parent is woken when there is.
    fn has_room(&mut self, dispatch: &dyn Dispatch) -> bool {
        self.look();
        let has_room = dispatch.has_room(self);
        if self.board.ask(!has_room) {
            // Who was done just before that wakes nobody.
            self.look();
            return dispatch.has_room(self);
        }
        has_room
    }

    /// Finds out who is done.
    fn look(&mut self) {
        for place in self.board.look() {
            self.backoff.worked();
            if self.board.get_mut(place).is_some_and(|slot| slot.outdated) {
                self.dismiss(place);
            }
        }
    }

    /// Hears what workers report; one that only wakes the parent has done so.
    fn hear(&mut self) {
        while let Some(report) = self.reports.as_ref().and_then(handoff::receive_report) {
            match report {
                Report::Wake => {}
                Report::Overdue(Overdue { session, hook, plugin }) => {
                    self.shared.plugins.log_overdue(&session, &hook, &plugin);
                }
            }
        }
    }

    fn show(&mut self) {
        let (busy, idle) = (self.board.busy(), self.board.idle());
        let state = if self.stopping.is_some() { "stopping" } else { "parent" };
        title::set(format_args!("{state}, {busy} busy, {idle} waiting"));
    }
}

/// An event says once that there is something to read: the reader then reads until nothing is left,
/// or remembers that something is.
fn watch(poll: &Poll, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
    poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(token), Interest::READABLE)
}

fn forget(poll: &Poll, fd: BorrowedFd<'_>) {
    let _ = poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
}
