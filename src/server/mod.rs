//! The processes: start-up, the two parents, their children, and the one that has no parent.

mod account;
mod backoff;
mod certificate;
mod check;
mod console;
mod daemonize;
mod dkim_key;
mod environment;
mod forkserver;
mod growth;
mod handoff;
mod inetd;
mod job;
mod list_hooks;
mod listener;
mod lists;
mod manager;
mod manuals;
mod migrate;
mod oneshot;
mod overload;
mod parent;
mod pid_file;
mod pre_connection;
mod prefork;
mod privileges;
mod rehearsal;
mod rights;
mod scoreboard;
mod signals;
mod startup;
mod status;
mod store_tool;
mod worker;

pub use startup::{forkserver, prefork, qpsmtpd};
