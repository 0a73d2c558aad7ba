//! A record `v=spf1 ...` (RFC 7208 4.6, 12).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Outcome;
use super::macros::Template;

/// A record, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The mechanisms in their order, each with what comes of it if it matches.
    pub(super) directives: Vec<Directive>,
    /// Where to go on if none of them matches.
    pub(super) redirect: Option<Template>,
    /// Where the explanation of a failure stands.
    pub(super) explanation: Option<Template>,
}

/// A mechanism and what comes of it if it matches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// pass, fail, softfail or neutral.
    pub(super) outcome: Outcome,
    /// What has to match.
    pub(super) mechanism: Mechanism,
    /// The directive as it stands in the record.
    pub(super) text: String,
}

/// What may match (RFC 7208 5).  A domain that is not named is the record's own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// Every client.
    All,
    /// Clients for whom another domain's record says pass.
    Include(Template),
    /// The addresses of a name.
    A(Option<Template>, Prefixes),
    /// The addresses of a domain's mail exchangers.
    Mx(Option<Template>, Prefixes),
    /// Names below a domain that lead back to the client.
    Ptr(Option<Template>),
    /// A network.
    Ip(IpAddr, u8),
    /// A name that has an address.
    Exists(Template),
}

/// How many bits of an address have to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefixes {
    /// Of 32.
    pub(super) v4: u8,
    /// Of 128.
    pub(super) v6: u8,
}

/// Is the text of a TXT record an SPF record of this version (RFC 7208 4.5)?
pub(super) fn is_record(text: &[u8]) -> bool {
    let Some((version, rest)) = text.split_at_checked(6) else { return false };
    version.eq_ignore_ascii_case(b"v=spf1") && rest.first().is_none_or(|octet| *octet == b' ')
}

/// Takes a record apart.
///
/// # Errors
///
/// Anything in it that RFC 7208 12 does not allow, wherever it stands (4.6); the text says what.
pub(super) fn parse(text: &[u8]) -> Result<Record, String> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii());
    let text = text.ok_or("octets outside of ASCII")?;
    let mut record = Record { directives: Vec::new(), redirect: None, explanation: None };
    for term in text[6..].split(' ').filter(|term| !term.is_empty()) {
        match modifier(term) {
            Some((name, value)) => record.modify(name, value)?,
            None => record.directives.push(directive(term)?),
        }
    }
    Ok(record)
}

impl Record {
    fn modify(&mut self, name: &str, value: &str) -> Result<(), String> {
        let field = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.explanation,
            _ => return Template::macro_string(value).map(|_| ()),
        };
        match field.replace(Template::domain_spec(value)?) {
            Some(_) => Err(format!("'{name}=' occurs twice")),
            None => Ok(()),
        }
    }
}

/// `name=value`, if the name is one (RFC 7208 6).
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let inner = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(inner);
    good.then_some((name, value))
}

