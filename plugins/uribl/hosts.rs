//! The hosts in a text: those of URLs, and words that are names of hosts.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

use crate::mail::host;
use crate::mail::suffixes::Suffixes;
use crate::mail::text::{self, Text};

/// What follows the scheme of a URL up to its path.  Programs that show mail take a backslash for
/// a slash, and one for two.
static AUTHORITY: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?i)\b[a-z][a-z0-9+.-]{1,15}:[/\\]+((?:[^\s/\\?#"'<>]*@)?\[[0-9a-f:.]+\]|[^\s/\\?#"'<>()\[\]]+)"#,
    )
});

/// Words with dots.
static WORD: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[\p{L}\p{N}][\p{L}\p{N}-]*(?:\.[\p{L}\p{N}-]+)+"));

/// References to characters in HTML.
static REFERENCE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,8}));?"));

/// Makes the expressions: it takes long and much memory, so the parent does it for all sessions.
pub(super) fn prepare() {
    for expression in [&AUTHORITY, &WORD, &REFERENCE] {
        LazyLock::force(expression);
    }
}

/// The references by name that hide a host.
const NAMED: [(&str, &str); 10] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("colon", ":"),
    ("sol", "/"),
    ("period", "."),
    ("commat", "@"),
    ("Tab", ""),
    ("NewLine", ""),
];

/// A host of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// A name in the form of [`host::canonical`].
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// The hosts of texts, each once; those of URLs come first.
pub(super) fn hosts(texts: &[Text], suffixes: &Suffixes) -> Vec<Host> {
    let mut found = Found::default();
    let texts: Vec<String> = texts.iter().map(plain).collect();
    for text in &texts {
        for capture in AUTHORITY.captures_iter(text) {
            found.add(of_authority(&capture[1]));
        }
    }
    for word in texts.iter().flat_map(|text| WORD.find_iter(text)) {
        let name = host::canonical(word.as_str());
        if suffixes.knows(&name) {
            found.add(is_name(&name).then(|| Host::Name(name.into_owned())));
        }
    }
    found.hosts
}

#[derive(Default)]
struct Found {
    hosts: Vec<Host>,
    known: HashSet<Host>,
}

impl Found {
    fn add(&mut self, host: Option<Host>) {
        if let Some(host) = host
            && self.known.insert(host.clone())
        {
            self.hosts.push(host);
        }
    }
}

/// The text as it is shown and, behind it, as it is behind a redirection: without `%2F` and the
/// like.
fn plain(part: &Text) -> String {
    let mut text = match part.is_html {
        true => dereferenced(&part.text),
        false => part.text.clone(),
    };
    if text.contains('%') {
        text = format!("{text}\n{}", unescaped(&text));
    }
    text
}

fn dereferenced(html: &str) -> String {
    let replaced = REFERENCE.replace_all(html, |found: &regex::Captures<'_>| {
        let number = |group: usize, radix| {
            let digits = found.get(group)?;
            char::from_u32(u32::from_str_radix(digits.as_str(), radix).ok()?)
        };
        if let Some(c) = number(1, 10).or_else(|| number(2, 16)) {
            return c.to_string();
        }
        let name = found.get(3).map_or("", |name| name.as_str());
        let known = NAMED.iter().find(|(known, _)| *known == name);
        known.map_or_else(|| found[0].to_owned(), |(_, text)| (*text).to_owned())
    });
    replaced.into_owned()
}

fn unescaped(text: &str) -> String {
    String::from_utf8_lossy(&text::unescaped(text.as_bytes(), b'%')).into_owned()
}

/// `user:password@host:port`.
fn of_authority(authority: &str) -> Option<Host> {
    let host = authority.rsplit('@').next().unwrap_or(authority);
    if let Some(inside) = host.strip_prefix('[') {
        let ip: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
        return Some(Host::Address(IpAddr::V6(ip).to_canonical()));
    }
    let host = unescaped(host.split(':').next().unwrap_or(host));
    let name = host::canonical(host.trim_end_matches(['.', ',', ';', '!'])).into_owned();
    address(&name).map(Host::Address).or_else(|| is_name(&name).then_some(Host::Name(name)))
}

