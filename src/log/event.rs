//! Events: what has happened to a connection, a refusal, a message or a session, in one record.
//!
//! [`FIELDS`] is the schema.  Fields keep their names, types and meanings as long as [`VERSION`] stays.

use serde_json::{Map, Value};

use super::beginning;

/// The version of the schema.
pub const VERSION: u64 = 1;

/// The most octets of a text in an event.
const LONGEST: usize = 1000;

/// The most elements of a list in an event.
const MOST: usize = 100;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Connection,
    Refusal,
    Message,
    Session,
}

/// The kinds as a row of the schema has them: in which events a field may be.
pub const KINDS: [(Kind, &str); 4] = [
    (Kind::Connection, "connection"),
    (Kind::Refusal, "refusal"),
    (Kind::Message, "message"),
    (Kind::Session, "session"),
];

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    String,
    Number,
    Boolean,
    Strings,
    Numbers,
}

/// A row of the schema.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// In which events it may be; those without a value leave it out.
    pub events: &'static [Kind],
    /// What it says.
    pub meaning: &'static str,
}

use Kind::{Connection, Message, Refusal, Session};
const ALL: &[Kind] = &[Connection, Refusal, Message, Session];
const LATER: &[Kind] = &[Refusal, Message, Session];
const MAIL: &[Kind] = &[Refusal, Message];

/// THE schema of events.
pub const FIELDS: [Field; 38] = [
    field("kind", Type::String, ALL, "`connection`, `refusal`, `message` or `session`"),
    field("version", Type::Number, ALL, "the version of the schema, 1"),
    field("ip", Type::String, ALL, "the client's address"),
    field("port", Type::Number, ALL, "the client's port"),
    field("name", Type::String, ALL, "the client's name in the DNS, if it was looked up"),
    field("local_port", Type::Number, ALL, "our port, to which the client connected"),
    field("helo", Type::String, LATER, "the name that the client gave in HELO or EHLO"),
    field("protocol", Type::String, LATER, "`smtp`, `esmtp` or `lmtp`"),
    field("tls", Type::String, LATER, "the version of TLS"),
    field("cipher", Type::String, LATER, "the cipher suite"),
    field("user", Type::String, LATER, "the user as whom the client authenticated"),
    field("mechanism", Type::String, LATER, "the mechanism of AUTH"),
    field("relay", Type::Boolean, LATER, "true: the client may send to everybody"),
    field("sender", Type::String, MAIL, "the reverse-path, `<>` for none"),
    field("recipients", Type::Strings, MAIL, "the accepted recipients, at most 100"),
    field("recipient_count", Type::Number, MAIL, "the number of accepted recipients"),
    field("recipient", Type::String, &[Refusal], "the recipient that was refused"),
    field("size", Type::Number, MAIL, "size of the message in octets"),
    field("message_id", Type::String, MAIL, "the Message-ID of the message"),
    field("result", Type::String, &[Message], "`accepted`, `deferred` or `refused`"),
    field("hook", Type::String, MAIL, "the hook that decided"),
    field("plugin", Type::String, MAIL, "the plugin that decided; `core` if no plugin did"),
    field(
        "verdict",
        Type::String,
        MAIL,
        "the plugin's answer: `DENY`, `OK`, ...; `FAILURE` if the plugin failed",
    ),
    field("code", Type::Number, MAIL, "the code of the reply"),
    field("text", Type::String, MAIL, "the text of the reply"),
    field(
        "authentication",
        Type::Strings,
        MAIL,
        "results of SPF, DKIM, DMARC and ARC as in Authentication-Results",
    ),
    field("scores", Type::Numbers, LATER, "scores of filters, by their names; `karma`"),
    field("quarantine", Type::String, MAIL, "why the message is in quarantine"),
    field(
        "queue_id",
        Type::String,
        &[Message],
        "the name that the back end gave the message: an id, or a path",
    ),
    field("commands", Type::Number, &[Session], "number of commands from the client"),
    field("messages", Type::Number, &[Session], "number of accepted messages"),
    field(
        "accepted_recipients",
        Type::Number,
        &[Session],
        "number of recipients of the accepted messages",
    ),
    field("octets", Type::Number, &[Session], "octets of the accepted messages"),
    field("refusals", Type::Number, &[Session], "number of refusals"),
    field(
        "seconds",
        Type::Number,
        LATER,
        "how long the session has lasted; for a message, the time since MAIL",
    ),
    field(
        "hook_seconds",
        Type::Numbers,
        &[Message, Session],
        "how long plugins took, by hook; for a message, from MAIL on",
    ),
    field(
        "outside_seconds",
        Type::Numbers,
        &[Message, Session],
        "how long other programs and servers took, by their names",
    ),
    field("outside_failed", Type::Numbers, &[Message, Session], "how often these did not answer"),
];

