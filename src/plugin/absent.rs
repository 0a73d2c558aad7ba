//! Plugins of Perl qpsmtpd that are not among the native ones, and what became of them.

use std::fmt;

use self::Fate::{Later, Obsolete, Perl};

/// One plugin.
#[derive(Debug)]
pub struct Absent {
    /// Its name in `config/plugins`.
    pub name: &'static str,
    /// What became of it.
    pub fate: Fate,
    /// Why, or what is there instead.
    pub why: &'static str,
}

/// What becomes of a plugin that is not native.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It will be native.
    Later,
    /// It stays a Perl plugin.
    Perl,
    /// Nothing needs it any more.
    Obsolete,
}

const fn row(name: &'static str, fate: Fate, why: &'static str) -> Absent {
    Absent { name, fate, why }
}

const DEAD: &str = "its scanner is not sold any more; virus/clamdscan does its work";

/// THE table of plugins that are not there.
pub const ABSENT: &[Absent] = &[
    row("auth/auth_cvm_unix_local", Perl, "it asks a CVM server, which few have"),
    row(
        "auth/auth_vpopmail",
        Perl,
        "it needs the library of vpopmail; auth/auth_vpopmaild asks vpopmail",
    ),
    row(
        "auth/authnull",
        Obsolete,
        "it lets everybody authenticate, and relay; auth/authdeny shows what clients do",
    ),
    row("domainkeys", Obsolete, "DomainKeys became DKIM (RFC 6376)"),
    row("dspam", Perl, "it needs the program dspam, which is not maintained"),
    row("logging/apache", Obsolete, "qpsmtpd does not run within Apache"),
    row("logging/connection_id", Obsolete, "all lines have the id of their session"),
    row("logging/transaction_id", Obsolete, "all lines have the id of their session"),
    row("virus/aveclient", Perl, DEAD),
    row("virus/bitdefender", Perl, DEAD),
    row("virus/check_for_hi_virus", Obsolete, "it looks for one virus of 2004"),
    row("virus/clamav", Perl, "it starts a scanner for each message; virus/clamdscan is faster"),
    row("virus/hbedv", Perl, DEAD),
    row("virus/kavscanner", Perl, DEAD),
    row("virus/sophie", Perl, DEAD),
    row("virus/uvscan", Perl, DEAD),
];

impl Fate {
    /// The fate in a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Later => "later",
            Perl => "Perl",
            Obsolete => "obsolete",
        }
    }
}

/// One line for the person who wants the plugin.
impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Absent { name, why, .. } = self;
        match self.fate {
            Later => write!(f, "plugin '{name}' is not native yet: {why}"),
            Perl => write!(f, "plugin '{name}' will not be native: {why}"),
            Obsolete => write!(f, "plugin '{name}' is obsolete: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::{ALIASES, PLUGINS};

    const GUIDE: &str = include_str!("../../docs/upstream-plugins.md");

    /// The rows of the guide's table under a heading, and the first cell of each.
    fn rows(heading: &str) -> Vec<(&'static str, &'static str)> {
        let (_, text) = GUIDE.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
        let text = text.split("\n## ").next().unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| (row, row.split('`').nth(1).unwrap())).collect()
    }

    /// The row that the tables of plugins give.
    fn wanted(name: &str) -> String {
        let (state, note) = if let Some(plugin) = PLUGINS.iter().find(|plugin| plugin.name == name)
        {
            let manual = plugin.manual();
            let line = manual.lines().nth(1).unwrap().trim().to_owned();
            let (_, purpose) = line.split_once(" - ").unwrap_or_else(|| panic!("{line}"));
            ("native", purpose.to_owned())
        } else if let Some(absent) = ABSENT.iter().find(|absent| absent.name == name) {
            (absent.fate.name(), absent.why.to_owned())
        } else {
            ("unknown", String::new())
        };
        format!("| `{name}` | {state} | {note} |")
    }

    #[test]
    fn the_guide_says_what_became_of_every_plugin() {
        let rows = rows("\n## The plugins\n");
        let mut names: Vec<_> = rows.iter().map(|(_, name)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((rows.len(), names.len()), (80, 80));
        let wanted: Vec<_> = rows.iter().map(|(_, name)| wanted(name)).collect();
        let rows: Vec<_> = rows.into_iter().map(|(row, _)| row).collect();
        assert!(rows == wanted, "docs/upstream-plugins.md should have\n{}", wanted.join("\n"));
        let unknown: Vec<_> = wanted.iter().filter(|row| row.contains("| unknown |")).collect();
        assert_eq!(unknown, Vec::<&String>::new());
        for absent in ABSENT {
            assert!(names.contains(&absent.name), "{} is no plugin of Perl qpsmtpd", absent.name);
            let is_native = PLUGINS.iter().any(|plugin| plugin.name == absent.name);
            assert!(!is_native, "{} is native: take it out of ABSENT", absent.name);
        }
    }

    #[test]
    fn the_guide_lists_the_older_names() {
        let row = |alias: &crate::plugin::Alias| {
            let words = [&[alias.new], alias.args].concat().join(" ");
            format!("| `{}` | `{words}` |", alias.old)
        };
        let wanted: Vec<_> = ALIASES.iter().map(row).collect();
        let rows: Vec<_> = rows("\n## Older names\n").into_iter().map(|(row, _)| row).collect();
        assert!(rows == wanted, "docs/upstream-plugins.md should have\n{}", wanted.join("\n"));
    }

    #[test]
    fn older_names_lead_somewhere() {
        for alias in ALIASES {
            let is_native = PLUGINS.iter().any(|plugin| plugin.name == alias.new);
            let is_known = is_native || ABSENT.iter().any(|absent| absent.name == alias.new);
            assert!(is_known, "{} leads to {}", alias.old, alias.new);
            let is_itself = PLUGINS.iter().any(|plugin| plugin.name == alias.old);
            assert!(!is_itself, "{} is a plugin, too", alias.old);
        }
    }
}
