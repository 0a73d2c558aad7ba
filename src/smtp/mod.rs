//! The core that speaks SMTP (RFC 5321).

pub mod command;
pub mod dots;
pub mod reply;
pub mod session;
pub mod stream;
mod tls;
mod trace;

/// One file per group of commands: each parses its argument, asks the hooks, and answers.
mod verb {
    pub(super) mod auth;
    pub(super) mod data;
    pub(super) mod helo;
    pub(super) mod mail;
    pub(super) mod rcpt;
    pub(super) mod small;
    pub(super) mod starttls;
}

pub use session::serve;
pub use stream::Stream;

/// Reads once, for all sessions, what the system has to say about time.
pub(crate) fn warm() {
    trace::warm();
}
