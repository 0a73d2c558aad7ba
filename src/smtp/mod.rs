//! The core that speaks SMTP (RFC 5321).

use crate::config::Config;
use crate::hook::Plugins;
use crate::settings::TLS_BEFORE_AUTH;

pub mod command;
pub mod dialogue;
mod junk;
pub(crate) mod parts;
mod proxy;
pub(crate) mod service;
pub mod stream;
pub mod syntax;
mod tls;
mod trace;
pub mod waits;

/// One file per group of commands: each parses its argument, asks the hooks, and answers.
mod verb {
    pub(super) mod auth;
    pub(super) mod bdat;
    pub(super) mod data;
    pub(super) mod helo;
    pub(super) mod mail;
    pub(super) mod rcpt;
    pub(super) mod receive;
    pub(super) mod small;
    pub(super) mod starttls;
    pub(super) mod xclient;
}

pub use dialogue::serve;
pub use stream::Stream;

/// What the settings of the core do that nobody can want; for the log at the start, and `--check`.
pub(crate) fn warnings(config: &Config, plugins: &Plugins) -> Vec<&'static str> {
    let mut warnings = vec![];
    if config.setting(TLS_BEFORE_AUTH)
        && plugins.tls().is_none()
        && verb::auth::is_possible(plugins)
    {
        warnings
            .push("AUTH is not offered: tls_before_auth wants TLS first, and no plugin offers TLS");
    }
    warnings
}

/// Does once, in the parent, what every new process would have to do again: reads the files that
/// sessions look at and the time zone, and finds out what the processor can do.
pub(crate) fn preload(config: &Config) {
    config.preload();
    trace::date();
    std::hint::black_box(memchr::memchr2(b'\r', b'\n', &[b'x'; 64]));
    std::hint::black_box(memchr::memchr(b'\n', &[b'x'; 64]));
}
