//! ```text
//! NAME
//!     logging/debug_plugin - logs everything that one plugin says, and little of the others
//!
//! SYNOPSIS
//!     logging/debug_plugin PLUGIN [LEVEL]
//!
//! DESCRIPTION
//!     Keeps lines that are less important than LEVEL from the logging plugins that follow, unless
//!     PLUGIN wrote them.  Place it before a logging plugin that writes all levels:
//!
//!         logging/debug_plugin queue/maildir
//!         logging/warn LOGDEBUG
//!
//! ARGUMENTS
//!     PLUGIN   the name of the plugin as in config/plugins, including its :N if it has one
//!     LEVEL    the least important level of the other plugins' lines; LOGWARN by default
//!
//! SEE ALSO
//!     logging/warn, logging/file, docs/plugins.md
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, OK};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(2)?;
    let plugin = args.required(0, "the name of the plugin to show")?.to_owned();
    let most = args.parsed_at(1, Level::Warn)?;
    hooks.logging(Level::Debug, move |record| {
        let is_wanted = record.plugin == Some(plugin.as_str()) || record.level <= most;
        if is_wanted { DECLINED } else { OK }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    /// What logging/file, behind the plugin, writes of these lines.
    fn written(line: &str) -> Vec<String> {
        let lines = format!("{line}\nlogging/file loglevel LOGDEBUG ~/log\nrcpt_ok\nnaughty");
        let mut trial = Trial::new(&lines, &[("rcpthosts", "example.com")]);
        let _ = std::fs::remove_file(trial.dir().join("log"));
        for level in [Level::Info, Level::Warn, Level::Error] {
            trial.session.log(level, format_args!("{level}"));
        }
        trial.rcpt("<b@example.com>");
        let log = std::fs::read_to_string(trial.dir().join("log")).unwrap_or_default();
        let text = |line: &str| line.split_once("[trial] ").unwrap().1.to_owned();
        log.lines().map(text).collect()
    }

    #[test]
    fn all_of_one_plugin_and_the_important_of_the_others() {
        let pass = "(rcpt) rcpt_ok: pass, example.com in rcpthosts as example.com";
        let one = written("logging/debug_plugin rcpt_ok");
        assert_eq!(one, ["LOGWARN", "LOGERROR", pass]);
        let two = written("logging/debug_plugin rcpt_ok LOGERROR");
        assert_eq!(two, ["LOGERROR", pass]);
        assert_eq!(written("logging/debug_plugin no_such 3"), ["LOGERROR"]);
    }

    #[test]
    fn a_name_is_needed() {
        let error = Trial::load("logging/debug_plugin", &[]).err().unwrap().to_string();
        assert!(error.contains("argument missing: the name of the plugin to show"), "{error}");
        assert!(Trial::load("logging/debug_plugin rcpt_ok LOUD", &[]).is_err());
        assert!(Trial::load("logging/debug_plugin rcpt_ok LOGINFO more", &[]).is_err());
    }
}
