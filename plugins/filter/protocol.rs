//! The lines of OpenSMTPD's filter protocol (smtpd-filters(7)), both directions, without I/O.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

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
pub(super) const VERSIONS: [(&str, Version); 3] =
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
    event: Event,
    /// Its name.
    pub(crate) name: &'static str,
    /// Its fields, for people, in the order of the newest version.
    #[cfg_attr(not(test), allow(dead_code))]
    fields: &'static [&'static str],
    /// The last version in which the last two fields come in the other order.
    swapped: Option<Version>,
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
    pub(super) verb: &'static str,
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
    pub(super) fn row(self) -> &'static PhaseRow {
        &PHASES[self as usize]
    }

    /// Its name in filter-response.
    pub(super) fn told(self) -> &'static str {
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

/// A line of a filter's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Register(Registered),
    /// All is registered.
    Ready,
    Result(Request, Decision<'a>),
    /// A line of a message, as it is between dots.
    Text(Request, &'a [u8]),
    /// Something for others, about a session.
    Report(u64, &'a str),
}

/// A filter's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision<'a> {
    Proceed,
    Junk,
    /// With the reply.
    Reject(&'a str),
    Disconnect(&'a str),
    /// With the parameter.
    Rewrite(&'a str),
    Report(&'a str),
}

impl Decision<'_> {
    /// Its name, and its parameter.
    pub(super) fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            Decision::Proceed => ("proceed", None),
            Decision::Junk => ("junk", None),
            Decision::Reject(text) => ("reject", Some(text)),
            Decision::Disconnect(text) => ("disconnect", Some(text)),
            Decision::Rewrite(text) => ("rewrite", Some(text)),
            Decision::Report(text) => ("report", Some(text)),
        }
    }
}

/// The lines with which a filter is greeted.
pub(crate) fn greeting(version: Version, me: &str) -> String {
    let server = env!("CARGO_PKG_VERSION");
    format!(
        "config|smtpd-version|{server}\nconfig|protocol|{version}\nconfig|smtp-session-timeout|300\n\
         config|subsystem|smtp-in\nconfig|admd|{}\nconfig|ready\n",
        field(me, true)
    )
}

/// The line that tells an event of a session: its fields in the order of the newest version, of which
/// the last may be left out.
pub(crate) fn report(version: Version, event: Event, session: u64, fields: &[&str]) -> Vec<u8> {
    let row = &EVENTS[event as usize];
    let mut fields = fields.to_vec();
    if row.swapped.is_some_and(|last| version <= last) && fields.len() > 1 {
        let last = fields.len() - 1;
        fields.swap(last - 1, last);
    }
    let time = timestamp();
    let mut line = format!("report|{version}|{time}|smtp-in|{}|{session:016x}", row.name);
    add_fields(&mut line, &fields);
    line.into_bytes()
}

/// The line that asks about a phase.
pub(crate) fn ask(version: Version, phase: Phase, request: Request, fields: &[&str]) -> Vec<u8> {
    let mut line = head(version, phase, request);
    // There is a last field always, and be it an empty one.
    add_fields(&mut line, if fields.is_empty() { &[""] } else { fields });
    line.into_bytes()
}

/// Everything before the line of a message in the line that asks about it.
pub(crate) fn data_head(version: Version, request: Request) -> Vec<u8> {
    (head(version, Phase::DataLine, request) + "|").into_bytes()
}

fn head(version: Version, phase: Phase, Request { session, token }: Request) -> String {
    let (time, name) = (timestamp(), phase.row().name);
    format!("filter|{version}|{time}|smtp-in|{name}|{session:016x}|{token:016x}")
}

fn add_fields(line: &mut String, fields: &[&str]) {
    for (at, text) in fields.iter().enumerate() {
        line.push('|');
        line.push_str(&field(text, at + 1 == fields.len()));
    }
    line.push('\n');
}

/// A field: without what ends it.
fn field(text: &str, is_last: bool) -> String {
    let ends = |c: char| c.is_control() && c != '\t' || c == '|' && !is_last;
    text.replace(ends, "?")
}

fn timestamp() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:06}", now.as_secs(), now.subsec_micros())
}

/// Whose a line for a filter is: the session in it; None in a line of another kind.
pub(crate) fn session_of(line: &[u8]) -> Option<u64> {
    let mut words = line.splitn(7, |octet| *octet == b'|');
    matches!(words.next(), Some(b"report" | b"filter")).then_some(())?;
    number(words.nth(4)?)
}

/// Whose a line of a filter's is.
pub(crate) fn session_in_answer(line: &[u8]) -> Option<u64> {
    let mut words = line.splitn(5, |octet| *octet == b'|');
    match words.next()? {
        b"filter-result" | b"filter-dataline" => number(words.next()?),
        b"report" => number(words.nth(2)?),
        _ => None,
    }
}

