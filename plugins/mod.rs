//! The native plugins, one file each.
//!
//! Plugin `queue/maildir` is the file `queue/maildir.rs`; its first lines are its manual.  To add
//! one: copy `template.rs`, add a `mod` line and a row of [`PLUGINS`] (in the order of a session).

#![forbid(unsafe_code)]
// What a plugin refuses at the start stands in its manual.
#![allow(clippy::missing_errors_doc)]

use crate::error::Result;
use crate::hook::Args;
use crate::plugin;
use crate::plugin::{Alias, Plugin};

pub mod arc;
pub mod badmailfrom;
pub mod badmailfromto;
pub mod badrcptto;
pub mod bogus_bounce;
pub mod connection_time;
pub mod content_log;
pub mod count_unrecognized_commands;
pub mod dkim;
pub mod dmarc;
pub mod dns_whitelist_soft;
pub mod dnsbl;
pub mod dont_require_anglebrackets;
pub mod earlytalker;
pub mod fcrdns;
pub mod filter;
pub mod goodrcptto;
pub mod greylisting;
pub mod headers;
pub mod helo;
pub mod help;
pub mod hosts_allow;
pub mod http_config;
pub mod karma;
pub mod limit;
pub mod loadcheck;
pub mod r#loop;
pub mod milter;
pub mod my_rcpt_check;
pub mod naughty;
pub mod noop_counter;
pub mod parse_addr_withhelo;
pub mod peers;
pub mod penpals;
pub mod qmail_deliverable;
pub mod quit_fortune;
pub mod random_error;
pub mod rcpt_map;
pub mod rcpt_ok;
pub mod rcpt_ok_child;
pub mod rcpt_ok_maxrelay;
pub mod rcpt_regexp;
pub mod rcpt_verify;
pub mod relay;
pub mod resolvable_fromhost;
pub mod rhsbl;
pub mod rspamd;
pub mod sender_permitted_from;
pub mod spamassassin;
pub mod stunnel;
pub mod temp_disable_connection;
pub mod template;
pub mod tls;
pub mod uribl;
pub mod user_config;
pub mod whitelist;

/// Who may authenticate.
pub mod auth {
    pub mod auth_checkpassword;
    pub mod auth_dovecot;
    pub mod auth_flat_file;
    pub mod auth_imap;
    pub mod auth_ldap_bind;
    pub mod auth_sql;
    pub mod auth_vpopmail_sql;
    pub mod auth_vpopmaild;
    pub mod authdeny;
}

/// What is known of clients from outside.
pub mod ident {
    pub mod geoip;
    pub mod p0f;
}

/// Where the log goes.
pub mod logging {
    pub mod adaptive;
    pub mod debug_plugin;
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
    pub mod exim_bsmtp;
    pub mod lmtp;
    pub mod maildir;
    pub mod postfix_queue;
    pub mod qmail_queue;
    pub mod qmqp_forward;
    pub mod smtp_forward;

    use crate::hook::{Session, Verdict};

    /// The answer to a message that was stored: `Queued!` and its Message-Id.
    pub(crate) fn queued(session: &Session) -> Verdict {
        Verdict::ok(format!("Queued! {}", message_id(session)))
    }

    /// The message's Message-Id, its first line only; empty where there is none.
    fn message_id(session: &Session) -> String {
        let id = session.transaction.header.get("Message-Id").unwrap_or_default();
        id.lines().next().unwrap_or("").trim_end().to_owned()
    }
}

