//! ```text
//! NAME
//!     logging/warn - writes the log to standard error
//!
//! SYNOPSIS
//!     logging/warn [LEVEL] [format text|json]
//!
//! DESCRIPTION
//!     Writes lines "PID[SESSION] (HOOK) PLUGIN: TEXT" to standard error, where daemontools, runit,
//!     systemd and similar programs take them.  Lines that belong to no session have no
//!     "[SESSION]".  The plugin belongs in config/logging.
//!
//! ARGUMENTS
//!     LEVEL         the least important level to write: LOGEMERG, LOGALERT, LOGCRIT, LOGERROR,
//!                   LOGWARN (the default), LOGNOTICE, LOGINFO, LOGDEBUG, or its number, 0 to 7
//!     format json   write one JSON object per line; docs/logging.md has its fields
//!
//! SEE ALSO
//!     logging/file, logging/syslog, logging/adaptive, logging/devnull, docs/logging.md
//! ```

use jiff::Timestamp;

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks};
use crate::log::{self, Format, Level};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let mut args = args.clone();
    let format = args.take_named("format")?.map_or(Ok(Format::Text), |word| word.parse())?;
    args.at_most(1)?;
    let level = args.get(0).or(args.named("loglevel"));
    let level = level.map_or(Ok(Level::Warn), str::parse)?;
    match format {
        Format::Json => hooks.writes_json(true),
        Format::Text => hooks.writes_to_stderr(),
    }
    hooks.logging(level, move |record| {
        match format {
            Format::Text => log::to_stderr(record),
            Format::Json => log::line_to_stderr(&record.json(Timestamp::now())),
        }
        DECLINED
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Plugins;
    use crate::perl::Perl;
    use crate::plugin;
    use crate::testing::Trial;

    #[test]
    fn the_level_is_the_argument() {
        for (line, most) in [
            ("logging/warn", Level::Warn),
            ("logging/warn LOGINFO", Level::Info),
            ("logging/warn 3", Level::Error),
            ("logging/warn loglevel LOGCRIT", Level::Crit),
            ("logging/warn format json", Level::Warn),
            ("logging/warn LOGINFO format json", Level::Info),
            ("logging/warn format text 7", Level::Debug),
        ] {
            let mut plugins = Plugins::new(Level::Debug);
            let config = crate::config::Config::new(vec![]);
            plugin::load_line(&mut plugins, &Perl::new(&config), &config, line).unwrap();
            for (level, _, _) in log::LEVELS {
                assert_eq!(plugins.wants(level), level <= most, "{line}: {level}");
            }
        }
        for (line, why) in [
            ("logging/warn LOUD", "'LOUD' is not a log level"),
            ("logging/warn LOGINFO LOGWARN", "unexpected argument 'LOGWARN'"),
            ("logging/warn LOGINFO format", "argument format has no value"),
            ("logging/warn format xml", "unknown log format 'xml' (known: text, json)"),
        ] {
            let error = Trial::load(line, &[]).err().unwrap_or_else(|| panic!("{line}"));
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
    }
}
