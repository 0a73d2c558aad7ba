//! fork(2).
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

/// Which process this is after [`fork`].
#[derive(Debug, Clone, Copy)]
pub enum Forked {
    /// The old process; the new one has this id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Makes a copy of this process.
///
/// # Errors
/// What the kernel says, EAGAIN when there are too many processes.
pub fn fork() -> Result<Forked, Errno> {
    // SAFETY: the parent never starts a thread, so the child is a whole copy in which no lock is
    // held by somebody who is gone.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        ForkResult::Child => Ok(Forked::Child),
    }
}

/// Ends a process that [`fork`] made.  What a program does at its end, and its libraries, is left
/// out: it would be done for all that the old process has, on pages that had to be copied first.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit only ends the process.
    unsafe { libc::_exit(status) }
}
