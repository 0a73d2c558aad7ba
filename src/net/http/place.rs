//! URLs of web servers.

use ureq::http::Uri;

use crate::error::{Error, Result};

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The URL, with a port and a path.
    pub(crate) url: String,
    /// Its host and port.
    pub(crate) shown: String,
}

impl Place {
    /// Reads a URL that begins with http:// or https://.
    ///
    /// # Errors
    /// It is none, or has a user name or a fragment.
    pub(crate) fn parse(url: &str) -> Result<Place> {
        let schemes = [("http://", 80u16), ("https://", 443)];
        let found = schemes
            .iter()
            .find_map(|(scheme, port)| Some((*scheme, url.strip_prefix(scheme)?, *port)));
        let (scheme, rest, default) = found.ok_or_else(|| {
            Error::new(format!("'{url}' is not a URL that begins with http:// or https://"))
        })?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let wrong = |why: &str| Error::new(format!("a URL {why}"));
        if authority.contains('@') {
            return Err(wrong("cannot have a user name"));
        }
        if path.contains('#') {
            return Err(wrong("cannot have a '#'"));
        }
        let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after_bracket..].rfind(':') {
            Some(at) => authority.split_at(after_bracket + at),
            None => (authority, ""),
        };
        let port = match port.trim_start_matches(':') {
            "" => default,
            port => port.parse().map_err(|_| wrong(&format!("cannot have the port '{port}'")))?,
        };
        if host.is_empty() {
            return Err(wrong("needs a host"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let shown = format!("{host}:{port}");
        let url = format!("{scheme}{shown}{path}");
        url.parse::<Uri>().map_err(|error| wrong(&format!("cannot be '{url}': {error}")))?;
        Ok(Place { url, shown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, whole, shown) in [
            ("http://a.test", "http://a.test:80/", "a.test:80"),
            ("https://a.test", "https://a.test:443/", "a.test:443"),
            ("http://a.test:8080/x/", "http://a.test:8080/x/", "a.test:8080"),
            ("http://[::1]/", "http://[::1]:80/", "[::1]:80"),
            ("https://[::1]:81?n=", "https://[::1]:81/?n=", "[::1]:81"),
        ] {
            let place = Place::parse(url).unwrap();
            assert_eq!((&*place.url, &*place.shown), (whole, shown), "{url}");
        }
    }
}
