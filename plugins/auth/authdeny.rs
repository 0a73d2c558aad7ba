//! ```text
//! NAME
//!     auth/authdeny - lets nobody authenticate
//!
//! SYNOPSIS
//!     auth/authdeny
//!
//! DESCRIPTION
//!     Leaves every attempt to authenticate to the next plugin, with the text "USER is not free to
//!     abuse my relay".  An attempt that no other plugin accepts fails, whatever the password is.
//!
//!     With this plugin the server offers all mechanisms.  That is useful to see how clients
//!     authenticate, and as an example of such a plugin.
//!
//! SEE ALSO
//!     auth/auth_flat_file
//! ```

use crate::error::Result;
use crate::hook::{Args, Hooks, Verdict};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    hooks.auth(|session, sent| {
        session.log(Level::Warn, "fail, cannot authenticate");
        Verdict::declined(format!("{} is not free to abuse my relay", sent.user))
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Call, Credentials, Hook, Secret};
    use crate::testing::Trial;

    #[test]
    fn nobody_is_accepted() {
        let mut trial = Trial::new("auth/authdeny", &[]);
        let sent = Credentials {
            mechanism: "plain",
            user: "ann@example.com",
            password: Some(Secret::new(b"right")),
            hash: None,
            ticket: "",
        };
        let verdict = trial.call(Hook::Auth, &Call::Credentials(&sent));
        assert_eq!(verdict, Verdict::declined("ann@example.com is not free to abuse my relay"));
        assert!(trial.log().contains("(auth) auth/authdeny: fail, cannot authenticate"));
        assert!(!trial.log().contains("right"));
        assert!(Trial::load("auth/authdeny all", &[]).is_err());
    }
}
