//! This process's signals and priority.
#![allow(unsafe_code)]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Takes back what the starter did to signals: none is blocked, and the ends of children are told.  A
/// file that may not grow further (RLIMIT_FSIZE) is an error of the write, as a full disk is; a program
/// that is run has the usual meaning of that signal again, which it would not if we ignored it.
pub fn usual_signals() {
    let _ = SigSet::empty().thread_set_mask();
    let handled = SigAction::new(SigHandler::Handler(no_end), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: SIG_DFL is a valid disposition, and the handler does nothing.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        // Only an unknown signal makes this fail.
        let _ = sigaction(Signal::SIGXFSZ, &handled);
    }
}

extern "C" fn no_end(_signal: libc::c_int) {}

/// Raises this process's priority by `by`, if that is allowed.  Returns by how much it was raised.
pub fn raise_priority(by: i32) -> i32 {
    if by == 0 {
        return 0;
    }
    // SAFETY: plain system calls without pointers.
    let raised = unsafe {
        let now = libc::getpriority(libc::PRIO_PROCESS, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, now - by) == 0
    };
    if raised { by } else { 0 }
}

/// Ignores the signals that a terminal or a service manager sends to a whole group: a worker ends
/// when its parent says so.  SIGCHLD gets its default meaning back.
pub fn ignore_group_signals() {
    let ignored = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
    // SAFETY: SIG_IGN and SIG_DFL are valid dispositions for these signals.
    unsafe {
        for signal in ignored {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}
