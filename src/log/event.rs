//! Events: what has happened to a connection, a refusal, a message or a session, in one record.
//!
//! [`FIELDS`] is the schema.  Fields keep their names, types and meanings as long as [`VERSION`] stays.

mod schema;

use serde_json::{Map, Value};

use super::beginning;

pub use schema::{FIELDS, Field, KINDS, Kind, Type, VERSION};

/// The most octets of a text in an event.
const LONGEST: usize = 1000;

/// The most elements of a list in an event.
const MOST: usize = 100;

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
            Kind::Connection => {
                let name = get("name").map_or("Unknown".into(), |(_, value)| word(value));
                format!("Connection from {name} [{}]", text("ip"))
            }
            Kind::Refusal => format!("{} {}", text("code"), text("verdict")),
            Kind::Message => format!("{} {}", text("code"), text("result")),
            Kind::Session => "close session".to_owned(),
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
}
