//! ```text
//! NAME
//!     logging/devnull - writes no log
//!
//! SYNOPSIS
//!     logging/devnull
//!
//! DESCRIPTION
//!     Without a logging plugin the log goes to standard error.  With this plugin alone it goes
//!     nowhere.  The plugin belongs in config/logging.
//!
//! SEE ALSO
//!     logging/warn
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    // A level at which there are hardly any lines, so that the others need not even be made.
    hooks.logging(Level::Emerg, |_record| DECLINED);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::hook::Plugins;
    use crate::perl::Perl;
    use crate::plugin;

    #[test]
    fn nobody_wants_lines_any_more() {
        let mut plugins = Plugins::new(Level::Debug);
        assert!(plugins.wants(Level::Alert));
        let config = Config::new(vec![]);
        let perl = Perl::new(&config);
        plugin::load_line(&mut plugins, &perl, &config, "logging/devnull").unwrap();
        assert!(!plugins.wants(Level::Alert));
        let line = "logging/devnull LOGINFO";
        assert!(plugin::load_line(&mut plugins, &perl, &config, line).is_err());
    }
}
