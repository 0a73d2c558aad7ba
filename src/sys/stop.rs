//! Two signals of the parent: the request that this process leave its client once the client is idle,
//! and the demand that it leave at the client's next line.
//!
//! A wait that a signal may end says which socket it reads, and the signal ends that socket's input.
//! So a process that waits need not watch a second descriptor for the order to stop.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Pid, getppid};

/// The signal of the request, which the kernel sends when the parent is gone.
pub const SIGNAL: Signal = Signal::SIGUSR1;

/// The signal of the demand.
pub const DEMAND: Signal = Signal::SIGUSR2;

/// What this process's parent has asked for.
pub static PARENT: Stop = Stop::new();

/// A request to stop, and the socket that is read until then.
#[derive(Debug)]
pub struct Stop {
    requested: AtomicBool,
    demanded: AtomicBool,
    reads: AtomicI32,
    /// Is the client that is read idle?
    idle: AtomicBool,
}

/// A wait for a socket's input, which the request to stop ends.
#[derive(Debug)]
pub struct Wait<'a>(&'a Stop);

impl Stop {
    /// Nothing was asked for yet.
    pub const fn new() -> Stop {
        Stop {
            requested: AtomicBool::new(false),
            demanded: AtomicBool::new(false),
            reads: AtomicI32::new(-1),
            idle: AtomicBool::new(false),
        }
    }

    /// Was this process asked to stop?
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Does it have to?
    pub fn is_demanded(&self) -> bool {
        self.demanded.load(Ordering::SeqCst)
    }

    /// Makes the request; a signal handler may do so.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
        if self.idle.load(Ordering::SeqCst) {
            self.end_input();
        }
    }

    /// Demands it, be the client idle or not; a signal handler may do so.
    pub fn demand(&self) {
        self.demanded.store(true, Ordering::SeqCst);
        self.requested.store(true, Ordering::SeqCst);
        self.end_input();
    }

    /// Until the result is dropped the demand ends the input of `socket`, and so does the request if
    /// the client is `idle`.  None: the demand or the request is there already.
    pub fn unless_requested(&self, socket: BorrowedFd<'_>, idle: bool) -> Option<Wait<'_>> {
        self.reads.store(socket.as_raw_fd(), Ordering::SeqCst);
        self.idle.store(idle, Ordering::SeqCst);
        let wait = Wait(self);
        (!(self.is_demanded() || idle && self.is_requested())).then_some(wait)
    }

    fn end_input(&self) {
        let socket = self.reads.load(Ordering::SeqCst);
        if socket >= 0 {
            let before = Errno::last();
            // SAFETY: a plain system call, which signal handlers may make; the descriptor is open
            // as long as it is in `reads`.
            unsafe { libc::shutdown(socket, libc::SHUT_RD) };
            before.set();
        }
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.idle.store(false, Ordering::SeqCst);
        self.0.reads.store(-1, Ordering::SeqCst);
    }
}

/// In the parent: requests to its children wait until the children can receive them.
pub fn hold() {
    // Nothing but an unknown way makes it fail.
    let _ = only_signal().thread_block();
}

/// In a child: takes [`SIGNAL`] and the end of `parent` for the request, [`DEMAND`] for the demand.
pub fn install(parent: Pid) {
    handle(SIGNAL, request, SaFlags::empty());
    handle(DEMAND, demand, SaFlags::empty());
    // Nothing but unknown values makes this fail, and what follows.
    let _ = set_pdeathsig(SIGNAL);
    if getppid() != parent {
        // The parent ended before that was set.
        PARENT.request();
    }
    let _ = only_signal().thread_unblock();
}

/// In a process that has no parent of ours: lets TERM and INT be the demand, the first time; the
/// second time they end the process at once.
pub fn install_alone() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        handle(signal, demand, SaFlags::SA_RESETHAND);
    }
}

fn handle(signal: Signal, run: extern "C" fn(libc::c_int), flags: SaFlags) {
    let handler = SigHandler::Handler(run);
    let action = SigAction::new(handler, flags | SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: `run` only does what a signal handler may.  Only an unknown signal makes this fail.
    let _ = unsafe { sigaction(signal, &action) };
}

fn only_signal() -> SigSet {
    let mut set = SigSet::empty();
    set.add(SIGNAL);
    set
}

extern "C" fn request(_signal: libc::c_int) {
    PARENT.request();
}

extern "C" fn demand(_signal: libc::c_int) {
    PARENT.demand();
}
