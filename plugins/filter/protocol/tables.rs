//! The tables of the filter protocol: versions, events, phases, and what a filter registers for.

use std::fmt;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// OpenSMTPD 6.6.
    V05,
    /// OpenSMTPD 6.7 to 7.0.
    V06,
    /// OpenSMTPD 7.1 and later.
    V07,
}

/// The versions with their names.
pub(crate) const VERSIONS: [(&str, Version); 3] =
    [("0.5", Version::V05), ("0.6", Version::V06), ("0.7", Version::V07)];

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(VERSIONS[*self as usize].0)
    }
}

/// What a filter is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub(crate) enum Event {
    LinkConnect,
    LinkDisconnect,
    LinkGreeting,
    LinkIdentify,
    LinkTls,
    LinkAuth,
    TxReset,
    TxBegin,
    TxMail,
    TxRcpt,
    TxEnvelope,
    TxData,
    TxCommit,
    TxRollback,
    ProtocolClient,
    ProtocolServer,
    FilterReport,
    FilterResponse,
    Timeout,
}

/// One row of the table of events.
#[derive(Debug)]
pub(crate) struct EventRow {
    pub(super) event: Event,
    /// Its name.
    pub(crate) name: &'static str,
    /// Its fields, for people, in the order of the newest version.
    #[cfg_attr(not(test), allow(dead_code))]
    fields: &'static [&'static str],
    /// The last version in which the last two fields come in the other order.
    pub(super) swapped: Option<Version>,
}

/// THE table of events.
pub(crate) const EVENTS: [EventRow; 19] = [
    event(Event::LinkConnect, "link-connect", &["rdns", "fcrdns", "src", "dest"]),
    event(Event::LinkDisconnect, "link-disconnect", &[]),
    event(Event::LinkGreeting, "link-greeting", &["hostname"]),
    event(Event::LinkIdentify, "link-identify", &["method", "identity"]),
    event(Event::LinkTls, "link-tls", &["tls-string"]),
    swapped(Event::LinkAuth, "link-auth", &["result", "username"], Version::V06),
    event(Event::TxReset, "tx-reset", &["message-id"]),
    event(Event::TxBegin, "tx-begin", &["message-id"]),
    swapped(Event::TxMail, "tx-mail", &["message-id", "result", "address"], Version::V05),
    swapped(Event::TxRcpt, "tx-rcpt", &["message-id", "result", "address"], Version::V05),
    event(Event::TxEnvelope, "tx-envelope", &["message-id", "envelope-id"]),
    event(Event::TxData, "tx-data", &["message-id", "result"]),
    event(Event::TxCommit, "tx-commit", &["message-id", "message-size"]),
    event(Event::TxRollback, "tx-rollback", &["message-id"]),
    event(Event::ProtocolClient, "protocol-client", &["command"]),
    event(Event::ProtocolServer, "protocol-server", &["response"]),
    event(Event::FilterReport, "filter-report", &["filter-kind", "name", "message"]),
    event(Event::FilterResponse, "filter-response", &["phase", "response", "param"]),
    event(Event::Timeout, "timeout", &[]),
];

const fn event(event: Event, name: &'static str, fields: &'static [&'static str]) -> EventRow {
    EventRow { event, name, fields, swapped: None }
}

const fn swapped(
    event: Event,
    name: &'static str,
    fields: &'static [&'static str],
    last: Version,
) -> EventRow {
    EventRow { event, name, fields, swapped: Some(last) }
}

/// What a filter is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub(crate) enum Phase {
    Connect,
    Helo,
    Ehlo,
    Starttls,
    Auth,
    MailFrom,
    RcptTo,
    Data,
    DataLine,
    Rset,
    Quit,
    Noop,
    Help,
    Wiz,
    Commit,
}

/// One row of the table of phases.
#[derive(Debug)]
pub(crate) struct PhaseRow {
    pub(crate) phase: Phase,
    /// Its name.
    pub(crate) name: &'static str,
    /// Its name in filter-response, where OpenSMTPD has another one.
    told: &'static str,
    /// Its fields, for people, and what `rewrite` puts something else in the place of.
    #[cfg_attr(not(test), allow(dead_code))]
    fields: &'static str,
    #[cfg_attr(not(test), allow(dead_code))]
    rewrites: &'static str,
    /// The command that is asked about, where that has no hook of its own.
    pub(crate) verb: &'static str,
}

