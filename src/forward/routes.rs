//! Where mail for a domain goes: `config/smtproutes`, in the syntax of qmail.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use crate::config::{Line, Lines};
use crate::error::{Error, Result};
use crate::mail::host;
use crate::net::{Endpoint, parse_port};

/// The port of servers where a line names none.
pub(super) const PORT: u16 = 25;

/// Where mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hop {
    /// To the server that a line names.
    Server(Endpoint),
    /// To the mail exchangers of a domain, at that port.
    Exchangers(String, u16),
}

/// The lines of the file: by the domain, in the one form of [`host::canonical`], the server and the
/// port.
#[derive(Debug, Default)]
pub(crate) struct Routes(HashMap<String, (Option<Endpoint>, u16)>);

impl Routes {
    /// Reads the lines `DOMAIN:RELAY:PORT`.  The last one about a domain counts.
    ///
    /// # Errors
    /// The first line that is none, with its place.
    pub(crate) fn parse(lines: &Lines) -> Result<Routes> {
        let read =
            |line: &Line| route(&line.text).map_err(|why| why.or_at(&line.file, line.number));
        lines.entries().map(read).collect::<Result<_>>().map(Routes)
    }

    /// Where mail for `domain` goes: as the line about it says, else the one about the nearest domain
    /// above it that begins with a dot, else the one about the empty domain, else by MX.
    pub(crate) fn hop(&self, domain: &str) -> Hop {
        let domain = host::canonical(domain);
        let dots = domain.match_indices('.').map(|(at, _)| &domain[at..]);
        // An address has no domains above it.
        let above = dots.filter(|_| !domain.starts_with('['));
        let mut keys = std::iter::once(&*domain).chain(above).chain([""]);
        match keys.find_map(|key| self.0.get(key)) {
            Some((Some(server), _)) => Hop::Server(server.clone()),
            Some((None, port)) => Hop::Exchangers(domain.to_string(), *port),
            None => Hop::Exchangers(domain.to_string(), PORT),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hop::Server(server) => write!(f, "{server}"),
            Hop::Exchangers(domain, PORT) => write!(f, "the mail exchangers of {domain}"),
            Hop::Exchangers(domain, port) => write!(f, "the mail exchangers of {domain}, {port}"),
        }
    }
}

fn route(line: &str) -> Result<(String, (Option<Endpoint>, u16))> {
    let (domain, rest) = field(line)?;
    let rest = rest.ok_or("no colon behind the domain")?;
    let (relay, port) = field(rest)?;
    let port = port.map(str::trim).filter(|port| !port.is_empty());
    let port = port.map_or(Ok(PORT), parse_port)?;
    let (bare, relay) = (domain.strip_prefix('.').unwrap_or(domain), relay.trim());
    if !(domain.is_empty() || host::is_host(bare)) {
        return Err(Error::new(format!("not a domain: '{domain}'")));
    }
    let relay = (!relay.is_empty()).then(|| server(relay, port)).transpose()?;
    Ok((host::canonical(domain).into_owned(), (relay, port)))
}

/// What is in front of the next colon that is not in an address in square brackets, and what is
/// behind it.
fn field(text: &str) -> Result<(&str, Option<&str>)> {
    let inside = match text.starts_with('[') {
        true => text.find(']').ok_or_else(|| Error::new(format!("no ']' in '{text}'")))?,
        false => 0,
    };
    match text[inside..].find(':') {
        Some(at) => Ok((&text[..inside + at], Some(&text[inside + at + 1..]))),
        None => Ok((text, None)),
    }
}

/// A name, or an address in square brackets.
fn server(relay: &str, port: u16) -> Result<Endpoint> {
    let wrong = || Error::new(format!("not a server: '{relay}'"));
    let host = match relay.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => address(inside).ok_or_else(wrong)?.to_string(),
        None if host::is_host(relay) && relay.is_ascii() => relay.to_owned(),
        None => return Err(wrong()),
    };
    Ok(Endpoint::Tcp { host, port })
}

