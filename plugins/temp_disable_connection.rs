//! ```text
//! NAME
//!     temp_disable_connection - turns every client away temporarily
//!
//! SYNOPSIS
//!     temp_disable_connection
//!
//! DESCRIPTION
//!     Every client gets 450 "Sorry, server is temporarily unavailable." instead of the greeting,
//!     and tries again later.  It is the simplest plugin of the guide, docs/plugins.md.
//!
//! SEE ALSO
//!     hosts_allow, docs/plugins.md
//! ```

use crate::error::Result;
use crate::hook::{Args, Hooks, Verdict};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    hooks.connect(|_session| Verdict::denysoft("Sorry, server is temporarily unavailable."));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::hook::{Hook, Verdict};
    use crate::testing::Trial;

    #[test]
    fn nobody_comes_in() {
        let mut trial = Trial::new("temp_disable_connection", &[]);
        let verdict = Verdict::denysoft("Sorry, server is temporarily unavailable.");
        assert_eq!(trial.plain(Hook::Connect), verdict);
        assert!(Trial::load("temp_disable_connection now", &[]).is_err());
    }
}
