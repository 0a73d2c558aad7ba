//! Who is not put off: clients in files, of a country, of a kind of system.

use std::collections::{BTreeMap, HashSet};

use regex::Regex;

use crate::config::{Lines, network};
use crate::error::Error;
use crate::hook::Session;
use crate::log::Level;
use crate::mail::patterns::compile;
use crate::mail::{entries, host};
use crate::plugins::greylisting::rules::Criterion;
use crate::settings::Networks;
use crate::state::notes::NoteType;
use crate::state::{Note, Value};

/// What p0f says of the client's system.
const P0F: Note<BTreeMap<String, Value>> = Note::new("p0f");
/// The client's country, two letters.
const COUNTRY: Note<String> = Note::new("geoip_country");

/// A file of clients.
#[derive(Debug, Default)]
pub(super) struct Excluded {
    networks: Networks,
    /// Names, which mean those below them as well.
    names: HashSet<String>,
    patterns: Vec<Regex>,
}

impl Excluded {
    pub(super) fn parse(lines: &Lines, problems: &mut Vec<Error>) -> Excluded {
        let mut found = Excluded::default();
        let mut networks = vec![];
        lines.read_each(problems, |line| {
            let text = line.text.split('#').next().unwrap_or_default();
            let word: String = text.split_whitespace().collect();
            let pattern = word.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
            if word.is_empty() {
                Ok(())
            } else if let Some(pattern) = pattern {
                compile(pattern).map(|pattern| found.patterns.push(pattern))
            } else if let Some(network) = network(&word) {
                networks.push(network);
                Ok(())
            } else {
                entries::domain(&word).map_err(Error::new).map(|name| {
                    found.names.insert(name.trim_start_matches('.').to_owned());
                })
            }
        });
        found.networks = networks.into_iter().collect();
        found
    }

    /// Is the session's client one of them?  Its name is only looked up if there are names.
    pub(super) fn has_client_of(&self, session: &Session) -> bool {
        if self.networks.contains(session.connection.remote_ip) {
            return true;
        }
        if self.names.is_empty() && self.patterns.is_empty() {
            return false;
        }
        session.confirmed_host().is_some_and(|name| self.has_name(&host::canonical(&name)))
    }

    fn has_name(&self, name: &str) -> bool {
        let dots = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
        std::iter::once(name).chain(dots).any(|domain| self.names.contains(domain))
            || self.patterns.iter().any(|pattern| pattern.is_match(name))
    }
}

/// Is the client in one of the countries?
pub(super) fn is_in_country(session: &Session, countries: &[String]) -> bool {
    let country = || session.connection.notes.get(COUNTRY).unwrap_or_default();
    !countries.is_empty() && countries.iter().any(|own| own.eq_ignore_ascii_case(&country()))
}

/// Does one of the criteria fit what p0f says of the client?
pub(super) fn fits_p0f(session: &Session, criteria: &[Criterion]) -> bool {
    let Some(p0f) = session.connection.notes.get(P0F) else {
        session.log(Level::Error, "p0f info missing");
        return false;
    };
    let text = |key: &str| p0f.get(key).and_then(String::from_value);
    let number = |key: &str| text(key).and_then(|text| text.trim().parse::<f64>().ok());
    criteria.iter().any(|criterion| match criterion {
        Criterion::Fits(key, pattern) => text(key).is_some_and(|text| pattern.is_match(&text)),
        Criterion::Distance(most) => number("distance").is_some_and(|hops| hops > *most),
        Criterion::Uptime(least) => number("uptime").is_some_and(|time| time < *least),
    })
}