const fn field(
    name: &'static str,
    kind: Type,
    events: &'static [Kind],
    meaning: &'static str,
) -> Field {
    Field { name, kind, events, meaning }
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    kind: Kind,
    fields: Vec<(&'static str, Value)>,
}

impl Event {
    /// An event about which nothing is known yet.
    pub fn new(kind: Kind) -> Event {
        let name = KINDS[kind as usize].1;
        Event { kind, fields: vec![("kind", name.into()), ("version", VERSION.into())] }
    }

    /// Adds a field of the schema, unless its value is empty or the schema does not have it in events
    /// of this kind.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = shortened(value.into());
        let is_empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        let is_known = FIELDS.iter().any(|row| row.name == name && row.events.contains(&self.kind));
        if !is_empty && is_known {
            self.fields.push((name, value));
        }
    }

    /// Changes every text: what may be a secret is hidden.
    pub(crate) fn each_text(&mut self, change: &impl Fn(String) -> String) {
        for (_, value) in &mut self.fields {
            changed(value, change);
        }
    }

    /// The fields in their order, with their values.
    pub fn fields(&self) -> &[(&'static str, Value)] {
        &self.fields
    }

    /// As a JSON object.
    pub fn json(&self) -> String {
        let fields: Vec<_> =
            self.fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// As words `name=value` behind [`Event::start`].
    pub fn line(&self) -> String {
        let words = self.fields.iter().map(|(name, value)| format!(" {name}={}", word(value)));
        self.start() + &words.collect::<String>()
    }

    /// What it is about.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds the fields of another event of the same kind.
    pub(crate) fn extend(&mut self, other: Event) {
        self.fields.extend(other.fields.into_iter().skip(2));
    }

    /// The event in a few words, by which programs that read the log of Perl qpsmtpd know what kind of
    /// line it is.
    pub fn start(&self) -> String {
        let get = |name: &str| self.fields.iter().find(|(known, _)| *known == name);
        let text = |name: &str| get(name).map_or(String::new(), |(_, value)| word(value));
        match self.kind {
            Connection => {
                let name = get("name").map_or("Unknown".into(), |(_, value)| word(value));
                format!("Connection from {name} [{}]", text("ip"))
            }
            Refusal => format!("{} {}", text("code"), text("verdict")),
            Message => format!("{} {}", text("code"), text("result")),
            Session => "close session".to_owned(),
        }
    }
}

/// A number of seconds, to the microsecond.
pub(crate) fn seconds(time: std::time::Duration) -> Value {
    (time.as_micros() as f64 / 1e6).into()
}

/// A value of bearable length.
fn shortened(value: Value) -> Value {
    match value {
        Value::String(mut text) => {
            text.truncate(beginning(&text, LONGEST).len());
            Value::String(text)
        }
        Value::Array(all) => all.into_iter().take(MOST).map(shortened).collect(),
        Value::Object(all) => {
            let all: Map<_, _> = all.into_iter().take(MOST).collect();
            Value::Object(all)
        }
        other => other,
    }
}

fn changed(value: &mut Value, change: &impl Fn(String) -> String) {
    match value {
        Value::String(text) => *text = change(std::mem::take(text)),
        Value::Array(all) => all.iter_mut().for_each(|value| changed(value, change)),
        _ => {}
    }
}

/// A value as one word: in quotes where it has blanks, quotes or separators.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !"\"=,".contains(c);
            if !text.is_empty() && text.chars().all(is_plain) {
                text.clone()
            } else {
                value.to_string()
            }
        }
        Value::Array(all) => all.iter().map(word).collect::<Vec<_>>().join(","),
        Value::Object(all) => {
            let pairs = all.iter().map(|(name, value)| format!("{name}:{}", word(value)));
            pairs.collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_fields_of_its_kind() {
        let mut event = Event::new(Kind::Refusal);
        event.set("ip", "192.0.2.1");
        event.set("text", "no \"such\" user\n");
        event.set("code", 550);
        event.set("verdict", "DENY");
        event.set("helo", "");
        event.set("queue_id", "is not in refusals");
        event.set("recipients", vec!["<a@b>", "<c d@e>"]);
        let json = r#"{"kind":"refusal","version":1,"ip":"192.0.2.1","text":"no \"such\" user\n","code":550,"verdict":"DENY","recipients":["<a@b>","<c d@e>"]}"#;
        assert_eq!(event.json(), json);
        let line = r#"550 DENY kind=refusal version=1 ip=192.0.2.1 text="no \"such\" user\n" code=550 verdict=DENY recipients=<a@b>,"<c d@e>""#;
        assert_eq!(event.line(), line);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut event = Event::new(Kind::Message);
        event.set("sender", "\u{e4}".repeat(LONGEST));
        event.set("recipients", vec!["<a@b>"; 1000]);
        let [_, _, (_, sender), (_, recipients)] = event.fields() else { panic!("four") };
        assert_eq!(sender.as_str().unwrap().len(), LONGEST);
        assert_eq!(recipients.as_array().unwrap().len(), MOST);
    }

    #[test]
    fn the_schema_has_each_field_once() {
        for (at, row) in FIELDS.iter().enumerate() {
            assert!(FIELDS[..at].iter().all(|other| other.name != row.name), "{}", row.name);
            assert!(!row.meaning.ends_with('.') && !row.events.is_empty());
        }
        for (at, (kind, _)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
    }

    #[test]
    fn docs_events_md_has_the_schema() {
        let docs = include_str!("../../docs/events.md");
        for row in &FIELDS {
            let kinds: Vec<_> = row.events.iter().map(|kind| KINDS[*kind as usize].1).collect();
            let kinds =
                if row.events.len() == KINDS.len() { "all".into() } else { kinds.join(", ") };
            let kind = match row.kind {
                Type::String => "string",
                Type::Number => "number",
                Type::Boolean => "boolean",
                Type::Strings => "array of strings",
                Type::Numbers => "object of numbers",
            };
            let line = format!("| `{}` | {kind} | {kinds} | {} |", row.name, row.meaning);
            assert!(docs.lines().any(|known| known == line), "docs/events.md lacks:\n{line}");
        }
        assert!(docs.contains(&format!("version {VERSION}")));
    }
}