/// The address of a literal without its brackets, with or without the tag of RFC 5321 4.1.3.
pub(super) fn address(inside: &str) -> Option<IpAddr> {
    let tagged = inside.split_at_checked("IPv6:".len());
    let tagged = tagged.filter(|(tag, _)| tag.eq_ignore_ascii_case("IPv6:"));
    let address: IpAddr = tagged.map_or(inside, |(_, address)| address).parse().ok()?;
    Some(address.to_canonical())
}

/// For the fuzz target: any lines and a domain; what is found is a server that can be named, or the
/// exchangers of that domain.
pub(crate) fn route_any(lines: Vec<String>, domain: &str) {
    let Ok(routes) = Routes::parse(&Lines::from_values(lines)) else { return };
    match routes.hop(domain) {
        Hop::Server(server) => {
            let again = Endpoint::parse(&server.to_string(), None);
            assert_eq!(again.ok(), Some(server));
        }
        Hop::Exchangers(found, port) => {
            assert!(port > 0 && found == host::canonical(domain), "{found} {domain}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(lines: &[&str]) -> Result<Routes> {
        Routes::parse(&Lines::from_values(lines.iter().map(|line| line.to_string()).collect()))
    }

    #[test]
    fn the_nearest_line_counts() {
        let routes = routes(&[
            "example.com:mx.inside.example:2525",
            ".example.com:[192.0.2.7]",
            "by.mx.example::",
            "port.example::26",
            ".net:[IPv6:2001:db8::7]:27",
            "b\u{fc}cher.example:books.example",
            "[192.0.2.9]:literal.example",
            "twice.example:first.example",
            "TWICE.example:second.example:25",
            ":smarthost.example:587",
        ])
        .unwrap();
        for (domain, want) in [
            ("example.com", "mx.inside.example:2525"),
            ("EXAMPLE.com.", "mx.inside.example:2525"),
            ("a.example.com", "192.0.2.7:25"),
            ("b.a.example.com", "192.0.2.7:25"),
            ("notexample.com", "smarthost.example:587"),
            ("by.mx.example", "the mail exchangers of by.mx.example"),
            ("port.example", "the mail exchangers of port.example, 26"),
            ("example.net", "[2001:db8::7]:27"),
            ("net", "smarthost.example:587"),
            ("xn--bcher-kva.example", "books.example:25"),
            ("[192.0.2.9]", "literal.example:25"),
            ("[192.0.2.8]", "smarthost.example:587"),
            ("twice.example", "second.example:25"),
            ("", "smarthost.example:587"),
        ] {
            assert_eq!(routes.hop(domain).to_string(), want, "{domain}");
        }
    }

    #[test]
    fn without_a_line_it_is_by_mx() {
        let none = Routes::default();
        let hop = Hop::Exchangers("example.com".into(), 25);
        assert_eq!(none.hop("Example.Com"), hop);
    }

    #[test]
    fn what_is_no_route_is_told_with_its_place() {
        for (line, why) in [
            ("example.com", "no colon behind the domain"),
            ("example.com:mx:0", "not a port: '0'"),
            ("example.com:mx:smtp", "not a port: 'smtp'"),
            ("example.com:mx:25:more", "not a port: '25:more'"),
            ("example.com:a b", "not a server: 'a b'"),
            ("example.com:[192.0.2", "no ']' in '[192.0.2'"),
            ("example.com:[mx.example]", "not a server: '[mx.example]'"),
            ("example.com:/run/socket", "not a server: '/run/socket'"),
            ("example.com:2001:db8::1", "not a port: 'db8::1'"),
            ("*.example.com:mx", "not a domain: '*.example.com'"),
            ("..example.com:mx", "not a domain: '..example.com'"),
            ("exa mple:mx", "not a domain: 'exa mple'"),
        ] {
            let found = routes(&["fine.example:mx", line]).unwrap_err().to_string();
            assert_eq!(found, format!("config hook:2: {why}"), "{line}");
        }
    }
}
