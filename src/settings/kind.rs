//! What the values of a setting are, in words.

use std::fmt;

/// The most seconds of a time: a hundred years, so that no sum of a time and a clock overflows.
pub(super) const MOST_SECONDS: u64 = 100 * 365 * 24 * 3600;

/// The mechanisms of AUTH.
pub(super) const MECHANISMS: [&str; 5] =
    ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];

/// The words of [`super::BareNewline`], in its order.
pub(super) const BARE_NEWLINES: [&str; 3] = ["reject", "normalize", "accept"];

/// What the values of a setting are.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A number.
    Number {
        /// The least that it may be.
        least: u64,
    },
    /// A time in seconds, at least one.
    Seconds,
    /// Yes or no.
    YesNo,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// The name or number of a log level.
    LogLevel,
    /// Permissions of a folder in octal, in which not everybody may write.
    Permissions,
    /// The path of a folder.
    Folder,
    /// The name of a host.
    HostName,
    /// A line of text.
    Text,
    /// A line of text that nobody is shown.
    Secret,
    /// Ports.
    Ports,
    /// Addresses and networks.
    Networks,
    /// Servers that answer questions to the domain name system, one a line.
    NameServers,
    /// Any of these words, in any case.
    Words(&'static [&'static str]),
    /// Names of variables of the environment, one a line, which may end in a star.
    Names,
    /// Paths of folders, one a line.
    Folders,
    /// Plugins with their arguments, one a line.
    Plugins,
    /// Where plugins remember.
    Store,
    /// Where the status is served.
    Status,
}

impl Kind {
    /// Is it a list, of which every line counts?
    pub fn is_list(&self) -> bool {
        use Kind::{Folders, NameServers, Names, Networks, Plugins, Ports, Words};
        matches!(self, Ports | Networks | NameServers | Words(_) | Names | Folders | Plugins)
    }

    /// A line of its file as others may see it: no secret, nor a plugin's arguments, among which may
    /// be one.
    pub(crate) fn shown<'a>(&self, line: &'a str) -> &'a str {
        match self {
            Kind::Secret => "(set)",
            // An URL may have a password in it.
            Kind::Store if line.contains('@') || line.contains("pass=") => "redis (set)",
            Kind::Plugins => line.split_ascii_whitespace().next().unwrap_or_default(),
            _ => line,
        }
    }

    /// The words of which its values are, where they are some.
    pub(super) fn words(&self) -> &'static [&'static str] {
        match self {
            Kind::Word(words) | Kind::Words(words) => words,
            _ => &[],
        }
    }

    /// One of its values, in words: `'x' is not ...`.
    pub(super) fn one(&self) -> String {
        match self {
            Kind::Number { least: 0 } => "a number".into(),
            Kind::Number { least } => format!("a number of {least} or more"),
            Kind::Seconds => format!("a number of seconds from 1 to {MOST_SECONDS}"),
            Kind::YesNo => "0 or 1".into(),
            Kind::Word(words) | Kind::Words(words) => format!("one of {}", words.join(", ")),
            Kind::LogLevel => {
                "a log level (0 to 7, where more is 7, or LOGEMERG to LOGDEBUG)".into()
            }
            Kind::Permissions => {
                "permissions in octal, such as 0700, without writing for everybody".into()
            }
            Kind::HostName => "a host name".into(),
            Kind::Ports => "a port from 1 to 65535".into(),
            Kind::Networks => "an address or network".into(),
            Kind::NameServers => "ADDRESS[:PORT] [trusted]".into(),
            Kind::Store => "lmdb [FOLDER] [SIZE] or redis URL".into(),
            Kind::Status => {
                "ADDRESS:PORT of this machine's own, ADDRESS:PORT public, /path or ~/path".into()
            }
            Kind::Folder | Kind::Folders => "a folder".into(),
            Kind::Names => "NAME or NAME*".into(),
            Kind::Text | Kind::Secret | Kind::Plugins => "a line of text".into(),
        }
    }
}

/// In a word or two, for the documentation.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Number { least: 0 } => f.write_str("number"),
            Kind::Number { least } => write!(f, "number, {least} or more"),
            Kind::Seconds => f.write_str("seconds"),
            Kind::YesNo => f.write_str("0 or 1"),
            Kind::Word(_) => f.write_str("word"),
            Kind::LogLevel => f.write_str("log level"),
            Kind::Permissions => f.write_str("octal"),
            Kind::Folder => f.write_str("folder"),
            Kind::HostName => f.write_str("host name"),
            Kind::Text => f.write_str("text"),
            Kind::Secret => f.write_str("secret"),
            Kind::Ports => f.write_str("ports"),
            Kind::Networks => f.write_str("networks"),
            Kind::NameServers => f.write_str("name servers"),
            Kind::Words(words) => write!(f, "of {}", words.join(", ")),
            Kind::Names => f.write_str("names"),
            Kind::Folders => f.write_str("folders"),
            Kind::Plugins => f.write_str("plugins"),
            Kind::Store => f.write_str("store"),
            Kind::Status => f.write_str("place"),
        }
    }
}
