//! The core that speaks SMTP (RFC 5321).

use crate::config::Config;

pub mod command;
pub mod dots;
mod incoming;
pub(crate) mod networks;
pub(crate) mod parts;
mod proxy;
pub mod reply;
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

/// The configuration files that every session looks at.
const FILES: [&str; 19] = [
    "auth_mechanisms",
    "bare_newline",
    "databytes",
    "lmtp_ports",
    "max_line_length",
    "max_recipients",
    "me",
    "me-auth-results",
    "proxy_from",
    "proxy_ports",
    "scram_secret",
    "size_threshold",
    "smtpgreeting",
    "timeout",
    "timeout_first_recipient",
    "timeoutsmtpd",
    "tls_before_auth",
    "tls_ports",
    "xclient_from",
];

/// Does once, in the parent, what every new process would have to do again: reads the files that
/// sessions look at and the time zone, and finds out what the processor can do.
pub(crate) fn warm(config: &Config) {
    for name in FILES {
        config.list(name);
        config.value(name);
    }
    trace::date();
    std::hint::black_box(memchr::memchr2(b'\r', b'\n', &[b'x'; 64]));
    std::hint::black_box(memchr::memchr(b'\n', &[b'x'; 64]));
}
