//! ```text
//! NAME
//!     logging/warn - writes the log to standard error
//!
//! SYNOPSIS
//!     logging/warn [LEVEL]
//!
//! DESCRIPTION
//!     Writes lines "PID (HOOK) PLUGIN: TEXT" to standard error, where daemontools, runit, systemd
//!     and the like take them.  It belongs into config/logging.
//!
//! ARGUMENTS
//!     LEVEL   the least important level to write: LOGEMERG, LOGALERT, LOGCRIT, LOGERROR, LOGWARN
//!             (the default), LOGNOTICE, LOGINFO, LOGDEBUG, or its number, 0 to 7
//!
//! SEE ALSO
//!     logging/file, logging/syslog, logging/devnull
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks};
use crate::log::{self, Level};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(1)?;
    let level = args.get(0).or(args.named("loglevel")).map_or(Ok(Level::Warn), str::parse)?;
    hooks.logging(level, |record| {
        log::to_stderr(record);
        DECLINED
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Plugins;
    use crate::plugin;
    use crate::testing::Trial;

    #[test]
    fn the_level_is_the_argument() {
        for (line, most) in [
            ("logging/warn", Level::Warn),
            ("logging/warn LOGINFO", Level::Info),
            ("logging/warn 3", Level::Error),
            ("logging/warn loglevel LOGCRIT", Level::Crit),
        ] {
            let mut plugins = Plugins::new(Level::Debug);
            let config = crate::config::Config::new(vec![]);
            plugin::load_line(&mut plugins, &config, line).unwrap();
            for (level, _, _) in log::LEVELS {
                assert_eq!(plugins.wants(level), level <= most, "{line}: {level}");
            }
        }
        for line in ["logging/warn LOUD", "logging/warn LOGINFO LOGWARN"] {
            assert!(Trial::load(line, &[]).is_err(), "{line}");
        }
    }
}
