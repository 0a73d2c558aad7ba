//! The types of the values of settings, and how they are read.

use std::rc::Rc;
use std::time::Duration;

use idna::AsciiDenyList;

use super::kind::{BARE_NEWLINES, Kind, MOST_SECONDS};
use super::{NameServer, NameServers, Networks, Ports, StatusPlace, StorePlace};
use crate::log::Level;

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

/// Is it the name of a variable, or how such names begin, with a star?
fn is_variable(word: &str) -> bool {
    !word.strip_suffix('*').unwrap_or(word).contains(['=', '*'])
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
        let is_right = |mode: &u32| *mode <= 0o7777 && mode & 0o002 == 0;
        let octal = |word: &str| u32::from_str_radix(word, 8).ok().filter(is_right);
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
        match kind {
            Kind::HostName => single(texts, host_name),
            _ => texts.first().map(|text| (*text).to_owned()).ok_or(0),
        }
    }
}

/// A host's name as it can be sent to anybody: A-labels in the place of U-labels (RFC 5890 2.3.2.4).
fn host_name(word: &str) -> Option<String> {
    let is_sound = |c: char| c.is_ascii_alphanumeric() || "._-:[]".contains(c);
    let name = match word.is_ascii() {
        true => word.to_owned(),
        false => {
            idna::domain_to_ascii_cow(word.as_bytes(), AsciiDenyList::EMPTY).ok()?.into_owned()
        }
    };
    name.chars().all(is_sound).then_some(name)
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
        let known = match kind {
            Kind::Words(known) => known,
            Kind::Names => {
                let name = |(at, text): (usize, &&str)| {
                    word(text).filter(|word| is_variable(word)).map(str::to_owned).ok_or(at)
                };
                return texts.iter().enumerate().map(name).collect::<Result<_, _>>().map(Words);
            }
            _ => return Ok(Words(texts.iter().map(|text| (*text).to_owned()).collect())),
        };
        let known = |word: &str| {
            let is_known = known.iter().any(|known| known.eq_ignore_ascii_case(word));
            is_known.then(|| word.to_owned())
        };
        list(texts, |words| words.map(known).collect::<Option<_>>()).map(Words)
    }
}
