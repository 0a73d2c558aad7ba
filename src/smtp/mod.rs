//! The core that speaks SMTP (RFC 5321).

use crate::config::Config;

pub mod command;
pub mod dots;
mod incoming;
mod junk;
pub(crate) mod parts;
mod proxy;
pub mod reply;
pub(crate) mod service;
pub mod session;
pub mod stream;
mod tls;
mod trace;

/// One file per group of commands: each parses its argument, asks the hooks, and answers.
mod verb {
    pub(super) mod auth;
    pub(super) mod bdat;
    pub(super) mod data;
    pub(super) mod helo;
    pub(super) mod mail;
    pub(super) mod rcpt;
    pub(super) mod small;
    pub(super) mod starttls;
    pub(super) mod xclient;
}

pub use session::serve;
pub use stream::Stream;

/// Does once, in the parent, what every new process would have to do again: reads the files that
/// sessions look at and the time zone, and finds out what the processor can do.
pub(crate) fn warm(config: &Config) {
    config.preload();
    trace::date();
    std::hint::black_box(memchr::memchr2(b'\r', b'\n', &[b'x'; 64]));
    std::hint::black_box(memchr::memchr(b'\n', &[b'x'; 64]));
}
