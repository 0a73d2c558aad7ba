//! Where the status is served.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The word by which others than this machine may look.
const PUBLIC: &str = "public";

/// Where the status is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusPlace {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl StatusPlace {
    /// Reads `ADDRESS:PORT [public]`, `/path` or `~/path`.  An address that others can reach needs the word.
    pub(super) fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<StatusPlace> {
        let place = words.next()?;
        if place.starts_with('/') || place.starts_with("~/") {
            return words.next().is_none().then(|| StatusPlace::Unix(place.into()));
        }
        let is_public = match words.next() {
            None => false,
            Some(PUBLIC) if words.next().is_none() => true,
            Some(_) => return None,
        };
        let address: SocketAddr = place.parse().ok()?;
        let is_own = is_own(address.ip());
        (is_own || is_public).then_some(StatusPlace::Tcp(address))
    }
}

fn is_own(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_let_in_only_when_that_is_said() {
        let parse = |text: &str| StatusPlace::parse(text.split_whitespace());
        for text in ["127.0.0.1:9225", "[::1]:9225", "192.0.2.1:9225 public", "127.0.0.9:1 public"]
        {
            assert!(matches!(parse(text), Some(StatusPlace::Tcp(_))), "{text}");
        }
        for path in ["/run/status", "~/status"] {
            assert_eq!(parse(path), Some(StatusPlace::Unix(path.into())));
        }
        for text in [
            "192.0.2.1:9225",
            "0.0.0.0:9225",
            "[::]:9225",
            "9225",
            "localhost:9225",
            "",
            "/run public",
            "127.0.0.1:9225 private",
            "127.0.0.1",
            "127.0.0.1:70000",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
