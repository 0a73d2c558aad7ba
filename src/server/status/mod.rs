//! The status of a daemon: who is connected, what was counted, what happened last; where
//! `config/status_listen` says so.
//!
//! ```text
//! fault       why it could not be served where it is to be
//! place       the parent's part: the socket, and the process that serves it
//! serve       that process: clients, each in a thread, and a sample of the counts now and then
//! http        requests and answers
//! source      what there is to show, from the shared memory
//! history     the samples of the last hour
//! prometheus  /metrics
//! page        /
//! terminal    `--status`, for people at a terminal
//! ```
//!
//! The process asks no other, and holds nothing that a session needs: when it dies, the parent makes
//! another.

mod fault;
mod history;
mod http;
mod page;
mod place;
mod prometheus;
mod serve;
mod source;
mod terminal;

pub(super) use fault::fault;
pub(super) use place::Status;
pub(super) use terminal::show;
