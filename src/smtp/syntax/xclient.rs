//! The argument of XCLIENT: attributes with values in xtext (RFC 3461 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::mail::xtext::{self, Reading};

/// The most octets of a name: what a line of EHLO can have.
const LONGEST: usize = 512;

/// What there is in the place of a value that the client does not know.
const UNKNOWN: [&str; 2] = ["[UNAVAILABLE]", "[TEMPUNAVAIL]"];

/// What was said so far of the one in whose name the client speaks.  None: nothing was said;
/// `Some(None)`: that it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    pub(crate) host: Option<Option<String>>,
    pub(crate) ip: Option<Option<IpAddr>>,
    pub(crate) port: Option<Option<u16>>,
    pub(crate) hello: Option<Option<String>>,
    pub(crate) login: Option<Option<String>>,
    pub(crate) local_ip: Option<Option<IpAddr>>,
    pub(crate) local_port: Option<Option<u16>>,
}

/// Notes a decoded value, None for one that is not known.  None: the value is malformed.
type Set = fn(&mut Attributes, Option<&str>) -> Option<()>;

/// The attributes, in the order in which EHLO names them.
const ATTRIBUTES: [(&str, Set); 8] = [
    ("NAME", |said, value| note(&mut said.host, value, host)),
    ("ADDR", |said, value| note(&mut said.ip, value, ip)),
    ("PORT", |said, value| note(&mut said.port, value, port)),
    // The greeting that has to follow says it again.
    ("PROTO", |_, value| note(&mut None, value, protocol)),
    ("HELO", |said, value| note(&mut said.hello, value, word)),
    ("LOGIN", |said, value| note(&mut said.login, value, word)),
    ("DESTADDR", |said, value| note(&mut said.local_ip, value, ip)),
    ("DESTPORT", |said, value| note(&mut said.local_port, value, port)),
];

/// The names of the attributes, for EHLO.
pub fn names() -> String {
    ATTRIBUTES.map(|(name, _)| name).join(" ")
}

/// Reads `NAME=value ...`.
///
/// # Errors
/// What is wrong, for the client.
pub fn parse(argument: &str, said: &mut Attributes) -> Result<(), String> {
    if argument.is_empty() {
        return Err("Syntax error, XCLIENT attribute=value ...".into());
    }
    for word in argument.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let Some((name, set)) =
            ATTRIBUTES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
        else {
            return Err("Syntax error, unknown attribute of XCLIENT".into());
        };
        let malformed = || format!("Syntax error in the attribute {name} of XCLIENT");
        let value = match UNKNOWN.iter().any(|unknown| unknown.eq_ignore_ascii_case(value)) {
            true => None,
            false => Some(decoded(value).ok_or_else(malformed)?),
        };
        set(said, value.as_deref()).ok_or_else(malformed)?;
    }
    Ok(())
}

/// Decodes xtext (RFC 3461 4); None: it is malformed, or has control characters in it.
fn decoded(text: &str) -> Option<String> {
    let octets = xtext::decoded(text, Reading::Lenient)?;
    String::from_utf8(octets).ok().filter(|text| !text.chars().any(char::is_control))
}

fn note<T>(
    place: &mut Option<Option<T>>,
    value: Option<&str>,
    read: fn(&str) -> Option<T>,
) -> Option<()> {
    *place = Some(match value {
        Some(value) => Some(read(value)?),
        None => None,
    });
    Some(())
}

fn host(value: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    word(value).filter(|host| host.bytes().all(fits))
}

fn word(value: &str) -> Option<String> {
    (1..=LONGEST).contains(&value.len()).then(|| value.to_owned())
}

fn ip(value: &str) -> Option<IpAddr> {
    match value.get(..5) {
        Some(prefix) if prefix.eq_ignore_ascii_case("IPV6:") => {
            value[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => value.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn port(value: &str) -> Option<u16> {
    value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse().ok())?
}

fn protocol(value: &str) -> Option<()> {
    ["SMTP", "ESMTP"].iter().any(|known| known.eq_ignore_ascii_case(value)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(argument: &str) -> Result<Attributes, String> {
        let mut said = Attributes::default();
        parse(argument, &mut said).map(|()| said)
    }

    #[test]
    fn attributes_are_read_in_any_case_and_decoded() {
        let said = read(
            "NAME=mx.example addr=192.0.2.7 Port=4000 PROTO=esmtp HELO=a+20b+2B=+c3+A4 \
             LOGIN=me@example.net DESTADDR=ipv6:2001:db8::1 DESTPORT=25",
        );
        let want = Attributes {
            host: Some(Some("mx.example".into())),
            ip: Some(Some([192, 0, 2, 7].into())),
            port: Some(Some(4000)),
            hello: Some(Some("a b+=\u{e4}".into())),
            login: Some(Some("me@example.net".into())),
            local_ip: Some(Some("2001:db8::1".parse().unwrap())),
            local_port: Some(Some(25)),
        };
        assert_eq!(said, Ok(want));
    }

    #[test]
    fn what_is_not_known_is_said_so() {
        let all = names().replace(' ', "=[UNAVAILABLE] ") + "=[tempunavail]";
        let want = Attributes {
            host: Some(None),
            ip: Some(None),
            port: Some(None),
            hello: Some(None),
            login: Some(None),
            local_ip: Some(None),
            local_port: Some(None),
        };
        assert_eq!(read(&all), Ok(want));
        assert_eq!(read("PROTO=SMTP"), Ok(Attributes::default()));
    }

    #[test]
    fn nothing_odd_gets_through() {
        let long = format!("LOGIN={}", "x".repeat(LONGEST + 1));
        for argument in [
            "",
            "ADDR",
            "ADDR=",
            "ADDR=[unknown]",
            "ADDR=192.0.2.256",
            "ADDR=2001:db8::1",
            "ADDR=IPV6:192.0.2.7",
            "DESTADDR=host",
            "PORT=65536",
            "PORT=+2B1",
            "PORT=-1",
            "DESTPORT=",
            "PROTO=LMTP",
            "NAME=a+20b",
            "NAME=",
            "HELO=a+0D+0ARSET",
            "HELO=a+00",
            "HELO=+7F",
            "HELO=+C2+85",
            "HELO=+FF",
            "HELO=+",
            "HELO=+2",
            "HELO=+2G",
            "HELO=\u{e4}",
            "LOGIN=me+0A",
            "TYPE=x",
            "=x",
            &long,
        ] {
            assert!(read(argument).is_err(), "{argument}");
        }
    }
}
