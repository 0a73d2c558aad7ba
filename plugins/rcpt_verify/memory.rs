//! What is remembered of recipients, and how often the servers were asked.

use std::time::Duration;

use super::arguments::Arguments;
use crate::hook::Session;
use crate::mail::Address;
use crate::net::Endpoint;
use crate::plugins::limit::rate::{Mark, Rate};
use crate::store::{Keep, Kept, Put, Table, network};

/// The table of the store.
pub(super) const NAME: &str = "rcpt_verify";

/// The keys of what is no recipient begin as no recipient does that is asked about.
const OUTAGE: &str = "@outage";
const PROBES: &str = "@probes";

/// How long no server is asked after none could be used.
const REST: Duration = Duration::from_secs(10);

const KNOWN: &str = "known";
const UNKNOWN: &str = "unknown";

/// What the plugin remembers.  While it is not available, nothing is.
pub(super) struct Memory {
    table: Table,
    outage: String,
}

impl Memory {
    /// That of these servers.
    pub(super) fn of(session: &Session, servers: &[Endpoint]) -> Memory {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        Memory { table: session.store(NAME), outage: format!("{OUTAGE} {}", servers.join(" ")) }
    }

    /// Is there such a recipient?  None: that is not remembered.
    pub(super) fn known(&self, recipient: &Address) -> Option<bool> {
        let value: String = self.table.get(recipient.key()).ok()??;
        match value.split(' ').next() {
            Some(KNOWN) => Some(true),
            Some(UNKNOWN) => Some(false),
            _ => None,
        }
    }

    /// Remembers for `time` that a recipient is there, or in what words it is not.
    pub(super) fn note(&self, recipient: &Address, is_not: Option<&str>, time: Duration) {
        let value = is_not.map_or_else(|| KNOWN.to_owned(), |words| format!("{UNKNOWN} {words}"));
        let value: String = value.chars().take(200).collect();
        if !time.is_zero() {
            // The log is told by the store; the server will be asked again.
            let _ = self.table.put(recipient.key(), value, time);
        }
    }

    /// Why no server could be used a moment ago.
    pub(super) fn outage(&self) -> Option<String> {
        self.table.get(&self.outage).ok()?
    }

    /// No server can be used.
    pub(super) fn note_outage(&self, why: &str) {
        let _ = self.table.put(&self.outage, why, REST);
    }

    /// Counts a question for the client of `session`; where there were too many: whose.
    pub(super) fn limit(&self, arguments: &Arguments, session: &Session) -> Option<String> {
        let client = network(session.connection.remote_ip);
        let by_client = arguments.probes_by_client.as_ref();
        if by_client.is_some_and(|rate| self.is_over(&format!("{PROBES} {client}"), rate)) {
            return Some(format!("of {client}"));
        }
        let all = arguments.probes.as_ref();
        all.is_some_and(|rate| self.is_over(PROBES, rate)).then(|| "in all".to_owned())
    }

    fn is_over(&self, key: &str, rate: &Rate) -> bool {
        let now = self.table.now();
        let counted = self.table.update(key, |mark: Option<Mark>| {
            // A mark from before the clock was set back is none.
            let mark = mark.filter(|mark| !rate.is_ahead(*mark, now));
            match rate.take(mark, 1, now) {
                Ok(mark) => (Put(mark, Rate::keep(mark, now)), false),
                Err(_) => (Keep, true),
            }
        });
        counted.unwrap_or(false)
    }
}

/// For `qpsmtpd --store explain rcpt_verify`.
pub(super) fn explain(kept: &Kept) -> String {
    let (key, left) = (&kept.key, kept.left.as_secs());
    let (word, rest) = kept.value.split_once(' ').unwrap_or((&kept.value, ""));
    let of = |what: &str| key.strip_prefix(what).map(str::trim);
    if let Some(servers) = of(OUTAGE) {
        return format!("{}; {servers} not asked for {left} s", kept.value);
    }
    match (of(PROBES), word) {
        (Some(""), _) => format!("questions in all; forgotten in {left} s"),
        (Some(client), _) => format!("questions for {client}; forgotten in {left} s"),
        (_, KNOWN) => format!("known; asked again after {left} s"),
        (_, UNKNOWN) => format!("unknown: {rest}; asked again after {left} s"),
        _ => "none of this version".into(),
    }
}
