//! What is said to the person who started the program.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};

/// Writes an answer to standard output.
pub(super) fn say(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}

/// Writes a line to standard error.
pub(super) fn warn(line: impl Display) {
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}
