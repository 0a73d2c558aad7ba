//! What the arguments say.

use std::time::Duration;

use super::macros::Wishes;
use super::packet::VERSIONS;
use crate::error::{Error, Result};
use crate::hook::Args;
use crate::net::{Endpoint, parse_port};

/// What the arguments say.
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
    pub(super) connect: Duration,
    pub(super) command: Duration,
    pub(super) content: Duration,
    pub(super) version: u32,
    pub(super) keeps: bool,
    pub(super) wishes: Wishes,
}

pub(super) fn read(args: &Args) -> Result<Filter> {
    let mut rest = args.clone();
    let mut seconds = |name: &str, default: u64| -> Result<Duration> {
        match rest.take_named(name)?.map(|word| (word.parse::<u64>(), word)) {
            None => Ok(Duration::from_secs(default)),
            Some((Ok(count @ 1..), _)) => Ok(Duration::from_secs(count)),
            Some((_, word)) => {
                Err(Error::value(name, word.as_str(), "a number of seconds, at least 1"))
            }
        }
    };
    let connect = seconds("connect_timeout", 30)?;
    let command = seconds("command_timeout", 30)?;
    let content = seconds("content_timeout", 300)?;
    let known = VERSIONS.map(|version| (version.to_string(), version));
    let known: Vec<_> = known.iter().map(|(word, version)| (word.as_str(), *version)).collect();
    let version = rest.one_of("protocol", &known, 6)?;
    let keeps = rest.flag("keep", false)?;
    let mut wishes = Wishes::default();
    for word in args.all_named("macro") {
        wishes.set(word).map_err(|why| Error::value("macro", word, why))?;
    }
    for word in args.all_named("macros") {
        wishes.add_names(word).map_err(|why| Error::value("macros", word, why))?;
    }
    for name in ["protocol", "keep", "macro", "macros"] {
        rest.take_named(name)?;
    }
    rest.at_most(2)?;
    let name = rest.required(0, "a name for the filter")?.to_owned();
    let endpoint = endpoint(rest.required(1, "where the filter listens")?)?;
    Ok(Filter { name, endpoint, connect, command, content, version, keeps, wishes })
}

/// An address as Postfix, libmilter or Perl qpsmtpd write it.
pub(super) fn endpoint(word: &str) -> Result<Endpoint> {
    for kind in ["unix:", "local:"] {
        if let Some(path) = word.strip_prefix(kind) {
            return match path.starts_with('/') {
                true => Ok(Endpoint::Unix(path.into())),
                false => Err(Error::new(format!("not a path that begins with /: '{path}'"))),
            };
        }
    }
    let inet = word.strip_prefix("inet:").or_else(|| word.strip_prefix("inet6:"));
    let place = inet.unwrap_or(word);
    if let Some((port, host)) = place.split_once('@') {
        let port = parse_port(port)?;
        let host = host.trim_matches(['[', ']']);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        return Endpoint::parse(&host, Some(port));
    }
    if place.bytes().all(|octet| octet.is_ascii_digit()) && !place.is_empty() {
        return Ok(Endpoint::Tcp { host: "127.0.0.1".into(), port: parse_port(place)? });
    }
    Endpoint::parse(place, None)
}
