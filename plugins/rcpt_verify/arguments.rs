//! What the arguments say.

use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::forward::{Backend, Kept, Protocol};
use crate::hook::Args;
use crate::mail::{Address, entries};
use crate::net::{Endpoint, Security};
use crate::plugins::limit::rate::{self, Rate};

/// How long a question may take where the argument timeout does not say.
const TIMEOUT: u64 = 30;

/// What the arguments say beside who is asked.
pub(super) struct Arguments {
    /// Our domains that the servers know; none is all of them.
    domains: Vec<String>,
    pub(super) from: Address,
    /// How long what was said is remembered.
    pub(super) known: Duration,
    pub(super) unknown: Duration,
    /// None is no limit.
    pub(super) probes: Option<Rate>,
    pub(super) probes_by_client: Option<Rate>,
    pub(super) passes_over_limit: bool,
    pub(super) timeout: Duration,
}

impl Arguments {
    /// Is it a domain that the servers know?
    pub(super) fn covers(&self, host: &str) -> bool {
        let fits = |domain: &String| match domain.starts_with('.') {
            true => host.ends_with(domain.as_str()),
            false => host == domain,
        };
        self.domains.is_empty() || self.domains.iter().any(fits)
    }
}

/// Reads them: who is asked, and everything else.
///
/// # Errors
/// One is missing, not known, or has a value that it cannot have.
pub(super) fn read(args: &Args, config: &Config) -> Result<(Backend, Arguments)> {
    let mut rest = args.clone();
    let domains = domains(args, &mut rest)?;
    let mut take = |name: &str| rest.take_named(name);
    let from = take("from")?.map_or_else(|| Ok(Address::null()), |word| address(&word))?;
    let known = time("known", take("known")?, "1d")?;
    let unknown = time("unknown", take("unknown")?, "1h")?;
    let probes = rate("probes", take("probes")?, "300/1m")?;
    let probes_by_client = rate("probes_by_client", take("probes_by_client")?, "30/1m")?;
    let passes_over_limit = match take("over_limit")?.as_deref() {
        None | Some("tempfail") => false,
        Some("pass") => true,
        Some(word) => return Err(Error::value("over_limit", word, "tempfail, pass")),
    };
    let timeout = Duration::from_secs(args.parsed("timeout", TIMEOUT)?);
    let arguments = Arguments {
        domains,
        from,
        known,
        unknown,
        probes,
        probes_by_client,
        passes_over_limit,
        timeout,
    };
    Ok((backend(&rest, config)?, arguments))
}

fn backend(args: &Args, config: &Config) -> Result<Backend> {
    let mut words = args.positional();
    let security = Security::take(&mut words, config)?;
    let mut words = words.into_iter();
    let (protocol, port) = match words.next() {
        Some("lmtp") => (Protocol::Lmtp, None),
        Some("smtp") => (Protocol::Smtp, Some(security.port())),
        Some(word) => return Err(Error::unknown("protocol", word, &["lmtp", "smtp"])),
        None => return Err(Error::new("argument missing: lmtp or smtp, and the server")),
    };
    let endpoints: Vec<_> = words.map(|word| Endpoint::parse(word, port)).collect::<Result<_>>()?;
    if endpoints.is_empty() {
        return Err(Error::new("argument missing: the server"));
    }
    security.check(&endpoints)?;
    let (xclient, dsn, kept) = (false, false, Kept::default());
    Ok(Backend { endpoints, protocol, xclient, dsn, security, kept })
}

/// Takes all of them out of `rest`.
fn domains(args: &Args, rest: &mut Args) -> Result<Vec<String>> {
    let words: Vec<&str> = args.all_named("domain").collect();
    rest.take_named("domain")?;
    words.into_iter().map(|word| entries::domain(word).map_err(Error::new)).collect()
}

fn address(word: &str) -> Result<Address> {
    let bare = word.trim_start_matches('<').trim_end_matches('>');
    let wrong = || Error::value("from", word, "an address, or <> for the null sender");
    Address::parse(&format!("<{bare}>")).map_err(|_| wrong())
}

/// `0` is no time.
fn time(name: &str, word: Option<String>, default: &str) -> Result<Duration> {
    let word = word.unwrap_or_else(|| default.to_owned());
    let time = if word == "0" { Some(Duration::ZERO) } else { rate::duration(&word) };
    time.ok_or_else(|| Error::value(name, &word, "a time such as 30m, 2h, 7d, or 0"))
}

fn rate(name: &str, word: Option<String>, default: &str) -> Result<Option<Rate>> {
    let word = word.unwrap_or_else(|| default.to_owned());
    if word == "unlimited" {
        return Ok(None);
    }
    Rate::parse(&word, None).map(Some).map_err(|why| Error::new(format!("argument {name}: {why}")))
}
