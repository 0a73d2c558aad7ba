//! Where a server listens.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A port of a host.
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        /// The port's number.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `host`, `host:port`, `[address]:port`, an address, or `/path`.  `default` is the port
    /// where there is none; without it there has to be one.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(word: &str, default: Option<u16>) -> Result<Endpoint> {
        let wrong = || Error::new(format!("Bad data in server: {word}"));
        if word.starts_with('/') {
            return Ok(Endpoint::Unix(word.into()));
        }
        let (host, port) = match word.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(wrong)?)),
            None if word.matches(':').count() == 1 => {
                word.split_once(':').map(|(host, port)| (host, Some(port))).ok_or_else(wrong)?
            }
            None => (word, None),
        };
        if !is_host(host) {
            return Err(wrong());
        }
        let port = match port {
            Some(port) => parse_port(port)?,
            None => default.ok_or_else(|| Error::new(format!("no port in '{word}'")))?,
        };
        Ok(Endpoint::Tcp { host: host.to_owned(), port })
    }
}

/// A port: a number from 1 to 65535.
///
/// # Errors
/// It is no such number.
pub(crate) fn parse_port(text: &str) -> Result<u16> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| Error::new(format!("not a port: '{text}'")))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn is_host(host: &str) -> bool {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (!host.is_empty() && host.bytes().all(is_name)) || host.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_shown() {
        for (word, shown) in [
            ("mx.example", "mx.example:25"),
            ("192.0.2.1:26", "192.0.2.1:26"),
            ("[::1]:26", "[::1]:26"),
            ("[::1]", "[::1]:25"),
            ("2001:db8::1", "[2001:db8::1]:25"),
            ("/run/lmtp", "/run/lmtp"),
        ] {
            assert_eq!(Endpoint::parse(word, Some(25)).unwrap().to_string(), shown);
        }
        assert_eq!(Endpoint::parse("mx", None).unwrap_err().to_string(), "no port in 'mx'");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for word in
            ["", "a b", "a@b", "a:", "a:x", "a:0", "a:65536", ":25", "[::1]25", "[x:y]", "a:1:2"]
        {
            assert!(Endpoint::parse(word, Some(25)).is_err(), "{word}");
        }
    }
}
