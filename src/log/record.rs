//! One line of the log: what is known of it, and its two forms.

use std::borrow::Cow;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;

use crate::error::Error;

use super::event::Event;
use super::level::Level;

/// In which form lines of the log are written: the argument `format` of logging plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `[SESSION] (hook) plugin: text`, see [`Record::entry`].
    #[default]
    Text,
    /// One JSON object a line, see [`Record::json`].
    Json,
}

impl FromStr for Format {
    type Err = String;

    /// Reads `text` or `json`.
    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err(Error::unknown("log format", text, &["text", "json"]).to_string()),
        }
    }
}

/// One line of the log with what is known about where it came from.
#[derive(Debug, Clone, Default)]
pub struct Record<'a> {
    /// How important it is.
    pub level: Level,
    /// The hook during which it was written.
    pub hook: Option<&'a str>,
    /// The plugin that wrote it; the core where there is none.
    pub plugin: Option<&'a str>,
    /// The session's id; empty outside a session.
    pub session: &'a str,
    /// Which transaction of the session, counted from 1; 0 outside one.
    pub transaction: u32,
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// What happened, without control characters.
    pub text: &'a str,
    /// What the line is about, in more detail.
    pub event: Option<&'a Event>,
}

impl Record<'_> {
    /// The line as qpsmtpd writes it after the process id: ` (hook) plugin: text`.
    pub fn line(&self) -> String {
        let text = self.event.map_or(self.text.into(), |event| Cow::Owned(event.line()));
        match (self.plugin, self.hook) {
            (Some(plugin), Some(hook)) => format!(" ({hook}) {plugin}: {text}"),
            (Some(plugin), None) => format!(" {plugin}: {text}"),
            (None, Some(hook)) => format!(" ({hook}) running plugin: {text}"),
            (None, None) => format!(" {text}"),
        }
    }

    /// The line with the id of its session in front, `[SESSION] (hook) plugin: text`: what follows
    /// the process id.  Outside a session it is [`Record::line`].
    pub fn entry(&self) -> String {
        match self.session {
            "" => self.line(),
            session => format!("[{session}]{}", self.line()),
        }
    }

    /// The line as a JSON object without a line end; docs/logging.md has its fields.  `time` is
    /// when it was written.
    pub fn json(&self, time: Timestamp) -> String {
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Value::from);
        let fields = [
            ("time", Some(format!("{time:.3}").into())),
            ("level", Some(self.level.name().into())),
            ("session", text(Some(self.session))),
            ("transaction", (self.transaction > 0).then(|| self.transaction.into())),
            ("hook", text(self.hook)),
            ("plugin", text(self.plugin)),
            ("peer", self.peer.map(|peer| peer.to_string().into())),
            ("pid", Some(std::process::id().into())),
            ("message", text(Some(self.text))),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let fields: Vec<_> = fields.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let event =
            self.event.map_or(String::new(), |event| format!(",\"event\":{}", event.json()));
        format!("{{{}{event}}}", fields.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            level: Level::Info,
            hook: Some("rcpt"),
            plugin: Some("rcpt_ok"),
            session: "",
            transaction: 0,
            peer: None,
            text: "pass",
            event: None,
        }
    }

    #[test]
    fn lines_look_as_they_always_did() {
        let mut record = record();
        assert_eq!(record.line(), " (rcpt) rcpt_ok: pass");
        record.hook = None;
        assert_eq!(record.line(), " rcpt_ok: pass");
        record.plugin = None;
        assert_eq!(record.line(), " pass");
    }

    #[test]
    fn lines_of_a_session_have_its_id_in_front() {
        let mut record = record();
        assert_eq!(record.entry(), " (rcpt) rcpt_ok: pass");
        record.session = "6b1.2f.0";
        assert_eq!(record.entry(), "[6b1.2f.0] (rcpt) rcpt_ok: pass");
        record.hook = None;
        record.plugin = None;
        assert_eq!(record.entry(), "[6b1.2f.0] pass");
    }

    #[test]
    fn json_has_the_fields_that_are_known() {
        let time = Timestamp::from_millisecond(1_795_349_298_070).unwrap();
        let id = std::process::id();
        let full = Record {
            session: "6b1.2f.0",
            transaction: 2,
            peer: Some([192, 0, 2, 1].into()),
            text: "a \"quoted\" \\ ü",
            ..record()
        };
        let line = format!(
            r#"{{"time":"2026-11-22T12:08:18.070Z","level":"info","session":"6b1.2f.0","transaction":2,"hook":"rcpt","plugin":"rcpt_ok","peer":"192.0.2.1","pid":{id},"message":"a \"quoted\" \\ ü"}}"#
        );
        assert_eq!(full.json(time), line);
        let bare = Record { hook: None, plugin: None, text: "", ..record() };
        let line = format!(r#"{{"time":"2026-11-22T12:08:18.070Z","level":"info","pid":{id}}}"#);
        assert_eq!(bare.json(time), line);
        assert!(serde_json::from_str::<Value>(&full.json(Timestamp::now())).is_ok());
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("text".parse(), Ok(Format::default()));
        let error = "xml".parse::<Format>().unwrap_err();
        assert_eq!(error, "unknown log format 'xml' (known: text, json)");
    }
}
