//! SPF: may this client send mail for that domain (RFC 7208)?

use std::net::IpAddr;

use crate::dns::{Dns, Kind, Question};

mod domain;
mod evaluate;
mod macros;
mod record;
#[cfg(test)]
mod tests;

/// The most terms of a record that ask the domain name system, all records that it leads to
/// included (RFC 7208 4.6.4).
pub const MOST_TERMS: u32 = 10;

/// The most questions of terms that may find nothing (RFC 7208 4.6.4).
pub const MOST_VOIDS: u32 = 2;

/// Who asks to send what.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// What it said in HELO or EHLO.
    pub helo: &'a str,
    /// The reverse-path; without a local part, or empty, it is postmaster at the domain.
    pub sender: &'a str,
    /// Our own name, for explanations.
    pub receiver: &'a str,
    /// Seconds since 1970, for explanations.
    pub now: u64,
}

/// The results of RFC 7208 2.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// There is no record, or no domain that could have one.
    None,
    /// The domain does not say.
    Neutral,
    /// The client may.
    Pass,
    /// The client may not.
    Fail,
    /// The client probably may not.
    SoftFail,
    /// Nobody knows at the moment.
    TempError,
    /// The record cannot be understood.
    PermError,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The result.
    pub outcome: Outcome,
    /// The domain's own words about a failure, if it has some.
    pub explanation: Option<String>,
    /// What decided: the directive that matched, or what went wrong.
    pub reason: String,
}

impl Outcome {
    /// The result as it stands in Received-SPF and Authentication-Results.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Neutral => "neutral",
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::SoftFail => "softfail",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        }
    }
}

/// Asks at once for the records of the reverse-path's domain and of the name in HELO, so that the
/// two checks find them in the memory of the session.
pub fn ask_ahead(dns: &dyn Dns, query: &Query<'_>) {
    let sender = query.sender.rsplit_once('@').map(|(_, domain)| domain);
    let domains = [Some(query.helo), sender];
    let questions: Vec<Question> = domains
        .into_iter()
        .flatten()
        .filter(|domain| domain.contains('.'))
        .map(|domain| Question::new(domain, Kind::Txt))
        .collect();
    dns.ask(&questions);
}

/// Checks the domain of the reverse-path (RFC 7208 2.4); of HELO, where the reverse-path is empty.
pub fn check_sender(dns: &dyn Dns, query: &Query<'_>) -> Finding {
    match query.sender.rsplit_once('@') {
        Some((local_part, domain)) => evaluate::check(dns, query, local_part, domain),
        None => check_helo(dns, query),
    }
}

/// Checks the name that the client gave in HELO (RFC 7208 2.3).
pub fn check_helo(dns: &dyn Dns, query: &Query<'_>) -> Finding {
    evaluate::check(dns, query, "", query.helo)
}
