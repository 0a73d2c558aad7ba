//! qpsmtpd: an SMTP daemon whose core only speaks SMTP.  Everything else, who may relay, what is
//! spam, where a message goes, is a plugin that registers hooks.
//!
//! This file is the map.  Data flows from the top of the list to the bottom, and `use` points
//! downwards only:
//!
//! ```text
//! bin/        three programs of three lines
//! server      the parent: listens, forks or hands sockets to workers, signals, privileges
//! cli         the programs' options
//! report      what a log in JSON says of the mail of a time
//! smtp        one client from greeting to the end: commands, replies, DATA, AUTH
//! plugins     ../plugins/: the native plugins, one file each, and THE table of them
//! plugin      what a plugin is; reads config/plugins
//! auth        who may authenticate: hashes, databases, servers that know passwords
//! forward     a message for another server: the client's side of SMTP and LMTP
//! perl        the host for Perl plugins
//! hook        THE table of hooks, what handlers see and answer, how they are run
//! store       what plugins remember: memory that processes and hosts share
//! state       what is known of a connection and a transaction; notes; the message
//! origin      who sent a message: SPF, DKIM, ARC, DMARC; pure functions
//! net         talking to other servers and programs, every wait with a limit
//! dns         questions to the domain name system, a batch at once
//! mail        addresses and lists of them, header sections, dates
//! config      files: values, lists, maps
//! settings    THE table of the core's settings
//! metrics     THE table of what is counted, and where each process counts
//! log, error  lines for people
//! testing     a session without a client, for the tests of plugins
//! fuzzing     any octets for the parts that read what others write
//! sys         the only unsafe code
//! ```
//!
//! A plugin sees `hook`, `store`, `state`, `net`, `mail`, `config` and `log`, never `server` or the socket.

mod auth;
pub mod cli;
pub mod config;
pub mod dns;
pub mod error;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
pub mod hook;
pub mod log;
pub mod mail;
pub mod metrics;
pub mod net;
pub mod origin;
pub mod perl;
pub mod plugin;
#[path = "../plugins/mod.rs"]
pub mod plugins;
mod report;
pub mod server;
pub mod settings;
pub mod smtp;
pub mod state;
pub mod store;
pub mod sys;
pub mod testing;

#[cfg(doctest)]
#[doc = include_str!("../docs/plugins.md")]
struct PluginGuide;
