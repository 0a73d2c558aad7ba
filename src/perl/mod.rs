//! The host for unmodified Perl plugins.
//!
//! ```text
//! parent ──control socket── nursery (perl: loads every plugin once, in config/plugins' order)
//!   │                          │ fork
//! worker ───unix socket──── Perl child (one per worker, made at its first Perl hook)
//! ```
//!
//! A Perl plugin is registered like a native one; its handlers are calls over the socket.  What a
//! handler needs to know of the session travels with the call, as far as the Perl child has not
//! been told before (`replica`), and what it changed comes back with the verdict.  For the rest
//! it asks (`host/questions`).  The messages are in `protocol`.
//!
//! Where Perl handlers follow one another in a chain, the first call is for all of them: Perl goes on
//! as long as they decline.  What each of them says, logs and changes is put into a pipe, and taken
//! from there when the core asks that handler, so that to the core all is as if it had called each.
//!
//! A call that takes too long, or a child that dies, is a failure of that plugin, the connection is
//! closed, the nursery kills the child, and the next call gets another.  The nursery kills a child
//! whose worker has ended, and ends itself when the parent and all its children are gone.

mod any_frame;
mod api;
mod arguments;
mod carried;
mod file;
mod host;
mod items;
mod known;
mod link;
mod process;
mod protocol;
mod replica;
mod serving;
mod source;
mod store;
mod verdict;
mod wire;

pub use api::{config_files, lacking};
pub use arguments::{own_arguments, settings, take_kept};
pub use host::{Perl, Source, dirs};
pub use known::known;
pub use source::{cannot_work, missing_module, misspelt_hook};

pub(crate) use any_frame::take_frame;
