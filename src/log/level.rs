//! How important a line is.

use std::fmt;
use std::str::FromStr;

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

    /// Reads `6`, `LOGINFO` or `info`; a number above 7 means 7.
    fn from_str(text: &str) -> Result<Level, String> {
        if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()) {
            return Ok(Level::from_number(text.parse().unwrap_or(i64::MAX)));
        }
        LEVELS
            .iter()
            .find(|(_, long, short)| {
                text.eq_ignore_ascii_case(long) || text.eq_ignore_ascii_case(short)
            })
            .map(|row| row.0)
            .ok_or_else(|| {
                format!("'{text}' is not a log level (LOGDEBUG to LOGEMERG, or a number from 0)")
            })
    }
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
        for number in ["8", "9", "99999999999999999999"] {
            assert_eq!(number.parse(), Ok(Level::Debug));
        }
        for text in ["LOUD", "-1", "+1", "4.5", ""] {
            assert!(text.parse::<Level>().is_err(), "{text}");
        }
    }
}
