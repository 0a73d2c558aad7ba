//! What plugins remember from one session to the next: memory that all processes share, and with
//! Redis all hosts.
//!
//! A plugin has a table of its own, by name.  A key is a text or any octets; a value is anything that is
//! written and read as a short text (`Display` and `FromStr`: numbers, `String`, a type of the plugin's
//! own), so that people, Perl plugins and other hosts can read it.  Each entry ends by itself when its
//! time is over.
//!
//! In any hook of a session, `disconnect` and `post-connection` included, `session.store(NAME)` gives
//! the table; [`Table::update`] changes an entry while nobody else does:
//!
//! ```
//! use std::time::Duration;
//! use qpsmtpd::error::Result;
//! use qpsmtpd::hook::{Args, DECLINED, Hook, Hooks, Verdict};
//! use qpsmtpd::store::Put;
//! use qpsmtpd::testing::Trial;
//!
//! const HOUR: Duration = Duration::from_secs(3600);
//!
//! /// Refuses the fourth connection of an address within an hour.
//! fn register(hooks: &mut Hooks, _args: &Args) -> Result<()> {
//!     // For `qpsmtpd --store explain`.
//!     hooks.keeps("fourth", |kept| {
//!         let (ip, count, left) = (&kept.key, &kept.value, kept.left.as_secs());
//!         format!("{ip} has connected {count} times; forgotten in {left} s")
//!     });
//!     hooks.connect(|session| {
//!         let ip = session.connection.remote_ip.to_string();
//!         let table = session.store("fourth");
//!         let count = table.update(&ip, |old: Option<u32>| {
//!             let count = old.unwrap_or(0) + 1;
//!             (Put(count, HOUR), count)
//!         });
//!         // Without the store, as if nothing were known.  With `?` instead, `on_error` counts.
//!         match count.unwrap_or_default() {
//!             4.. => Verdict::denysoft("too many connections"),
//!             _ => DECLINED,
//!         }
//!     });
//!     Ok(())
//! }
//!
//! // In tests a session has a store of its own, in memory, and a clock that is set by hand.
//! let mut trial = Trial::with(register, "", &[]);
//! trial.set_clock(1_000_000);
//! for _ in 0..3 {
//!     assert_eq!(trial.plain(Hook::Connect), DECLINED);
//! }
//! assert!(trial.plain(Hook::Connect).code().is_deny());
//! trial.set_clock(1_000_000 + 3600);
//! assert_eq!(trial.plain(Hook::Connect), DECLINED);
//!
//! // Nothing of it is there when the store is down, and the log says why.
//! trial.break_store();
//! assert_eq!(trial.plain(Hook::Connect), DECLINED);
//! assert!(trial.log().contains("the store is not available"));
//! ```
//!
//! [`Table::get`] looks without changing anything, and is cheaper.  [`Table::now`] is the time to
//! reckon with, since tests set it.  It is the clock on the wall, which may jump: a time in a value that
//! is later than now is one from before a jump, and counts as now (`saturating_sub`).
//!
//! An error is an [`Unavailable`]: the store is away, full, broken, or did not answer within
//! `config/store_timeout`.  The log is told of it without the plugin's doing, once a minute.
//!
//! The parent never opens the store, since it must neither wait nor come to harm: a handler of
//! `pre-connection` has no table.  What it has to know of an address, a handler of `connect` or
//! `disconnect` writes to [`ByAddress`], memory of this host that the parent reads.

mod by_address;
mod dbm;
mod engine;
mod lmdb;
mod record;
mod redis;
mod shared;
mod table;
#[cfg(test)]
mod tests;
mod unavailable;
mod volatile;

pub(crate) use lmdb::care::PACE;

pub use crate::net::{network, network_of, numbered};
pub use by_address::ByAddress;
pub use dbm::Taken;
pub use engine::Change::{self, Keep, Put, Remove};
pub use shared::Store;
pub use table::{Kept, Table};
pub use unavailable::Unavailable;