/// What is in messages that harms machines.
pub mod virus {
    pub mod clamdscan;
    pub mod klez_filter;
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

/// THE plugin table.
pub const PLUGINS: &[Plugin] = &[
    plugin!(logging::debug_plugin),
    plugin!(logging::adaptive),
    plugin!(logging::devnull),
    plugin!(logging::file),
    plugin!(logging::syslog),
    plugin!(logging::warn),
    plugin!(http_config),
    plugin!(user_config),
    plugin!(peers),
    plugin!(connection_time),
    plugin!(random_error),
    plugin!(temp_disable_connection),
    plugin!(hosts_allow),
    plugin!(loadcheck),
    plugin!(karma),
    plugin!(whitelist),
    plugin!(earlytalker),
    plugin!(tls),
    plugin!(stunnel),
    plugin!(relay),
    plugin!(dns_whitelist_soft),
    plugin!(ident::geoip),
    plugin!(ident::p0f),
    plugin!(fcrdns),
    plugin!(limit),
    plugin!(dnsbl),
    plugin!(helo),
    plugin!(auth::auth_flat_file),
    plugin!(auth::auth_checkpassword),
    plugin!(auth::auth_dovecot),
    plugin!(auth::auth_vpopmaild),
    plugin!(auth::auth_imap),
    plugin!(auth::auth_ldap_bind),
    plugin!(auth::auth_sql),
    plugin!(auth::auth_vpopmail_sql),
    plugin!(auth::authdeny),
    plugin!(count_unrecognized_commands),
    plugin!(noop_counter),
    plugin!(help),
    plugin!(quit_fortune),
    plugin!(parse_addr_withhelo),
    plugin!(dont_require_anglebrackets),
    plugin!(resolvable_fromhost),
    plugin!(sender_permitted_from),
    plugin!(rhsbl),
    plugin!(penpals),
    plugin!(badmailfrom),
    plugin!(badmailfromto),
    plugin!(badrcptto),
    plugin!(greylisting),
    plugin!(milter),
    plugin!(naughty),
    plugin!(rcpt_map),
    plugin!(rcpt_regexp),
    plugin!(my_rcpt_check),
    plugin!(goodrcptto),
    plugin!(qmail_deliverable),
    plugin!(rcpt_verify),
    plugin!(rcpt_ok),
    plugin!(rcpt_ok_child),
    plugin!(rcpt_ok_maxrelay),
    plugin!(headers),
    plugin!(dkim),
    plugin!(dmarc),
    plugin!(uribl),
    plugin!(arc),
    plugin!(bogus_bounce),
    plugin!(r#loop),
    plugin!(filter),
    plugin!(spamassassin),
    plugin!(rspamd),
    plugin!(virus::clamdscan),
    plugin!(virus::klez_filter),
    plugin!(content_log),
    plugin!(queue::discard),
    plugin!(queue::maildir),
    plugin!(queue::qmail_queue, "queue/qmail-queue"),
    plugin!(queue::postfix_queue, "queue/postfix-queue"),
    plugin!(queue::exim_bsmtp, "queue/exim-bsmtp"),
    plugin!(queue::lmtp),
    plugin!(queue::qmqp_forward, "queue/qmqp-forward"),
    plugin!(queue::smtp_forward, "queue/smtp-forward"),
];

/// The plugins that start programs which do their work with rights of their own: setuid, setgid, with
/// file capabilities.  Their manuals have a section PRIVILEGES.
pub const PRIVILEGED: &[&str] =
    &["auth/auth_checkpassword", "queue/exim-bsmtp", "queue/qmail-queue"];

/// Older names that configurations still have.
pub const ALIASES: &[Alias] = &[
    Alias { old: "check_relay", new: "relay", args: &[] },
    Alias { old: "check_norelay", new: "relay", args: &[] },
    Alias { old: "relay_only", new: "relay", args: &["only", "1"] },
    Alias { old: "check_earlytalker", new: "earlytalker", args: &[] },
    Alias { old: "async/earlytalker", new: "earlytalker", args: &[] },
    Alias { old: "async/check_earlytalker", new: "earlytalker", args: &[] },
    Alias { old: "check_spamhelo", new: "helo", args: &[] },
    Alias { old: "check_badmailfrom", new: "badmailfrom", args: &[] },
    Alias { old: "check_badmailfrom_patterns", new: "badmailfrom", args: &[] },
    Alias { old: "check_badmailfromto", new: "badmailfromto", args: &[] },
    Alias { old: "check_badrcptto", new: "badrcptto", args: &[] },
    Alias { old: "check_badrcptto_patterns", new: "badrcptto", args: &[] },
    Alias { old: "check_goodrcptto", new: "goodrcptto", args: &[] },
    Alias { old: "check_qmail_deliverable", new: "qmail_deliverable", args: &[] },
    Alias { old: "require_resolvable_fromhost", new: "resolvable_fromhost", args: &[] },
    Alias { old: "check_basicheaders", new: "headers", args: &[] },
    Alias { old: "check_bogus_bounce", new: "bogus_bounce", args: &[] },
    Alias { old: "check_loop", new: "loop", args: &[] },
    Alias { old: "ident/geoip2", new: "ident/geoip", args: &[] },
    Alias { old: "clamav", new: "virus/clamav", args: &[] },
    Alias { old: "klez_filter", new: "virus/klez_filter", args: &[] },
    Alias { old: "async/dns_whitelist_soft", new: "dns_whitelist_soft", args: &[] },
    Alias { old: "async/dnsbl", new: "dnsbl", args: &[] },
    Alias { old: "async/resolvable_fromhost", new: "resolvable_fromhost", args: &[] },
    Alias { old: "async/require_resolvable_fromhost", new: "resolvable_fromhost", args: &[] },
    Alias { old: "async/rhsbl", new: "rhsbl", args: &[] },
    Alias { old: "async/uribl", new: "uribl", args: &[] },
    Alias { old: "async/queue/smtp-forward", new: "queue/smtp-forward", args: &[] },
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