/// Reads a line of a filter's, without its LF; a CR before that is none of it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(line: &[u8]) -> Result<Line<'_>, &'static str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (kind, rest) = split(line).unwrap_or((line, b""));
    match kind {
        b"register" if rest == b"ready" => Ok(Line::Ready),
        b"register" => register(rest).map(Line::Register),
        b"filter-result" => {
            let (request, answer) = request(rest)?;
            Ok(Line::Result(request, decision(answer)?))
        }
        b"filter-dataline" => {
            let (request, text) = request(rest)?;
            Ok(Line::Text(request, text))
        }
        b"report" => {
            let (_time, rest) = split(rest).ok_or("a report without fields")?;
            let (subsystem, rest) = split(rest).ok_or("a report without a session")?;
            let (session, text) = split(rest).ok_or("a report without a text")?;
            if subsystem != b"smtp-in" {
                return Err("a report about something other than smtp-in");
            }
            let session = number(session).ok_or("a session that is not a number")?;
            Ok(Line::Report(session, utf8(text)?))
        }
        _ => Err("a line of an unknown kind"),
    }
}

fn register(rest: &[u8]) -> Result<Registered, &'static str> {
    let mut words = rest.splitn(3, |octet| *octet == b'|');
    let (kind, subsystem, name) = (words.next(), words.next(), words.next().unwrap_or_default());
    match (kind, subsystem) {
        (Some(b"report" | b"filter"), Some(b"smtp-out")) => Ok(Registered::Outgoing),
        (Some(b"report"), Some(b"smtp-in")) if name == b"*" => Ok(Registered::AllEvents),
        (Some(b"report"), Some(b"smtp-in")) => {
            let row = EVENTS.iter().find(|row| row.name.as_bytes() == name);
            row.map(|row| Registered::Event(row.event)).ok_or("it registers for an unknown event")
        }
        (Some(b"filter"), Some(b"smtp-in")) => {
            let row = PHASES.iter().find(|row| row.name.as_bytes() == name);
            row.map(|row| Registered::Phase(row.phase)).ok_or("it registers for an unknown phase")
        }
        _ => Err("it registers for something unknown"),
    }
}

fn request(rest: &[u8]) -> Result<(Request, &[u8]), &'static str> {
    let (session, rest) = split(rest).ok_or("an answer without a session")?;
    let (token, rest) = split(rest).ok_or("an answer without a token")?;
    let session = number(session).ok_or("a session that is not a number")?;
    let token = number(token).ok_or("a token that is not a number")?;
    Ok((Request { session, token }, rest))
}

fn decision(answer: &[u8]) -> Result<Decision<'_>, &'static str> {
    let (name, parameter) = match split(answer) {
        Some((name, parameter)) => (name, Some(utf8(parameter)?)),
        None => (answer, None),
    };
    match (name, parameter) {
        (b"proceed", _) => Ok(Decision::Proceed),
        (b"junk", _) => Ok(Decision::Junk),
        (b"reject", Some(text)) => Ok(Decision::Reject(text)),
        (b"disconnect", Some(text)) => Ok(Decision::Disconnect(text)),
        (b"rewrite", Some(text)) => Ok(Decision::Rewrite(text)),
        (b"report", Some(text)) => Ok(Decision::Report(text)),
        (b"reject" | b"disconnect" | b"rewrite" | b"report", None) => {
            Err("a decision without its parameter")
        }
        _ => Err("an unknown decision"),
    }
}

/// The reply that a decision has: its code and its text; None: it is none with which something can be
/// refused.
pub(crate) fn reply(text: &str) -> Option<(u16, &str)> {
    let code: u16 = text.get(..3)?.parse().ok()?;
    let rest = &text[3..];
    let is_code = text.as_bytes()[..3].iter().all(u8::is_ascii_digit);
    let is_end = rest.is_empty() || rest.starts_with([' ', '-']);
    (is_code && (400..600).contains(&code) && is_end).then(|| (code, rest.get(1..).unwrap_or("")))
}

fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'|', text)?;
    Some((&text[..at], &text[at + 1..]))
}

fn utf8(text: &[u8]) -> Result<&str, &'static str> {
    str::from_utf8(text).map_err(|_| "something that is not UTF-8")
}

fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
    let text = str::from_utf8(text).ok().filter(|_| is_number)?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request { session: 0x12, token: 0xab };

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

    /// A line without its time.
    fn shown(line: &[u8]) -> String {
        let line = str::from_utf8(line).unwrap();
        let mut words: Vec<&str> = line.split('|').collect();
        let (seconds, micros) = words.remove(2).split_once('.').unwrap();
        assert!(seconds.parse::<u64>().is_ok() && micros.len() == 6);
        words.join("|")
    }

    #[test]
    fn events_have_the_fields_of_their_version() {
        for (version, auth, mail) in [
            (Version::V05, "u|pass", "1|a@b|ok"),
            (Version::V06, "u|pass", "1|ok|a@b"),
            (Version::V07, "pass|u", "1|ok|a@b"),
        ] {
            let line = report(version, Event::LinkAuth, 0x12, &["pass", "u"]);
            let start = format!("report|{version}|smtp-in");
            assert_eq!(shown(&line), format!("{start}|link-auth|0000000000000012|{auth}\n"));
            let line = report(version, Event::TxMail, 0x12, &["1", "ok", "a@b"]);
            assert_eq!(shown(&line), format!("{start}|tx-mail|0000000000000012|{mail}\n"));
        }
        let line = report(Version::V07, Event::Timeout, u64::MAX, &[]);
        assert_eq!(shown(&line), "report|0.7|smtp-in|timeout|ffffffffffffffff\n");
    }

    #[test]
    fn only_the_last_field_may_have_a_bar_and_none_a_line_end() {
        let line = report(Version::V07, Event::LinkAuth, 1, &["a|b", "c|d\ne"]);
        assert!(shown(&line).ends_with("|a?b|c|d?e\n"));
        let line = report(Version::V05, Event::TxMail, 1, &["1", "ok", "a|b"]);
        assert!(shown(&line).ends_with("|1|a?b|ok\n"));
    }

    #[test]
    fn requests_have_a_session_and_a_token() {
        let line = ask(Version::V06, Phase::Connect, REQUEST, &["mx", "192.0.2.1"]);
        let want = "filter|0.6|smtp-in|connect|0000000000000012|00000000000000ab|mx|192.0.2.1\n";
        assert_eq!(shown(&line), want);
        assert_eq!(session_of(&line), Some(0x12));
        let line = ask(Version::V06, Phase::Data, REQUEST, &[]);
        assert!(shown(&line).ends_with("|data|0000000000000012|00000000000000ab|\n"));
        let line = data_head(Version::V06, REQUEST);
        assert!(shown(&line).ends_with("|data-line|0000000000000012|00000000000000ab|"));
        let line = report(Version::V07, Event::Timeout, 7, &[]);
        assert_eq!(session_of(line.trim_ascii_end()), Some(7));
        assert_eq!(session_of(b"config|ready"), None);
    }

    #[test]
    fn answers_are_read() {
        for (line, want) in [
            ("register|ready", Line::Ready),
            ("register|report|smtp-in|tx-mail", Line::Register(Registered::Event(Event::TxMail))),
            ("register|report|smtp-in|*", Line::Register(Registered::AllEvents)),
            ("register|filter|smtp-in|commit", Line::Register(Registered::Phase(Phase::Commit))),
            ("register|report|smtp-out|any", Line::Register(Registered::Outgoing)),
            ("filter-result|12|ab|proceed", Line::Result(REQUEST, Decision::Proceed)),
            ("filter-result|0012|AB|junk\r", Line::Result(REQUEST, Decision::Junk)),
            (
                "filter-result|12|ab|reject|550 a|b",
                Line::Result(REQUEST, Decision::Reject("550 a|b")),
            ),
            ("filter-result|12|ab|rewrite|", Line::Result(REQUEST, Decision::Rewrite(""))),
            ("filter-dataline|12|ab|a|b", Line::Text(REQUEST, b"a|b")),
            ("filter-dataline|12|ab|", Line::Text(REQUEST, b"")),
            ("report|1576146008.006099|smtp-in|12|a|b", Line::Report(0x12, "a|b")),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(want), "{line}");
        }
    }

    #[test]
    fn garbage_is_none() {
        for line in [
            "",
            "|",
            "filter-result",
            "filter-result|12",
            "filter-result|12|ab",
            "filter-result|12|ab|",
            "filter-result|12|ab|reject",
            "filter-result|12|ab|accept",
            "filter-result||ab|proceed",
            "filter-result|+12|ab|proceed",
            "filter-result|12345678901234567|ab|proceed",
            "register|",
            "register|filter|smtp-in|nothing",
            "register|report|smtp-in|nothing",
            "register|filter|smtp-in|*",
            "report|1|smtp-out|12|x",
            "Hello",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse(b"filter-result|12|ab|reject|550 \xff").is_err());
        assert_eq!(parse(b"filter-dataline|12|ab|\xff"), Ok(Line::Text(REQUEST, b"\xff")));
    }

    #[test]
    fn docs_filters_md_has_the_tables() {
        let docs = include_str!("../../docs/filters.md");
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

    #[test]
    fn replies_that_refuse() {
        for (text, want) in [
            ("550 no", Some((550, "no"))),
            ("421-no", Some((421, "no"))),
            ("450", Some((450, ""))),
            ("250 yes", None),
            ("55 no", None),
            ("5500", None),
            ("+50 no", None),
            ("", None),
            ("5\u{20ac}", None),
        ] {
            assert_eq!(reply(text), want, "{text}");
        }
    }
}
