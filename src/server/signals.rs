//! Signals as one readable descriptor, turned into events.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::sys::stop;

/// What the parent is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGTERM, SIGINT: stop.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGCHLD: a child has ended.
    Child,
}

const TABLE: [(i32, Event); 4] = [
    (SIGTERM, Event::Stop),
    (SIGINT, Event::Stop),
    (SIGHUP, Event::Reload),
    (SIGCHLD, Event::Child),
];

/// The signals that have come since the last look.
#[derive(Debug)]
pub(crate) struct Signals {
    wake: UnixStream,
    flags: Vec<(Arc<AtomicBool>, Event)>,
}

impl Signals {
    /// Takes over the parent's signals.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn install() -> io::Result<Signals> {
        stop::hold();
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let mut flags = vec![];
        for (signal, event) in TABLE {
            let raised = Arc::new(AtomicBool::new(false));
            flag::register(signal, raised.clone())?;
            low_level::pipe::register(signal, write.try_clone()?)?;
            flags.push((raised, event));
        }
        Ok(Signals { wake, flags })
    }

    /// Readable when one has come.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// In a new child: closes what it has of the parent's, and frees nothing.
    pub(crate) fn leave(self) {
        std::mem::forget(self.flags);
    }

    /// The events that have come, each once.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let mut waste = [0; 64];
        while matches!(self.wake.read(&mut waste), Ok(count) if count > 0) {}
        let mut events = vec![];
        for (raised, event) in &self.flags {
            if raised.swap(false, Ordering::SeqCst) && !events.contains(event) {
                events.push(*event);
            }
        }
        events
    }
}
