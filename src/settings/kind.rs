//! What the values of settings are, and how they are read.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::{NameServer, NameServers, Networks, Ports, StatusPlace, StorePlace};
use crate::log::Level;

/// The most seconds of a time: a hundred years, so that no sum of a time and a clock overflows.
const MOST_SECONDS: u64 = 100 * 365 * 24 * 3600;

/// The mechanisms of AUTH.
pub(super) const MECHANISMS: [&str; 5] =
    ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];

/// The words of [`BareNewline`], in its order.
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
    /// Permissions of a file in octal.
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
    /// Names, one a line, which may end in a star.
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

/// A type of values.
pub trait Value: Clone + 'static {
    /// The value that the lines `texts` of a setting of this kind give.
    ///
    /// # Errors
    /// Which of the lines is none of its kind.
    fn read(kind: &Kind, texts: &[&str]) -> Result<Self, usize>;
}

/// Permissions of a file, as `chmod` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions(pub u32);

/// Words, or lines.  A clone is the same list.
#[derive(Debug, Clone, Default)]
pub struct Words(Rc<[String]>);

/// What a CR or LF on its own inside a message means (RFC 5321 2.3.8 forbids them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// The message is refused.
    #[default]
    Reject,
    /// Each becomes CRLF.
    Normalize,
    /// They stay as they are.
    Accept,
}

/// Yes or no, in any case: `1`, `yes`, `on`, `true`, or `0`, `no`, `off`, `false`.
pub fn yes_or_no(text: &str) -> Option<bool> {
    let is_one = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match () {
        () if is_one(["1", "yes", "on", "true"]) => Some(true),
        () if is_one(["0", "no", "off", "false"]) => Some(false),
        () => None,
    }
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
            Kind::LogLevel => "a log level (0 to 7, LOGEMERG to LOGDEBUG)".into(),
            Kind::Permissions => "permissions in octal, such as 0700".into(),
            Kind::HostName => "a host name".into(),
            Kind::Ports => "a port from 1 to 65535".into(),
            Kind::Networks => "an address or network".into(),
            Kind::NameServers => "ADDRESS[:PORT] [trusted]".into(),
            Kind::Store => "lmdb [FOLDER] [SIZE] or redis URL".into(),
            Kind::Status => {
                "ADDRESS:PORT of this machine's own, ADDRESS:PORT public, or /path".into()
            }
            Kind::Folder | Kind::Folders => "a folder".into(),
            Kind::Text | Kind::Secret | Kind::Names | Kind::Plugins => "a line of text".into(),
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

impl Words {
    /// They, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is `word` one of them, in any case?
    pub fn contain(&self, word: &str) -> bool {
        self.iter().any(|own| own.eq_ignore_ascii_case(word))
    }
}

/// The number that a line begins with; only white space or a comment may follow.
pub(crate) fn number(text: &str) -> Option<u64> {
    word(text)?.parse().ok()
}

/// The one word of a line; only white space or a comment may follow.
fn word(text: &str) -> Option<&str> {
    let mut words = words(text);
    words.next().filter(|_| words.next().is_none())
}

/// The words of a line up to a comment.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace().take_while(|word| !word.starts_with('#'))
}

/// The value that `parse` makes of the one word of the first line.
fn single<T>(texts: &[&str], parse: impl Fn(&str) -> Option<T>) -> Result<T, usize> {
    texts.first().and_then(|text| word(text)).and_then(parse).ok_or(0)
}

/// The value that `parse` makes of the words of all lines.
fn list<T>(
    texts: &[&str],
    parse: impl Fn(&mut dyn Iterator<Item = &str>) -> Option<T>,
) -> Result<T, usize> {
    let is_wrong = |text: &&str| parse(&mut words(text)).is_none();
    match texts.iter().position(is_wrong) {
        Some(at) => Err(at),
        None => parse(&mut texts.iter().flat_map(|text| words(text))).ok_or(0),
    }
}

impl Value for u64 {
    fn read(kind: &Kind, texts: &[&str]) -> Result<u64, usize> {
        let least = if let Kind::Number { least } = kind { *least } else { 0 };
        single(texts, |word| word.parse().ok().filter(|number| *number >= least))
    }
}

impl Value for Duration {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<Duration, usize> {
        single(texts, |word| match word.parse() {
            Ok(seconds @ 1..=MOST_SECONDS) => Some(Duration::from_secs(seconds)),
            _ => None,
        })
    }
}

impl Value for bool {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<bool, usize> {
        single(texts, yes_or_no)
    }
}

impl Value for Level {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<Level, usize> {
        single(texts, |word| word.parse().ok())
    }
}

impl Value for Permissions {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<Permissions, usize> {
        let octal = |word: &str| u32::from_str_radix(word, 8).ok().filter(|mode| *mode <= 0o7777);
        single(texts, octal).map(Permissions)
    }
}

/// The word as the table has it.
impl Value for &'static str {
    fn read(kind: &Kind, texts: &[&str]) -> Result<&'static str, usize> {
        let Kind::Word(known) = kind else { return Err(0) };
        single(texts, |word| known.iter().find(|known| known.eq_ignore_ascii_case(word)).copied())
    }
}

impl Value for BareNewline {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<BareNewline, usize> {
        use BareNewline::{Accept, Normalize, Reject};
        single(texts, |word| {
            let at = BARE_NEWLINES.iter().position(|known| known.eq_ignore_ascii_case(word))?;
            [Reject, Normalize, Accept].get(at).copied()
        })
    }
}

impl Value for String {
    fn read(kind: &Kind, texts: &[&str]) -> Result<String, usize> {
        let is_sound = |c: char| c.is_alphanumeric() || "._-:[]".contains(c);
        match kind {
            Kind::HostName => {
                single(texts, |word| word.chars().all(is_sound).then(|| word.to_owned()))
            }
            _ => texts.first().map(|text| (*text).to_owned()).ok_or(0),
        }
    }
}

impl Value for Option<String> {
    fn read(kind: &Kind, texts: &[&str]) -> Result<Option<String>, usize> {
        if texts.is_empty() { Ok(None) } else { String::read(kind, texts).map(Some) }
    }
}

impl Value for Ports {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<Ports, usize> {
        list(texts, |words| Ports::parse(words))
    }
}

impl Value for Networks {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<Networks, usize> {
        list(texts, |words| Networks::parse(words))
    }
}

impl Value for NameServers {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<NameServers, usize> {
        let server = |(at, text): (usize, &&str)| NameServer::parse(words(text)).ok_or(at);
        let servers: Vec<NameServer> =
            texts.iter().enumerate().map(server).collect::<Result<_, _>>()?;
        Ok(servers.into())
    }
}

impl Value for StorePlace {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<StorePlace, usize> {
        texts.first().and_then(|text| StorePlace::parse(words(text))).ok_or(0)
    }
}

impl Value for Option<StatusPlace> {
    fn read(_kind: &Kind, texts: &[&str]) -> Result<Option<StatusPlace>, usize> {
        let place = |text: &&str| StatusPlace::parse(words(text)).ok_or(0);
        texts.first().map(place).transpose()
    }
}

impl Value for Words {
    fn read(kind: &Kind, texts: &[&str]) -> Result<Words, usize> {
        let Kind::Words(known) = kind else {
            return Ok(Words(texts.iter().map(|text| (*text).to_owned()).collect()));
        };
        let known = |word: &str| {
            let is_known = known.iter().any(|known| known.eq_ignore_ascii_case(word));
            is_known.then(|| word.to_owned())
        };
        list(texts, |words| words.map(known).collect::<Option<_>>()).map(Words)
    }
}
