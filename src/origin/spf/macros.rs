//! Domain names and texts with macros in them (RFC 7208 7).

use std::net::IpAddr;

/// A text with macros, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Macro { letter: Letter, escaped: bool, keep: Option<usize>, reversed: bool, split: String },
}

/// What a macro stands for (RFC 7208 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letter {
    /// `s`: the sender.
    Sender,
    /// `l`: the sender's local part.
    LocalPart,
    /// `o`: the sender's domain.
    SenderDomain,
    /// `d`: the domain whose record is at work.
    Domain,
    /// `i`: the client's address, its parts between dots.
    Address,
    /// `p`: the client's name, if it has one that leads back to its address.
    Name,
    /// `v`: `in-addr` or `ip6`.
    Family,
    /// `h`: what the client said in HELO.
    Helo,
    /// `c`: the client's address, to be read by people.  In explanations only.
    ReadableAddress,
    /// `r`: our own name.  In explanations only.
    Receiver,
    /// `t`: seconds since 1970.  In explanations only.
    Time,
}

const LETTERS: &[(u8, Letter)] = &[
    (b's', Letter::Sender),
    (b'l', Letter::LocalPart),
    (b'o', Letter::SenderDomain),
    (b'd', Letter::Domain),
    (b'i', Letter::Address),
    (b'p', Letter::Name),
    (b'v', Letter::Family),
    (b'h', Letter::Helo),
    (b'c', Letter::ReadableAddress),
    (b'r', Letter::Receiver),
    (b't', Letter::Time),
];

const DELIMITERS: &[u8] = b".-+,/_=";

impl Template {
    /// Takes the text of an explanation apart: blanks may stand in it, and every macro.
    ///
    /// # Errors
    ///
    /// A text that is none by RFC 7208 7.1; the error says where it goes wrong.
    pub(super) fn explanation(text: &str) -> Result<Template, String> {
        parse(text, true)
    }

    /// Takes a macro-string apart (RFC 7208 7.1).
    ///
    /// # Errors
    ///
    /// As [`Template::explanation`], and a macro that only explanations may have, or a blank.
    pub(super) fn macro_string(text: &str) -> Result<Template, String> {
        parse(text, false)
    }

    /// Takes a domain-spec apart (RFC 7208 7.1): it ends in a macro or in a top-level label.
    ///
    /// # Errors
    ///
    /// As [`Template::macro_string`], and a wrong end.
    pub(super) fn domain_spec(text: &str) -> Result<Template, String> {
        let template = parse(text, false)?;
        let good = match template.parts.last() {
            Some(Part::Macro { .. }) => true,
            Some(Part::Text(end)) => ends_in_top_label(end),
            None => false,
        };
        if good { Ok(template) } else { Err(format!("'{text}' is not a domain name")) }
    }

    /// Does the template have that macro?
    pub(super) fn has(&self, letter: Letter) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Macro { letter: l, .. } if *l == letter))
    }

    /// Puts values in the place of the macros.
    pub(super) fn expand(&self, value: impl Fn(Letter) -> String) -> String {
        self.parts.iter().fold(String::new(), |mut text, part| {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Macro { letter, escaped, keep, reversed, split } => {
                    let value = transformed(&value(*letter), *keep, *reversed, split);
                    match escaped {
                        true => text.push_str(&url_escaped(&value)),
                        false => text.push_str(&value),
                    }
                }
            }
            text
        })
    }

    /// Puts values in the place of the macros of a domain-spec.  Labels at the front of a name
    /// that is longer than 253 octets are left out (RFC 7208 7.3).
    pub(super) fn expand_domain(&self, value: impl Fn(Letter) -> String) -> String {
        let name = self.expand(value);
        let mut name = name.strip_suffix('.').unwrap_or(&name);
        while name.len() > 253 {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => break,
            }
        }
        name.to_owned()
    }
}

/// An address as the macro `i` has it: IPv4 as usual, IPv6 as hexadecimal digits between dots.
pub(super) fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let digits: String = ip.octets().iter().map(|octet| format!("{octet:02X}")).collect();
            digits.chars().map(String::from).collect::<Vec<_>>().join(".")
        }
    }
}

fn parse(text: &str, explains: bool) -> Result<Template, String> {
    let octets = text.as_bytes();
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        at += 1;
        match (octet, octets.get(at)) {
            (b'%', Some(b'%')) => literal.push('%'),
            (b'%', Some(b'_')) => literal.push(' '),
            (b'%', Some(b'-')) => literal.push_str("%20"),
            (b'%', Some(b'{')) => {
                let (inside, _) =
                    text[at + 1..].split_once('}').ok_or(format!("'{text}' lacks a '}}'"))?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(parse_macro(inside, explains)?);
                at += inside.len() + 1;
            }
            (b'%', _) => return Err(format!("'{text}' has a '%' that does not begin a macro")),
            (b'!'..=b'~', _) => {
                literal.push(char::from(octet));
                continue;
            }
            (b' ', _) if explains => {
                literal.push(' ');
                continue;
            }
            _ => return Err("a character that is not allowed there".into()),
        }
        at += 1;
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(Template { parts })
}

