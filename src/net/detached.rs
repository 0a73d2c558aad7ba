//! A process of its own that outlives the one that makes it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::wait::waitpid;
use nix::unistd::{dup2_stdin, dup2_stdout, setsid};

use crate::sys::fork::{Forked, exit, fork};
use crate::sys::{descriptors, title};

/// Makes a process that has only `kept` of the descriptors of this one, beside standard error, and in
/// which `run` runs.  It is nobody's child, and ends when `run` does.
///
/// # Errors
/// There can be no more processes.
pub(crate) fn detached(
    name: &str,
    kept: Vec<OwnedFd>,
    run: impl FnOnce(Vec<OwnedFd>),
) -> io::Result<()> {
    match fork()? {
        Forked::Parent(child) => {
            // It makes another one, and ends at once.
            let _ = waitpid(child, None);
            Ok(())
        }
        Forked::Child => {
            // Whoever looks at its group or its parent finds it apart.
            let _ = setsid();
            if !matches!(fork(), Ok(Forked::Child)) {
                exit(0);
            }
            let done = catch_unwind(AssertUnwindSafe(|| {
                descriptors::close_all_but(&kept);
                if let Ok(nothing) = File::options().read(true).write(true).open("/dev/null") {
                    let _ = dup2_stdin(&nothing).and_then(|()| dup2_stdout(&nothing));
                }
                title::set(name);
                run(kept);
            }));
            exit(i32::from(done.is_err()))
        }
    }
}
