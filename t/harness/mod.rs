//! What the tests stand on.

// A folder with the configuration, the spool and the Maildir of one test.
pub(crate) mod config;
pub(crate) use config::Config;

// A daemon started on such a folder, in one of the three process models.
pub(crate) mod daemon;
pub(crate) use daemon::{Model, Server};

// One SMTP connection, with its dialogue kept for the message of a failed test.
pub(crate) mod client;
pub(crate) use client::Client;

// A child process that does not outlive its test, and what it writes to stderr.
pub(crate) mod process;
pub(crate) use process::{Log, Process};

// Ports for servers that cannot choose one and say which.
pub(crate) mod port;
pub(crate) use port::free_port;

// Programs that are built for a test.
pub(crate) mod cargo;
pub(crate) use cargo::cargo;

// Debian packages with the programs of other people.
pub(crate) mod deb;

use std::time::{Duration, Instant};

/// How long anything may take that has to happen. Generous: it only ends tests that fail.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer, or `None` when `timeout` is used up.
pub(crate) fn poll<T>(timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Tells the one who runs the tests something, whether or not the test's output is captured.
pub(crate) fn say(text: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes()).ok();
}
