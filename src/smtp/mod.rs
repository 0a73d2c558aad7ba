//! The core that speaks SMTP (RFC 5321).  From the top to the bottom:
//!
//! ```text
//! serve       one client from the greeting to post_connection: the loop
//! command     THE command table
//! verb        a file a command, which says what to answer; a message that comes, and is handed on
//! proxy       the PROXY header in front of all
//! envelope    what MAIL and RCPT have in common
//! dialogue    the session with its client on the line: asks hooks, answers, gives up
//! refusals    THE table that makes a reply of a verdict
//! service     what is spoken at a port
//! stream      octets in and out; under TLS: tls; with a limit for each wait: waits
//! syntax      what stands on the wire, read and written, without I/O
//! ```

use crate::config::Config;
use crate::hook::Plugins;
use crate::settings::TLS_BEFORE_AUTH;

pub mod command;
mod dialogue;
mod envelope;
mod junk;
mod proxy;
pub mod refusals;
mod serve;
pub(crate) mod service;
pub mod stream;
pub mod syntax;
mod tls;
mod trace;
pub mod waits;

/// One file a command: each parses its argument, asks the hooks, and says what to answer.
mod verb {
    pub(super) mod auth;
    pub(super) mod bdat;
    pub(super) mod data;
    pub(super) mod greeting;
    pub(super) mod hand_on;
    pub(super) mod helo;
    pub(super) mod help;
    pub(super) mod mail;
    pub(super) mod noop;
    pub(super) mod quit;
    pub(super) mod rcpt;
    pub(super) mod receive;
    pub(super) mod rset;
    pub(super) mod starttls;
    pub(super) mod unknown;
    pub(super) mod vrfy;
    pub(super) mod xclient;
}

pub use serve::serve;
pub use stream::Stream;

/// What the settings of the core do that nobody can want; for the log at the start, and `--check`.
pub(crate) fn warnings(config: &Config, plugins: &Plugins) -> Vec<&'static str> {
    let mut warnings = vec![];
    let lacks_tls = |list| plugins.tls(list).is_none() && verb::auth::is_possible(plugins, list);
    if config.setting(TLS_BEFORE_AUTH) && plugins.all_lists().any(|(list, _)| lacks_tls(list)) {
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
