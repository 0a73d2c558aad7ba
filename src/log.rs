//! Log levels, one log line, and where a line goes while no logging plugin is there to take it.

mod stderr;

pub(crate) mod stall;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;

/// How important a line is; the numbers are syslog's and those of `config/loglevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    #[default]
    Info,
    Debug,
}

/// Every level with its qpsmtpd name and its name in structured logs.
pub const LEVELS: [(Level, &str, &str); 8] = [
    (Level::Emerg, "LOGEMERG", "emerg"),
    (Level::Alert, "LOGALERT", "alert"),
    (Level::Crit, "LOGCRIT", "crit"),
    (Level::Error, "LOGERROR", "error"),
    (Level::Warn, "LOGWARN", "warn"),
    (Level::Notice, "LOGNOTICE", "notice"),
    (Level::Info, "LOGINFO", "info"),
    (Level::Debug, "LOGDEBUG", "debug"),
];

impl Level {
    /// The level of that number; numbers outside 0..=7 mean the nearest one.
    pub fn from_number(number: i64) -> Level {
        LEVELS[number.clamp(0, 7) as usize].0
    }

    /// The short name, `info`.
    pub fn name(self) -> &'static str {
        LEVELS[self as usize].2
    }
}

impl FromStr for Level {
    type Err = String;

    /// Reads `6`, `LOGINFO` or `info`.
    fn from_str(text: &str) -> Result<Level, String> {
        if let Ok(number) = text.parse::<i64>() {
            return Ok(Level::from_number(number));
        }
        LEVELS
            .iter()
            .find(|(_, long, short)| {
                text.eq_ignore_ascii_case(long) || text.eq_ignore_ascii_case(short)
            })
            .map(|row| row.0)
            .ok_or_else(|| format!("no log level '{text}' (LOGDEBUG to LOGEMERG, or 7 to 0)"))
    }
}

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
            _ => Err(format!("no log format '{text}' (known: text, json)")),
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
}

impl Record<'_> {
    /// The line as qpsmtpd writes it after the process id: ` (hook) plugin: text`.
    pub fn line(&self) -> String {
        match (self.plugin, self.hook) {
            (Some(plugin), Some(hook)) => format!(" ({hook}) {plugin}: {}", self.text),
            (Some(plugin), None) => format!(" {plugin}: {}", self.text),
            (None, Some(hook)) => format!(" ({hook}) running plugin: {}", self.text),
            (None, None) => format!(" {}", self.text),
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
        format!("{{{}}}", fields.join(","))
    }
}

/// Writes `PID[SESSION] (hook) plugin: text` to standard error in one piece.  A log that cannot be
/// written is dropped.
pub fn to_stderr(record: &Record<'_>) {
    line_to_stderr(&format!("{}{}", std::process::id(), record.entry()));
}

/// Writes a line to standard error in one piece.  A log that cannot be written is dropped; so is one
/// that nobody reads, after a second, and what is missing is counted.
pub fn line_to_stderr(line: &str) {
    stderr::write_line(line);
}

/// Looks at standard error once, for all processes that are forked later.
pub(crate) fn prepare_stderr() {
    stderr::prepare();
}

/// `text` fit for one line of a log: control characters other than TAB, which a client could use to forge lines
/// or steer a terminal, become `\xNN`, and those that separate lines or turn the direction of what
/// follows `\u{NNNN}`.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c.is_control() || is_format(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.trim_end_matches(['\r', '\n']).chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push('\t'),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_format(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// LINE SEPARATOR and PARAGRAPH SEPARATOR, at which some programs end a line, and the characters with
/// which a text is shown in another order than it is written (UAX 9).
fn is_format(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LEVELS[*self as usize].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_three_spellings() {
        for (level, long, short) in LEVELS {
            assert_eq!(long.parse(), Ok(level));
            assert_eq!(short.parse(), Ok(level));
            assert_eq!((level as u8).to_string().parse(), Ok(level));
            assert_eq!(level.to_string(), long);
        }
        assert!("LOUD".parse::<Level>().is_err());
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        assert_eq!(clean("a\r\nb\x1b[2J\u{9b}c"), "a\\r\\nb\\x1b[2J\\x9bc");
        assert_eq!(clean("a\u{2028}b\u{202e}c\u{2066}"), "a\\u{2028}b\\u{202e}c\\u{2066}");
        assert_eq!(clean("plain ü"), "plain ü");
    }

    fn record() -> Record<'static> {
        Record {
            level: Level::Info,
            hook: Some("rcpt"),
            plugin: Some("rcpt_ok"),
            session: "",
            transaction: 0,
            peer: None,
            text: "pass",
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
        assert_eq!(error, "no log format 'xml' (known: text, json)");
    }
}
