//! What a filter says: its lines, taken apart.

use super::tables::{EVENTS, PHASES, Registered, Request};

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
    pub(crate) fn words(&self) -> (&'static str, Option<&str>) {
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
