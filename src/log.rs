//! Log levels, one log line, and where a line goes while no logging plugin is there to take it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// How important a line is; the numbers are syslog's and those of `config/loglevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
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

/// One line of the log with what is known about where it came from.
#[derive(Debug, Clone)]
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
}

/// Writes `PID line` to standard error in one piece.  A log that cannot be written is dropped.
pub fn to_stderr(record: &Record<'_>) {
    use std::io::Write;
    let line = format!("{}{}\n", std::process::id(), record.line());
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// `text` fit for one line of a log: control characters, which a client could use to forge lines
/// or steer a terminal, become `\xNN`.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.trim_end_matches(['\r', '\n']).chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push(' '),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
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
        assert_eq!(clean("plain ü"), "plain ü");
    }

    #[test]
    fn lines_look_as_they_always_did() {
        let mut record = Record {
            level: Level::Info,
            hook: Some("rcpt"),
            plugin: Some("rcpt_ok"),
            session: "",
            transaction: 0,
            peer: None,
            text: "pass",
        };
        assert_eq!(record.line(), " (rcpt) rcpt_ok: pass");
        record.hook = None;
        assert_eq!(record.line(), " rcpt_ok: pass");
        record.plugin = None;
        assert_eq!(record.line(), " pass");
    }
}
