//! Going to the background: the terminal gets its prompt back when everything is ready, or the
//! error when it is not.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Read, Write, stderr};
use std::os::fd::OwnedFd;
use std::process::exit;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe, setsid};

use crate::error::{Error, Result};
use crate::sys::fork::{Forked, fork};

/// The daemon's side; dropped without [`Background::ready`], the terminal sees a failure.
#[derive(Debug)]
pub(crate) struct Background(File);

/// Forks; the old process waits until the new one is ready or has ended, and ends likewise.
///
/// # Errors
/// There can be no new process.
pub(crate) fn begin() -> Result<Background> {
    let fail = |error: nix::Error| Error::new(format!("cannot go to the background: {error}"));
    let (read, write): (OwnedFd, OwnedFd) = pipe().map_err(fail)?;
    match fork().map_err(fail)? {
        Forked::Parent(_) => {
            drop(write);
            let mut ready = [0];
            exit(match File::from(read).read(&mut ready) {
                Ok(1) => 0,
                _ => 1,
            });
        }
        Forked::Child => {
            drop(read);
            setsid().map_err(fail)?;
            Ok(Background(write.into()))
        }
    }
}

impl Background {
    /// Everything is ready: lets go of the terminal.  Standard error stays where it goes to a file.
    pub(crate) fn ready(mut self) {
        if let Ok(nothing) = OpenOptions::new().read(true).write(true).open("/dev/null") {
            let _ = dup2_stdin(&nothing);
            let _ = dup2_stdout(&nothing);
            if stderr().is_terminal() {
                let _ = dup2_stderr(&nothing);
            }
        }
        let _ = self.0.write_all(b"+");
    }
}
