//! The wish that this process leaves its client, once that is idle: a signal.
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

/// The wish of this process's parent.
pub static PARENT: Stop = Stop::new();

/// A wish to stop, and the socket that somebody reads until then.
#[derive(Debug)]
pub struct Stop {
    wished: AtomicBool,
    reads: AtomicI32,
}

/// Somebody waits for a socket's input, and does not if there is the wish to stop.
#[derive(Debug)]
pub struct Wait<'a>(&'a Stop);

impl Stop {
    /// No wish yet.
    pub const fn new() -> Stop {
        Stop { wished: AtomicBool::new(false), reads: AtomicI32::new(-1) }
    }

    /// Is there the wish?
    pub fn is_wished(&self) -> bool {
        self.wished.load(Ordering::SeqCst)
    }

    /// Expresses the wish; a signal handler may do so.
    pub fn wish(&self) {
        self.wished.store(true, Ordering::SeqCst);
        let socket = self.reads.load(Ordering::SeqCst);
        if socket >= 0 {
            let before = Errno::last();
            // SAFETY: a plain system call, which signal handlers may make; the descriptor is open
            // as long as it is in `reads`.
            unsafe { libc::shutdown(socket, libc::SHUT_RD) };
            before.set();
        }
    }

    /// Until the result is dropped the wish ends the input of `socket`.  None: there is the wish.
    pub fn unless_wished(&self, socket: BorrowedFd<'_>) -> Option<Wait<'_>> {
        self.reads.store(socket.as_raw_fd(), Ordering::SeqCst);
        let wait = Wait(self);
        (!self.is_wished()).then_some(wait)
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.reads.store(-1, Ordering::SeqCst);
    }
}

/// In the parent: what is wished of its children waits until they can hear it.
pub fn hold() {
    // Nothing but an unknown way makes it fail.
    let _ = only_signal().thread_block();
}

/// In a child: lets [`SIGNAL`] be the wish, and the end of `parent`.
pub fn install(parent: Pid) {
    let handler = SigHandler::Handler(wish);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: `wish` only does what a signal handler may.  Only an unknown signal makes this fail,
    // and what follows.
    let _ = unsafe { sigaction(SIGNAL, &action) };
    let _ = set_pdeathsig(SIGNAL);
    if getppid() != parent {
        // It ended before that was set.
        PARENT.wish();
    }
    let _ = only_signal().thread_unblock();
}

fn only_signal() -> SigSet {
    let mut set = SigSet::empty();
    set.add(SIGNAL);
    set
}

extern "C" fn wish(_signal: libc::c_int) {
    PARENT.wish();
}
