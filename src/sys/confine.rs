//! What this process, and all that it starts, can never get again.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// The capability to become any user, without which a program that root owns is little more than
/// others.
const CAP_SETUID: u32 = 7;

/// No process leaves a core, and nobody but root looks into this one: neither its memory nor its
/// descriptors.  A program that is started by it can be looked into again, but leaves no core.
///
/// # Errors
/// The kernel refuses.
pub fn keep_memory_private() -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    prctl::set_dumpable(false)
}

/// Programs that are started get no rights by who owns them (setuid, setgid, file capabilities).
///
/// # Errors
/// The kernel refuses.
pub fn no_new_privileges() -> nix::Result<()> {
    prctl::set_no_new_privs()
}

/// As root: programs that are started get no capabilities, even when they become root.
///
/// # Errors
/// The kernel refuses.
pub fn empty_bounding_set() -> nix::Result<()> {
    for capability in 0.. {
        // SAFETY: a plain system call without pointers.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match Errno::result(dropped) {
            Err(Errno::EINVAL) => break,
            dropped => dropped?,
        };
    }
    Ok(())
}

/// Has that been done?
pub fn is_bounding_set_empty() -> bool {
    // SAFETY: a plain system call without pointers.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, CAP_SETUID, 0, 0, 0) == 0 }
}
