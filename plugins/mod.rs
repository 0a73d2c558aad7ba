//! The native plugins, one file each.
//!
//! Plugin `queue/maildir` is the file `queue/maildir.rs`; its first lines are its manual.  To add
//! one: copy `template.rs`, add a `mod` line and a row of [`PLUGINS`] (in the order of a session).

#![forbid(unsafe_code)]

use crate::error::Result;
use crate::hook::Args;
use crate::plugin::{Alias, Plugin};

pub mod badmailfrom;
pub mod badmailfromto;
pub mod badrcptto;
pub mod count_unrecognized_commands;
pub mod dont_require_anglebrackets;
pub mod hosts_allow;
pub mod naughty;
pub mod noop_counter;
mod patterns;
pub mod rcpt_ok;
pub mod relay;
pub mod template;
pub mod tls;

/// Who may authenticate.
pub mod auth {
    pub mod auth_flat_file;
}

/// Where the log goes.
pub mod logging {
    pub mod devnull;
    pub mod file;
    pub mod syslog;
    pub mod warn;

    use crate::log::{self, Level, Record};

    /// Says on standard error why the log does not go where it should, but only if `complained` was
    /// false.
    fn complain(complained: &mut bool, plugin: &str, why: &str, record: &Record<'_>) {
        if std::mem::replace(complained, true) {
            return;
        }
        let (hook, plugin, text) = (Some("logging"), Some(plugin), &log::clean(why));
        log::to_stderr(&Record { level: Level::Crit, hook, plugin, text, ..record.clone() });
    }
}

/// Where messages go.
pub mod queue {
    pub mod discard;
    pub mod maildir;

    use crate::hook::{Session, Verdict};

    /// The answer to a message that was stored: `Queued!` and its Message-Id.
    pub(crate) fn queued(session: &Session) -> Verdict {
        let id = session.transaction.header.get("Message-Id").unwrap_or_default();
        Verdict::ok(format!("Queued! {}", id.lines().next().unwrap_or("").trim_end()))
    }
}

/// The name of this host as the system has it.
fn host_name() -> String {
    let name = nix::unistd::gethostname();
    name.map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A plugin's first argument as a number; `default` where it is absent or 0.
fn maximum(args: &Args, default: i64) -> Result<i64> {
    let max: u32 = match args.get(0) {
        None => 0,
        Some(word) => word.parse().map_err(|_| format!("not a number: '{word}'"))?,
    };
    Ok(if max == 0 { default } else { max.into() })
}

macro_rules! plugin {
    ($name:literal, $file:literal, $($module:ident)::+) => {
        Plugin { name: $name, source: include_str!($file), register: $($module)::+::register }
    };
}

/// THE plugin table.
pub const PLUGINS: &[Plugin] = &[
    plugin!("logging/devnull", "logging/devnull.rs", logging::devnull),
    plugin!("logging/file", "logging/file.rs", logging::file),
    plugin!("logging/syslog", "logging/syslog.rs", logging::syslog),
    plugin!("logging/warn", "logging/warn.rs", logging::warn),
    plugin!("hosts_allow", "hosts_allow.rs", hosts_allow),
    plugin!("tls", "tls.rs", tls),
    plugin!("relay", "relay.rs", relay),
    plugin!("auth/auth_flat_file", "auth/auth_flat_file.rs", auth::auth_flat_file),
    plugin!(
        "count_unrecognized_commands",
        "count_unrecognized_commands.rs",
        count_unrecognized_commands
    ),
    plugin!("noop_counter", "noop_counter.rs", noop_counter),
    plugin!(
        "dont_require_anglebrackets",
        "dont_require_anglebrackets.rs",
        dont_require_anglebrackets
    ),
    plugin!("badmailfrom", "badmailfrom.rs", badmailfrom),
    plugin!("badmailfromto", "badmailfromto.rs", badmailfromto),
    plugin!("badrcptto", "badrcptto.rs", badrcptto),
    plugin!("naughty", "naughty.rs", naughty),
    plugin!("rcpt_ok", "rcpt_ok.rs", rcpt_ok),
    plugin!("queue/discard", "queue/discard.rs", queue::discard),
    plugin!("queue/maildir", "queue/maildir.rs", queue::maildir),
];

/// Older names that configurations still have.
pub const ALIASES: &[Alias] = &[
    Alias { old: "check_relay", new: "relay", args: &[] },
    Alias { old: "check_norelay", new: "relay", args: &[] },
    Alias { old: "relay_only", new: "relay", args: &["only", "1"] },
    Alias { old: "check_badmailfrom", new: "badmailfrom", args: &[] },
    Alias { old: "check_badmailfrom_patterns", new: "badmailfrom", args: &[] },
    Alias { old: "check_badmailfromto", new: "badmailfromto", args: &[] },
    Alias { old: "check_badrcptto", new: "badrcptto", args: &[] },
    Alias { old: "check_badrcptto_patterns", new: "badrcptto", args: &[] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_is_a_number_or_the_default() {
        for (words, max) in [(vec![], 4), (vec!["0"], 4), (vec!["7", "x"], 7)] {
            assert_eq!(maximum(&Args::new(words), 4), Ok(max));
        }
        let error = maximum(&Args::new(["-1"]), 4).unwrap_err();
        assert_eq!(error.to_string(), "not a number: '-1'");
    }
}
