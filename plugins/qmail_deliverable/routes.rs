//! qmail's file of routes: to which hosts the mail of domains goes.

use std::collections::HashMap;

use crate::config::Lines;
use crate::error::Error;
use crate::mail::host;

/// The host of each domain; an empty one is none.
pub(super) struct Routes(HashMap<String, String>);

impl Routes {
    /// Reads lines `DOMAIN:HOST` or `DOMAIN:HOST:PORT`, of which the port does not count.
    pub(super) fn parse(lines: &Lines, problems: &mut Vec<Error>) -> Routes {
        let mut routes = HashMap::new();
        lines.read_each(problems, |line| {
            let (domain, rest) = line.text.split_once(':').ok_or("not a route: there is no ':'")?;
            let host = match rest.strip_prefix('[') {
                Some(literal) => literal.split(']').next(),
                None => rest.split([':', ' ', '\t']).next(),
            };
            let domain = host::canonical(domain.trim()).into_owned();
            routes.insert(domain, host.unwrap_or_default().trim().to_owned());
            Ok::<_, &str>(())
        });
        Routes(routes)
    }

    /// The host for `domain`: of its own line, else of the longest domain above it, else of all.
    pub(super) fn find(&self, domain: &str) -> Option<&str> {
        let above = domain.match_indices('.').map(|(at, _)| &domain[at..]);
        let mut lines = std::iter::once(domain).chain(above).chain([""]);
        lines.find_map(|line| self.0.get(line)).map(String::as_str).filter(|host| !host.is_empty())
    }
}