/// THE table of phases.
pub(crate) const PHASES: [PhaseRow; 15] = [
    PhaseRow { told: "connected", ..phase(Phase::Connect, "connect", "rdns, src", "", "") },
    phase(Phase::Helo, "helo", "identity", "identity", ""),
    phase(Phase::Ehlo, "ehlo", "identity", "identity", ""),
    PhaseRow { told: "tls", ..phase(Phase::Starttls, "starttls", "", "", "STARTTLS") },
    phase(Phase::Auth, "auth", "argument", "argument", "AUTH"),
    phase(Phase::MailFrom, "mail-from", "address", "address", ""),
    phase(Phase::RcptTo, "rcpt-to", "address", "address", ""),
    phase(Phase::Data, "data", "", "", ""),
    phase(Phase::DataLine, "data-line", "line", "", ""),
    phase(Phase::Rset, "rset", "", "", "RSET"),
    phase(Phase::Quit, "quit", "", "", "QUIT"),
    phase(Phase::Noop, "noop", "argument", "argument", "NOOP"),
    phase(Phase::Help, "help", "argument", "argument", "HELP"),
    phase(Phase::Wiz, "wiz", "argument", "argument", "WIZ"),
    phase(Phase::Commit, "commit", "", "", ""),
];

const fn phase(
    phase: Phase,
    name: &'static str,
    fields: &'static str,
    rewrites: &'static str,
    verb: &'static str,
) -> PhaseRow {
    PhaseRow { phase, name, told: name, fields, rewrites, verb }
}

impl Phase {
    pub(crate) fn row(self) -> &'static PhaseRow {
        &PHASES[self as usize]
    }

    /// Its name in filter-response.
    pub(crate) fn told(self) -> &'static str {
        self.row().told
    }
}

/// What a filter has registered for: a bit for each event, and one for each phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    events: u32,
    phases: u32,
}

impl Wanted {
    pub(crate) fn event(self, event: Event) -> bool {
        self.events >> event as u8 & 1 == 1
    }

    pub(crate) fn phase(self, phase: Phase) -> bool {
        self.phases >> phase as u8 & 1 == 1
    }

    /// Adds what a line of the handshake registers.
    pub(crate) fn add(&mut self, registered: Registered) {
        match registered {
            Registered::Event(event) => self.events |= 1 << event as u8,
            Registered::AllEvents => self.events = u32::MAX,
            Registered::Phase(phase) => self.phases |= 1 << phase as u8,
            Registered::Outgoing => {}
        }
    }
}

/// What a line of the handshake registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    Event(Event),
    AllEvents,
    Phase(Phase),
    /// Something about mail that goes out, of which there is none here.
    Outgoing,
}

/// The session and the token of a request, which its answer repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) session: u64,
    pub(crate) token: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order() {
        for (at, row) in EVENTS.iter().enumerate() {
            assert_eq!(row.event as usize, at, "{}", row.name);
        }
        for (at, row) in PHASES.iter().enumerate() {
            assert_eq!(row.phase as usize, at, "{}", row.name);
        }
        for (at, row) in VERSIONS.iter().enumerate() {
            assert_eq!(row.1 as usize, at, "{}", row.0);
        }
    }

    #[test]
    fn docs_filters_md_has_the_tables() {
        let docs = include_str!("../../../docs/filters.md");
        let mut events = String::from("| event | fields |\n| --- | --- |\n");
        for row in &EVENTS {
            events += &format!("| `{}` | {} |\n", row.name, row.fields.join(", "));
        }
        assert!(docs.contains(&(events.clone() + "\n")), "docs/filters.md lacks\n{events}");
        let mut phases = String::from("| phase | fields | rewrite |\n| --- | --- | --- |\n");
        for row in &PHASES {
            phases += &format!("| `{}` | {} | {} |\n", row.name, row.fields, row.rewrites);
        }
        assert!(docs.contains(&(phases.clone() + "\n")), "docs/filters.md lacks\n{phases}");
    }
}