fn directive(term: &str) -> Result<Directive, String> {
    let (outcome, rest) = match term.as_bytes().first() {
        Some(b'+') => (Outcome::Pass, &term[1..]),
        Some(b'-') => (Outcome::Fail, &term[1..]),
        Some(b'~') => (Outcome::SoftFail, &term[1..]),
        Some(b'?') => (Outcome::Neutral, &term[1..]),
        _ => (Outcome::Pass, term),
    };
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (name, arguments) = rest.split_at(end);
    let name = name.to_ascii_lowercase();
    let unknown = || format!("'{term}' is not a mechanism");
    let mechanism = match (name.as_str(), arguments.strip_prefix(':')) {
        ("all", None) if arguments.is_empty() => Mechanism::All,
        ("include", Some(domain)) => Mechanism::Include(Template::domain_spec(domain)?),
        ("exists", Some(domain)) => Mechanism::Exists(Template::domain_spec(domain)?),
        ("ptr", Some(domain)) => Mechanism::Ptr(Some(Template::domain_spec(domain)?)),
        ("ptr", None) if arguments.is_empty() => Mechanism::Ptr(None),
        ("ip4", Some(network)) => {
            let (ip, bits) = network_of::<Ipv4Addr>(network, 32).ok_or_else(unknown)?;
            Mechanism::Ip(IpAddr::V4(ip), bits)
        }
        ("ip6", Some(network)) => {
            let (ip, bits) = network_of::<Ipv6Addr>(network, 128).ok_or_else(unknown)?;
            Mechanism::Ip(IpAddr::V6(ip), bits)
        }
        ("a" | "mx", domain) => {
            let (spec, prefixes) =
                with_prefixes(domain.unwrap_or(arguments)).ok_or_else(unknown)?;
            let spec = match domain {
                Some(_) => Some(Template::domain_spec(spec)?),
                None if spec.is_empty() => None,
                None => return Err(unknown()),
            };
            if name == "a" { Mechanism::A(spec, prefixes) } else { Mechanism::Mx(spec, prefixes) }
        }
        _ => return Err(unknown()),
    };
    Ok(Directive { outcome, mechanism, text: term.to_owned() })
}

fn network_of<A: std::str::FromStr>(text: &str, most: u8) -> Option<(A, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, prefix(bits, most)?),
        None => (text, most),
    };
    Some((address.parse().ok()?, bits))
}

/// `domain/24//64`: what stands before the lengths of prefixes, and these.
fn with_prefixes(text: &str) -> Option<(&str, Prefixes)> {
    let (text, v6) = match text.rsplit_once("//") {
        Some((before, bits)) if is_number(bits) => (before, prefix(bits, 128)?),
        _ => (text, 128),
    };
    let (text, v4) = match text.rsplit_once('/') {
        Some((before, bits)) if is_number(bits) => (before, prefix(bits, 32)?),
        _ => (text, 32),
    };
    Some((text, Prefixes { v4, v6 }))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

/// The length of a prefix: a number without a sign or zeroes in front.
fn prefix(text: &str, most: u8) -> Option<u8> {
    let good = is_number(text) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|bits| good && *bits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_from_other_texts() {
        assert!(is_record(b"v=spf1") && is_record(b"V=SPF1 -all"));
        assert!(!is_record(b"v=spf10 -all") && !is_record(b"v=spf1-all") && !is_record(b"v=spf"));
    }

    #[test]
    fn records_are_taken_apart() {
        let record = parse(b"v=spf1  ip4:192.0.2.0/24 ?a/24//64 -mx:x.example redirect=y.example ");
        let record = record.unwrap();
        assert_eq!(record.directives[0].mechanism, {
            Mechanism::Ip("192.0.2.0".parse().unwrap(), 24)
        });
        assert_eq!(record.directives[1].outcome, Outcome::Neutral);
        assert_eq!(record.directives[1].mechanism, {
            Mechanism::A(None, Prefixes { v4: 24, v6: 64 })
        });
        assert_eq!(record.directives[2].text, "-mx:x.example");
        assert!(record.redirect.is_some());
        assert!(parse(b"v=spf1 moo=%{d}/x a:%{d/}").is_ok());
    }

    #[test]
    fn errors_are_errors_wherever_they_stand() {
        for text in [
            "all:x.example",
            "all/8",
            "include",
            "include:",
            "a:",
            "a/33",
            "a/024",
            "a//129",
            "a/",
            "a:x.example/",
            "mx:1.2.3.4",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4/",
            "ip6:::1/129",
            "exists",
            "ptr:",
            "ptr/8",
            "moo",
            "moo:x",
            "a.x.example",
            "=x",
            "1x=y",
            "redirect=",
            "exp=a.com exp=a.com",
            "redirect=a.com REDIRECT=a.com",
            "x=%{z}",
            "a:\t",
        ] {
            assert!(parse(format!("v=spf1 -all {text}").as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"v=spf1 -\xe9ll").is_err());
    }
}
