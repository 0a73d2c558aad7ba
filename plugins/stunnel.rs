//! ```text
//! NAME
//!     stunnel - accepts its old line; the core speaks the PROXY protocol
//!
//! SYNOPSIS
//!     stunnel proxy on
//!
//! DESCRIPTION
//!     In Perl this plugin accepted the command PROXY from stunnel on the same machine.  Here the
//!     core speaks the PROXY protocol, versions 1 and 2, with or without this plugin, with every
//!     proxy that these files name:
//!
//!         proxy_from      addresses and networks of proxies, one per line; for stunnel on this
//!                         machine 127.0.0.1.  A connection from there has to begin with a PROXY
//!                         header; from elsewhere PROXY is an unknown command.
//!         proxy_ports     the ports of this server at which that applies; all by default
//!         proxy_timeout   how many seconds a proxy may take for the header; 10 by default
//!
//!     The log has a warning if the line has "proxy on" and proxy_from is empty.
//!
//! ARGUMENTS
//!     proxy   on or off; has no effect
//! ```

use crate::error::Result;
use crate::hook::{Args, Hooks};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["proxy"])?;
    let wanted = args.one_of("proxy", &[("on", true), ("off", false)], false)?;
    if wanted && hooks.config().list("proxy_from").is_empty() {
        hooks.log(Level::Warn, "PROXY is not accepted: no proxy is listed in config/proxy_from");
    } else {
        hooks.log(Level::Notice, "does nothing any more; config/proxy_from lists the proxies");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Trial;

    #[test]
    fn old_lines_are_accepted_and_the_log_says_where_the_setting_is() {
        let (warning, notice) =
            ("stunnel: PROXY is not accepted", "stunnel: does nothing any more");
        for (line, proxies, said) in [
            ("stunnel proxy ON", "", warning),
            ("stunnel proxy on", "127.0.0.1", notice),
            ("stunnel proxy off", "", notice),
            ("stunnel", "", notice),
        ] {
            let trial = Trial::new(line, &[("proxy_from", proxies)]);
            assert!(trial.log().contains(said), "{line}: {}", trial.log());
        }
        for line in ["stunnel on", "stunnel proxies on"] {
            assert!(Trial::load(line, &[]).is_err(), "{line}");
        }
    }
}
