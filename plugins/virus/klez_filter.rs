//! ```text
//! NAME
//!     virus/klez_filter - does nothing; old configurations have it
//!
//! SYNOPSIS
//!     virus/klez_filter
//!
//! DESCRIPTION
//!     In Perl this plugin refused messages with the worm Klez of 2002.  The sample configuration
//!     of Perl qpsmtpd has its line, so the line is accepted.  A scanner such as clamd does its
//!     work now.
//! ```

use crate::error::Result;
use crate::hook::{Args, Hooks};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.log(Level::Notice, "does nothing any more; its line can be removed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::hook::{DECLINED, Hook};
    use crate::testing::Trial;

    #[test]
    fn both_names_are_accepted_and_refuse_nothing() {
        for line in ["virus/klez_filter", "klez_filter"] {
            let mut trial = Trial::new(line, &[]);
            assert!(trial.log().contains(&format!("{line}: does nothing any more")));
            trial.message("From: a\nContent-type: multipart/alternative;\n\nKlez\n");
            assert_eq!(trial.plain(Hook::DataPost), DECLINED);
        }
    }
}
