//! The wish that this process leaves its client, once that is idle, and the demand that it does so
//! at its next word: signals.
//!
//! A wait that may end then says which socket it reads, and the signal ends that socket's input.
//! So whoever waits need not watch a second descriptor for the order to stop.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Pid, getppid};

/// What the parent sends, and the kernel in its place when the parent is gone.
pub const SIGNAL: Signal = Signal::SIGUSR1;

/// With what the parent demands it.
pub const DEMAND: Signal = Signal::SIGUSR2;

/// The wish of this process's parent.
pub static PARENT: Stop = Stop::new();

/// A wish to stop, and the socket that somebody reads until then.
#[derive(Debug)]
pub struct Stop {
    wished: AtomicBool,
    demanded: AtomicBool,
    reads: AtomicI32,
    /// Is the client that is read idle?
    idle: AtomicBool,
}

/// Somebody waits for a socket's input, and does not if there is the wish to stop.
#[derive(Debug)]
pub struct Wait<'a>(&'a Stop);

impl Stop {
    /// No wish yet.
    pub const fn new() -> Stop {
        Stop {
            wished: AtomicBool::new(false),
            demanded: AtomicBool::new(false),
            reads: AtomicI32::new(-1),
            idle: AtomicBool::new(false),
        }
    }

    /// Is there the wish?
    pub fn is_wished(&self) -> bool {
        self.wished.load(Ordering::SeqCst)
    }

    /// Is there the demand?
    pub fn is_demanded(&self) -> bool {
        self.demanded.load(Ordering::SeqCst)
    }

    /// Expresses the wish; a signal handler may do so.
    pub fn wish(&self) {
        self.wished.store(true, Ordering::SeqCst);
        if self.idle.load(Ordering::SeqCst) {
            self.end_input();
        }
    }

    /// Demands it, be the client idle or not; a signal handler may do so.
    pub fn demand(&self) {
        self.demanded.store(true, Ordering::SeqCst);
        self.wished.store(true, Ordering::SeqCst);
        self.end_input();
    }

    /// Until the result is dropped the demand ends the input of `socket`, and so does the wish if
    /// the client is `idle`.  None: there is what would end it.
    pub fn unless_wished(&self, socket: BorrowedFd<'_>, idle: bool) -> Option<Wait<'_>> {
        self.reads.store(socket.as_raw_fd(), Ordering::SeqCst);
        self.idle.store(idle, Ordering::SeqCst);
        let wait = Wait(self);
        (!(self.is_demanded() || idle && self.is_wished())).then_some(wait)
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

/// In the parent: what is wished of its children waits until they can hear it.
pub fn hold() {
    // Nothing but an unknown way makes it fail.
    let _ = only_signal().thread_block();
}

/// In a child: lets [`SIGNAL`] be the wish, [`DEMAND`] the demand, and the end of `parent` the wish.
pub fn install(parent: Pid) {
    handle(SIGNAL, wish, SaFlags::empty());
    handle(DEMAND, demand, SaFlags::empty());
    // Nothing but unknown values makes this fail, and what follows.
    let _ = set_pdeathsig(SIGNAL);
    if getppid() != parent {
        // It ended before that was set.
        PARENT.wish();
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

extern "C" fn wish(_signal: libc::c_int) {
    PARENT.wish();
}

extern "C" fn demand(_signal: libc::c_int) {
    PARENT.demand();
}