/// An IPv4 address in any of the ways in which programs take one: up to four numbers, in decimal,
/// octal or hexadecimal digits, the last of which fills the rest.
fn address(text: &str) -> Option<IpAddr> {
    let number = |part: &str| match part.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if part.starts_with('0') && part.len() > 1 => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    };
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    if first.len() > 3 || first.iter().any(|number| *number > 255) {
        return None;
    }
    let left = 8 * (4 - first.len());
    if left < 32 && *last >= 1 << left {
        return None;
    }
    let high = first.iter().enumerate().fold(0, |sum, (at, number)| sum | number << (24 - 8 * at));
    // A small number is no address that somebody would hide.
    (text.contains('.') || *last >= 1 << 24).then(|| Ipv4Addr::from(high | last).into())
}

/// Could there be such a name in the DNS?
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(fits);
    name.len() <= 200
        && name.contains('.')
        && name.split('.').all(is_label)
        && !name.ends_with(|c: char| c.is_ascii_digit())
}

fn regex(pattern: &str) -> Regex {
    // The patterns are constants, and a test compiles them.
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(is_html: bool, text: &str) -> Vec<String> {
        let suffixes =
            Suffixes::parse("// ===BEGIN ICANN DOMAINS===\ncom\norg\nexample\nco.uk\n").unwrap();
        let shown = |host| match host {
            Host::Name(name) => name,
            Host::Address(ip) => ip.to_string(),
        };
        let texts = [Text { is_html, text: text.into() }];
        hosts(&texts, &suffixes).into_iter().map(shown).collect()
    }

    #[test]
    fn hosts_of_urls_in_all_their_forms() {
        for (text, host) in [
            ("http://www.Spam.COM/x", "www.spam.com"),
            ("see <https://u:p@spam.com:8080>", "spam.com"),
            ("HTTP:\\\\spam.com\\x", "spam.com"),
            ("http:/spam.com?x", "spam.com"),
            ("ftp://spam.com.", "spam.com"),
            ("http://b\u{fc}cher.com/", "xn--bcher-kva.com"),
            ("http://sp%61m.com/", "spam.com"),
            ("http://new.top-level/", "new.top-level"),
            ("http://192.0.2.1/", "192.0.2.1"),
            ("http://3221225985/", "192.0.2.1"),
            ("http://0xC0.0.02.0x1/", "192.0.2.1"),
            ("http://192.0.513/", "192.0.2.1"),
            ("http://[2001:db8::1]:80/", "2001:db8::1"),
            ("http://x@[::ffff:192.0.2.1]/", "192.0.2.1"),
        ] {
            assert_eq!(of(false, text).first().map(String::as_str), Some(host), "{text}");
        }
        for none in ["http://localhost/", "http://1234/", "http:// x", "10:30", "a.b", "1.2.3.4"] {
            assert!(of(false, none).is_empty(), "{none} {:?}", of(false, none));
        }
    }

    #[test]
    fn redirections_and_html_hide_nothing() {
        let text = "http://r.example/?u=http%3A%2F%2Fspam.com%2F";
        assert!(of(false, text).contains(&"spam.com".to_owned()));
        let html = "<a href=\"http&#58;&sol;/sp&#x61;m&period;com/a\">x</a>";
        assert!(of(true, html).contains(&"spam.com".to_owned()));
        assert_eq!(of(true, "&unknown; &#99999999;"), Vec::<String>::new());
    }

    #[test]
    fn words_that_end_in_a_public_suffix_count_after_urls() {
        let text = "write to me@mail.org, read spam.com or file.txt, http://first.example/";
        assert_eq!(of(false, text), ["first.example", "mail.org", "spam.com"]);
    }
}
