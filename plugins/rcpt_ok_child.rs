//! ```text
//! NAME
//!     rcpt_ok_child - an example: rcpt_ok with a name that is not in use
//!
//! SYNOPSIS
//!     rcpt_ok_child NAME
//!
//! DESCRIPTION
//!     Refuses recipients NAME@anywhere with 550 "That name is not in use", and leaves all others
//!     to rcpt_ok, on which it is built.  Do not load rcpt_ok as well.
//!
//!     An example from the guide, docs/plugins.md: a plugin that inherits from another one.
//!
//! ARGUMENTS
//!     NAME   a local part, in any case
//!
//! CONFIG
//!     As for rcpt_ok.
//!
//! SEE ALSO
//!     rcpt_ok, rcpt_ok_maxrelay, docs/plugins.md
//! ```

use crate::error::Result;
use crate::hook::{Args, Hooks, Verdict};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(1)?;
    let reserved = args.required(0, "the name that is not in use")?.to_owned();
    let parent = hooks.isa_plugin("rcpt_ok", &Args::default())?;
    hooks.rcpt(move |session, recipient, params| {
        if recipient.user().eq_ignore_ascii_case(&reserved) {
            return Verdict::deny("That name is not in use");
        }
        parent.rcpt(session, recipient, params)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::hook::{OK, Verdict};
    use crate::testing::Trial;

    #[test]
    fn the_parent_decides_about_the_others() {
        let mut trial = Trial::new("rcpt_ok_child nobody", &[("rcpthosts", "example.com")]);
        assert_eq!(trial.rcpt("<Nobody@example.com>"), Verdict::deny("That name is not in use"));
        assert_eq!(trial.rcpt("<b@example.com>"), OK);
        assert_eq!(trial.rcpt("<b@example.net>").text(), "Relaying denied (#5.7.1)");
        assert!(trial.log().contains("(rcpt) rcpt_ok_child: fail, example.net not in rcpthosts"));
        assert!(Trial::load("rcpt_ok_child", &[]).is_err());
        assert!(Trial::load("rcpt_ok_child a b", &[]).is_err());
    }
}
