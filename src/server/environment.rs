//! What of the starter's environment sessions and the programs that they start get to see.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::Config;
use crate::settings::KEEP_ENVIRONMENT;
use crate::sys;

/// THE table of variables that stay, by name or, with a star, by how names begin; each with who reads
/// it.  `config/keep_environment` adds to it.
pub(crate) const KEPT: &[(&str, &str)] = &[
    ("LANG", "programs: the language of texts"),
    ("LANGUAGE", "the same"),
    ("LC_*", "the same"),
    ("LOCALDOMAIN", "the system's resolver"),
    ("PATH", "where programs are looked for"),
    ("PERL*", "Perl: PERL5LIB, PERL5OPT, PERL_UNICODE"),
    ("POSTFIXQUEUE", "queue/postfix-queue"),
    ("PROTO", "Perl plugins: from tcpserver"),
    ("QMAIL*", "QMAIL: where the configuration may be; QMAILQUEUE: queue/qmail-queue"),
    ("QPSMTPD_*", "QPSMTPD_CONFIG: where the configuration is"),
    ("RBLSMTPD", "Perl plugins: from tcprules"),
    ("RELAYCLIENT", "relay: from tcprules"),
    ("RES_OPTIONS", "the system's resolver"),
    ("SSL_CERT_DIR", "whom TLS trusts"),
    ("SSL_CERT_FILE", "the same"),
    ("TCP*", "the client's address: from tcpserver"),
    ("TZ", "the time zone"),
    ("WHITELISTCLIENT", "whitelist: from tcprules"),
];

/// Removes every other variable, and lets the rest speak of the user that sessions run as.
pub(crate) fn clean(config: &Config, user: Option<&str>, home: &Path) {
    let more = config.setting(KEEP_ENVIRONMENT);
    let is_kept = |name: &OsStr| {
        let more = more.iter();
        KEPT.iter().map(|row| row.0).chain(more).any(|pattern| matches(pattern, name))
    };
    for (name, _) in env::vars_os().filter(|(name, _)| !is_kept(name)) {
        sys::environment::set(&name, None);
    }
    let user = user.map(OsStr::new);
    for (name, value) in [("HOME", Some(home.as_os_str())), ("USER", user), ("LOGNAME", user)] {
        sys::environment::set(OsStr::new(name), value);
    }
}

/// Does a variable of that name stay, without a setting?
pub(crate) fn is_usual(name: &str) -> bool {
    KEPT.iter().any(|row| matches(row.0, OsStr::new(name)))
}

fn matches(pattern: &str, name: &OsStr) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.as_bytes().starts_with(start.as_bytes()),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_beginnings_are_found() {
        for (pattern, name, is_found) in [
            ("PATH", "PATH", true),
            ("PATH", "PATHS", false),
            ("LC_*", "LC_ALL", true),
            ("LC_*", "LC", false),
            ("*", "ANY", true),
        ] {
            assert_eq!(matches(pattern, OsStr::new(name)), is_found, "{pattern} {name}");
        }
        assert!(KEPT.is_sorted_by_key(|row| row.0));
    }

    #[test]
    fn the_documentation_lists_them() {
        let text = include_str!("../../docs/security.md");
        for (name, _) in KEPT {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}
