//! Milters: those that Debian has, one that uses every action, and some that do not behave.

// Everything that a filter can want, with us and with Postfix.
mod every;

// Filters that other people wrote.
mod filters;

// Filters that are stopped, killed, slow, or talk nonsense.
mod faults;

use std::path::Path;

use crate::backends::start;
use crate::harness::{Config, Process, deb, free_port};

/// A running filter of `t/milter/every.py`, and where it listens.
pub(crate) struct Every {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

/// Starts the filter; it writes down what it is told in the file `told` of the folder.  None: its
/// package is not there.
fn every(keep: &Config, words: &[&str]) -> Option<Every> {
    if !deb::need("python3-milter") {
        return None;
    }
    let port = free_port();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("t/milter/every.py");
    let mut command = keep.command("/usr/bin/python3");
    command.arg("-W").arg("ignore").arg(script).arg(format!("inet:{port}@127.0.0.1"));
    command.arg(keep.path("told")).args(words);
    Some(Every { process: start(command, port), port })
}
