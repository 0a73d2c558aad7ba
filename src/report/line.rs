//! An event of a line of the log; docs/events.md has the schema.  What is not counted is not read.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// A line of the log in JSON.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    /// When it was written, as RFC 3339 has it.
    #[serde(borrow)]
    pub(super) time: Text<'a>,
    #[serde(borrow)]
    pub(super) event: Option<Event<'a>>,
}

/// An event.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) ip: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) tls: Text<'a>,
    #[serde(borrow)]
    pub(super) user: Text<'a>,
    #[serde(borrow)]
    pub(super) sender: Text<'a>,
    #[serde(borrow)]
    pub(super) recipients: Vec<Text<'a>>,
    pub(super) recipient_count: u64,
    pub(super) size: u64,
    #[serde(borrow)]
    pub(super) result: Text<'a>,
    #[serde(borrow)]
    pub(super) hook: Text<'a>,
    #[serde(borrow)]
    pub(super) plugin: Text<'a>,
    #[serde(borrow)]
    pub(super) verdict: Text<'a>,
    pub(super) code: u64,
    #[serde(borrow)]
    pub(super) text: Text<'a>,
    #[serde(borrow)]
    pub(super) authentication: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(super) quarantine: Text<'a>,
    pub(super) seconds: f64,
    #[serde(borrow)]
    pub(super) hook_seconds: Numbers<'a>,
    #[serde(borrow)]
    pub(super) outside_seconds: Numbers<'a>,
    #[serde(borrow)]
    pub(super) outside_failed: Numbers<'a>,
}

/// A text that is part of the line, but where it has escapes.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An object of numbers, in its order.
#[derive(Debug, Default)]
pub(super) struct Numbers<'a>(pub(super) Vec<(Text<'a>, f64)>);

impl<'de: 'a, 'a> Deserialize<'de> for Numbers<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Numbers<'a>, D::Error> {
        from.deserialize_map(InOrder(PhantomData))
    }
}

struct InOrder<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for InOrder<'a> {
    type Value = Numbers<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of numbers")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Numbers<'a>, M::Error> {
        let mut numbers = vec![];
        while let Some(entry) = map.next_entry()? {
            numbers.push(entry);
        }
        Ok(Numbers(numbers))
    }
}

impl<'a> Line<'a> {
    /// The event of a line; what stands before the object, as syslog writes it, does not count.
    /// None: the line has no event.
    ///
    /// # Errors
    /// It should have one, and is not readable.
    pub(super) fn read(line: &'a [u8]) -> Option<Result<Line<'a>, serde_json::Error>> {
        memchr::memmem::find_iter(line, b"\"event\"").find(|at| is_object(&line[at + 7..]))?;
        let object = &line[memchr::memchr(b'{', line)?..];
        Some(serde_json::from_slice(object))
    }
}

/// Is this a name's colon and the begin of an object, with or without blanks?  Programs that hand logs
/// on write JSON in their own way.
fn is_object(after_name: &[u8]) -> bool {
    let value = after_name.trim_ascii_start().strip_prefix(b":");
    value.is_some_and(|value| value.trim_ascii_start().starts_with(b"{"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_with_what_it_has() {
        let line = br#"Nov 22 mx qpsmtpd[1]: {"time":"2026-11-22T12:08:18.070Z","new":[1,{}],
            "event":{"kind":"message","text":"a \"b\"","code":250,"hook_seconds":{"mail":0.5,"b":1}}}"#;
        let line = Line::read(line).unwrap().unwrap();
        let event = line.event.unwrap();
        assert_eq!(event.text.as_str(), "a \"b\"");
        assert_eq!((event.code, event.ip.as_str()), (250, ""));
        let hooks: Vec<_> = event.hook_seconds.0.iter().map(|(n, s)| (n.as_str(), *s)).collect();
        assert_eq!(hooks, [("mail", 0.5), ("b", 1.0)]);
    }

    #[test]
    fn blanks_between_the_tokens_do_not_matter() {
        let line = br#"{"time": "2026", "message": "\"event\":{", "event" : {"kind": "session"}}"#;
        assert_eq!(Line::read(line).unwrap().unwrap().event.unwrap().kind.as_str(), "session");
        assert!(Line::read(br#"{"time": "2026", "event": "x", "events": {}}"#).is_none());
    }

    #[test]
    fn other_lines_have_none_and_broken_ones_are_told() {
        assert!(Line::read(br#"{"time":"2026","message":"event"}"#).is_none());
        assert!(Line::read(b"no JSON").is_none());
        assert!(Line::read(br#"{"time":"2026","event":{"kind":"mess"#).unwrap().is_err());
        assert!(Line::read(br#"{"time":1,"event":{}}"#).unwrap().is_err());
    }
}
