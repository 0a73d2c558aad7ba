//! Where a server listens.

use std::fmt;
use std::iter::Peekable;
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

impl Endpoint {
    /// Takes the next server of `words`, with its port in the same word or in one of its own: `host`,
    /// `host port`, `host:port`, or `/path`.  None: there are no more words.
    ///
    /// # Errors
    /// As [`Endpoint::parse`].
    pub(crate) fn take<'a>(
        words: &mut Peekable<impl Iterator<Item = &'a str>>,
        default: Option<u16>,
    ) -> Result<Option<Endpoint>> {
        let Some(word) = words.next() else { return Ok(None) };
        let is_number = |word: &&str| word.bytes().all(|b| b.is_ascii_digit());
        let has_port = Endpoint::parse(word, None).is_ok();
        let port = words.next_if(|word| !has_port && is_number(word)).map(parse_port);
        Endpoint::parse(word, port.transpose()?.or(default)).map(Some)
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
    fn a_port_may_be_a_word_of_its_own() {
        let taken = |line: &str| {
            let mut words = line.split(' ').peekable();
            let mut shown = vec![];
            while let Some(endpoint) = Endpoint::take(&mut words, Some(24))? {
                shown.push(endpoint.to_string());
            }
            Result::Ok(shown)
        };
        for (line, want) in [
            ("mx 26", &["mx:26"][..]),
            ("mx:26 [::1]:27 ::1 28", &["mx:26", "[::1]:27", "[::1]:28"]),
            ("mx /run/s 192.0.2.1", &["mx:24", "/run/s", "192.0.2.1:24"]),
            // A number is a name where there is a port already.
            ("mx:26 27", &["mx:26", "27:24"]),
        ] {
            assert_eq!(taken(line).unwrap(), want, "{line}");
        }
        assert_eq!(taken("mx 0").unwrap_err().to_string(), "not a port: '0'");
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
