//! Names of hosts: what is one, and which two are the same.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::AsciiDenyList;

/// The longest domain or address literal, in octets (RFC 5321 4.5.3.1.2).
const MAX_HOST: usize = 255;

/// The one spelling of a host by which hosts are compared.
///
/// That is lower case without a dot at the end, A-labels in the place of U-labels
/// (RFC 5890 2.3.2.4), and one form of each address literal (RFC 5321 4.1.3): `[192.0.2.1]`, which
/// is `[IPv6:::ffff:192.0.2.1]`, too, or `[ipv6:2001:db8::1]`.  A name that cannot be turned into
/// A-labels is only put into lower case.  A dot in front, as lists have it, stays.
pub fn canonical(host: &str) -> Cow<'_, str> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if let Some(literal) = name.strip_prefix('[') {
        return literal_form(literal).unwrap_or_else(|| name.to_lowercase()).into();
    }
    match name.is_ascii() {
        true if !name.bytes().any(|octet| octet.is_ascii_uppercase()) => name.into(),
        true => name.to_ascii_lowercase().into(),
        false => {
            let found = idna::domain_to_ascii_cow(name.as_bytes(), AsciiDenyList::EMPTY);
            found.map_or_else(|_| name.to_lowercase(), Cow::into_owned).into()
        }
    }
}

/// Whether two names are of the same host.
pub fn same(one: &str, other: &str) -> bool {
    one == other || canonical(one) == canonical(other)
}

/// The host with U-labels in the place of A-labels, as people write it.
pub fn unicode(host: &str) -> Cow<'_, str> {
    let name = canonical(host);
    match name.contains("xn--") {
        true => idna::domain_to_unicode(&name).0.into(),
        false => name,
    }
}

/// A text `user@host` as [`Address::key`](super::Address::key) has it; one without a host is put
/// into lower case.
pub fn address_key(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((user, host)) => format!("{}@{}", user.to_lowercase(), canonical(host)),
        None => text.to_lowercase(),
    }
}

/// Whether this is a domain or an address literal with its square brackets (RFC 5321 4.1.2, 4.1.3).
pub(crate) fn is_host(host: &str) -> bool {
    host.len() <= MAX_HOST
        && match host.strip_prefix('[') {
            Some(literal) => literal.strip_suffix(']').is_some_and(is_literal),
            None => !host.starts_with('_') && host.split('.').all(is_label),
        }
}

fn is_label(label: &str) -> bool {
    // The underscore is in no host name of RFC 1123, but in the names of real hosts.
    let allowed = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '-' | '_')
            || (is_international(c) && !c.is_whitespace() && c != char::REPLACEMENT_CHARACTER)
    };
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(allowed)
}

/// The inside of an address literal (RFC 5321 4.1.3).
fn is_literal(literal: &str) -> bool {
    match literal.split_once(':') {
        None => literal.parse::<Ipv4Addr>().is_ok(),
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => {
            address.parse::<Ipv6Addr>().is_ok()
        }
        // An IPv6 address without its tag is a mistake, not a literal of another family.
        Some(_) if literal.parse::<Ipv6Addr>().is_ok() => false,
        Some((tag, content)) => is_tag(tag) && !content.is_empty() && content.chars().all(is_dtext),
    }
}

fn is_tag(tag: &str) -> bool {
    tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && tag.ends_with(|c: char| c != '-')
}

/// RFC 5321 dcontent, without the angle brackets that would confuse the next reader of the path.
fn is_dtext(c: char) -> bool {
    matches!(c, '!'..='Z' | '^'..='~') && !matches!(c, '<' | '>')
}

/// A character outside ASCII that is text. The C1 controls are not: terminals obey them.
pub(super) fn is_international(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

/// The form of a literal without its first bracket; None for one that has no address in it.
fn literal_form(literal: &str) -> Option<String> {
    let inside = literal.strip_suffix(']')?;
    let address = match inside.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address,
        _ => inside,
    };
    Some(match address.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[ipv6:{address}]"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_the_same() {
        for spellings in [
            &["example.com", "Example.COM", "example.com.", "EXAMPLE.com."][..],
            &[
                "xn--bcher-kva.example",
                "XN--BCHER-KVA.example",
                "b\u{fc}cher.example",
                "B\u{dc}CHER.Example.",
                "bu\u{308}cher.example",
                "b\u{fc}cher\u{3002}example",
            ],
            &[".xn--bcher-kva.example", ".B\u{fc}cher.example"],
            &["stra\u{df}e.example", "xn--strae-oqa.example"],
            &["[192.0.2.1]", "[IPv6:::ffff:192.0.2.1]", "[ipv6:::FFFF:c000:201]"],
            &["[IPv6:2001:DB8::1]", "[ipv6:2001:db8:0:0:0:0:0:1]", "[2001:db8::1]"],
            &["my_host.test", "MY_HOST.test"],
            &["[x-tag:Text]", "[X-TAG:text]"],
            &["_\u{fc}-.example", "_\u{dc}-.example"],
            &["", "."],
        ] {
            for one in spellings {
                assert!(spellings.iter().all(|other| same(one, other)), "{one}: {spellings:?}");
                let name = canonical(one);
                assert_eq!(canonical(&name), name, "{one}");
            }
        }
        for (one, other) in [
            ("example.com", "www.example.com"),
            ("example.com", ".example.com"),
            ("example.com", "example.com.."),
            ("strasse.example", "stra\u{df}e.example"),
            ("[192.0.2.1]", "192.0.2.1"),
            ("[192.0.2.1]", "[192.0.2.10]"),
            ("", "example.com"),
        ] {
            assert!(!same(one, other), "{one}, {other}");
        }
    }

    #[test]
    fn a_plain_name_is_not_copied() {
        for name in ["example.com", "xn--bcher-kva.example", ".example.com"] {
            assert!(matches!(canonical(name), Cow::Borrowed(_)), "{name}");
        }
    }

    #[test]
    fn people_see_u_labels() {
        assert_eq!(unicode("XN--BCHER-KVA.example"), "b\u{fc}cher.example");
        assert_eq!(unicode("Example.com"), "example.com");
        assert_eq!(address_key("Bob@B\u{fc}cher.Example."), "bob@xn--bcher-kva.example");
        assert_eq!(address_key("Bob"), "bob");
    }
}
