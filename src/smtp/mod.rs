//! The core that speaks SMTP (RFC 5321).  From the top to the bottom:
//!
//! ```text
//! start       what is done once, before there are sessions
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

pub mod command;
mod dialogue;
mod envelope;
mod junk;
mod proxy;
pub mod refusals;
mod serve;
pub(crate) mod service;
mod start;
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
pub(crate) use serve::serve_last;
pub use stream::Stream;

pub(crate) use start::{preload, warnings};