/// The inside of `%{...}`: a letter, a number of parts, `r` for reversed, delimiters.
fn parse_macro(inside: &str, explains: bool) -> Result<Part, String> {
    let wrong = || format!("'%{{{inside}}}' is not a macro");
    let first = *inside.as_bytes().first().ok_or_else(wrong)?;
    let (_, letter) =
        *LETTERS.iter().find(|(name, _)| *name == first.to_ascii_lowercase()).ok_or_else(wrong)?;
    if !explains && matches!(letter, Letter::ReadableAddress | Letter::Receiver | Letter::Time) {
        return Err(format!("'%{{{inside}}}' is for explanations only"));
    }
    let rest = &inside[1..];
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let keep = match &rest[..digits] {
        "" => None,
        // A number that is too large to count parts keeps all of them.
        number => Some(number.parse().unwrap_or(usize::MAX)),
    };
    if keep == Some(0) {
        return Err(wrong());
    }
    let rest = &rest[digits..];
    let (reversed, split) = match rest.strip_prefix(['r', 'R']) {
        Some(split) => (true, split),
        None => (false, rest),
    };
    if !split.bytes().all(|octet| DELIMITERS.contains(&octet)) {
        return Err(wrong());
    }
    let split = if split.is_empty() { "." } else { split };
    Ok(Part::Macro {
        letter,
        escaped: first.is_ascii_uppercase(),
        keep,
        reversed,
        split: split.to_owned(),
    })
}

/// Splits a value, turns its parts round, keeps the last ones, joins them with dots.
fn transformed(value: &str, keep: Option<usize>, reversed: bool, split: &str) -> String {
    let mut parts: Vec<&str> = value.split(|c| split.contains(c)).collect();
    if reversed {
        parts.reverse();
    }
    let left_out = parts.len().saturating_sub(keep.unwrap_or(usize::MAX));
    parts[left_out..].join(".")
}

/// Escapes all but the characters that RFC 3986 2.3 leaves alone.
fn url_escaped(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, octet| {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(octet));
            }
            _ => text.push_str(&format!("%{octet:02X}")),
        }
        text
    })
}

/// Does a literal end a domain-spec: in a dot and a label with something besides digits in it?
fn ends_in_top_label(literal: &str) -> bool {
    let literal = literal.strip_suffix('.').unwrap_or(literal);
    let Some((_, label)) = literal.rsplit_once('.') else { return false };
    let octets = label.as_bytes();
    let inner = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
    octets.iter().all(inner)
        && octets.first().is_some_and(u8::is_ascii_alphanumeric)
        && octets.last().is_some_and(u8::is_ascii_alphanumeric)
        && octets.iter().any(|octet| !octet.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(letter: Letter) -> String {
        match letter {
            Letter::Sender => "strong-bad@email.example.com",
            Letter::LocalPart => "strong-bad",
            Letter::SenderDomain | Letter::Domain => "email.example.com",
            Letter::Address => "192.0.2.3",
            Letter::Family => "in-addr",
            _ => "other",
        }
        .to_owned()
    }

    /// The examples of RFC 7208 7.4.
    #[test]
    fn macros_are_expanded() {
        for (text, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l-}", "strong.bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{S}%%%_%-", "strong-bad%40email.example.com% %20"),
        ] {
            let template = Template::macro_string(text).unwrap();
            assert_eq!(template.expand(value), expected, "{text}");
        }
        let v6 = dotted("2001:db8::cb01".parse().unwrap());
        assert_eq!(v6, "2.0.0.1.0.D.B.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.C.B.0.1");
    }

    #[test]
    fn what_is_no_macro_is_refused() {
        for text in ["%", "%x", "%{d", "%{}", "%{q}", "%{d0}", "%{d2x}", "%{c}", "a b", "\u{e9}"] {
            assert!(Template::macro_string(text).is_err(), "{text}");
        }
        for text in ["com", "a.12", "a.-b", "a.b-", "", "a..", "%{d}x"] {
            assert!(Template::domain_spec(text).is_err(), "{text}");
        }
        for text in ["a.com", "a.com.", "a.1-2", "%{d}", "x.%{d}"] {
            assert!(Template::domain_spec(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn long_names_lose_labels_in_front() {
        let template = Template::domain_spec(&format!("{}example.com", "a.".repeat(200))).unwrap();
        let name = template.expand_domain(value);
        assert!(name.len() <= 253 && name.len() > 250 && name.ends_with("a.example.com"));
    }
}
