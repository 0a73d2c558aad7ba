//! ```text
//! NAME
//!     queue/discard - accepts messages and throws them away
//!
//! SYNOPSIS
//!     queue/discard
//!     queue/discard note NAME
//!
//! DESCRIPTION
//!     Tells the client that its message was queued, and keeps nothing of it.  It is for tests and
//!     measurements, and, with an argument, for messages that another plugin has marked.
//!
//! ARGUMENTS
//!     note NAME   discard only messages whose transaction has a true note of that name.  Others
//!                 are left to the next queue plugin, so place this line before it
//!
//! SEE ALSO
//!     queue/maildir
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Extension, Hooks};
use crate::log::Level;
use crate::plugins::queue::queued;
use crate::state::Value;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["note"])?;
    let note = args.named("note").map(str::to_owned);
    hooks.supports(Extension::Smtputf8);
    hooks.supports(Extension::Dsn);
    hooks.queue(move |session| {
        if let Some(name) = &note
            && !session.transaction.notes.value(name).is_some_and(Value::is_true)
        {
            return DECLINED;
        }
        session.log(Level::Info, "message discarded");
        queued(session)
    });
    Ok(())
}
