//! THE schema of events.

/// The version of the schema.
pub const VERSION: u64 = 1;

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

#[cfg(test)]
mod tests {
    use super::*;

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
        let docs = include_str!("../../../docs/events.md");
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
