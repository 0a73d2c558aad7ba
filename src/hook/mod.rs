//! Hooks: the moments of a session at which plugins are asked.
//!
//! [`TABLE`] lists every hook.  A plugin registers handlers into [`Hooks`]; each handler sees a
//! [`Session`] and answers with a [`Verdict`].  Handlers of a hook run in the order of
//! `config/plugins` until one answers something other than DECLINED.

mod args;
mod call;
mod code;
mod conventions;
mod count;
pub mod dsn;
mod guarded;
mod handler;
mod heard;
mod hooks;
mod listing;
mod lists;
mod loaded;
mod logging;
mod notes;
mod outcome;
mod outside_sessions;
mod overhear;
mod parent;
mod registration;
mod rehearsal;
mod run;
mod scram;
mod session;
mod settings;
mod table;
mod verdict;

pub use crate::metrics::{Outside, Trouble, answered};
pub use args::Args;
pub(crate) use args::{UNIVERSAL, truth};
pub(crate) use call::cram_md5;
pub use call::{Call, Credentials, HookResult, Incoming, Parsed, Received, Secret};
pub use code::Code;
pub use conventions::*;
pub use hooks::{Hooks, Register};
pub use loaded::{Extension, Origin};
pub use notes::*;
pub use parent::Parent;
pub use scram::{Scram, ScramKeys};
pub use session::{Plugins, QUARANTINE, Session, Shared};
pub use settings::{Reject, Settings};
pub use table::{Hook, Row, TABLE};
pub use verdict::{DECLINED, DONE, IntoVerdict, OK, Verdict};

pub(crate) use count::CORE;
pub(crate) use handler::{LateHooks, Rest};
pub(crate) use heard::Heard;
pub(crate) use listing::Listed;
pub(crate) use lists::List;
pub(crate) use loaded::Loaded;
pub(crate) use outcome::{Outcome, Said};
pub(crate) use rehearsal::Rehearsal;
pub(crate) use scram::mac;
#[cfg(test)]
pub(crate) use scram::tests::PENCIL;
pub(crate) use session::{KeptLine, OldFields};
pub(crate) use settings::PARENT_LIMIT;
pub(crate) use verdict::{Decision, Failure, verdict_of};
