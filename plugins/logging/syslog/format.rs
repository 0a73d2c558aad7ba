//! How a line looks on its way to the logger.

use std::fmt::Display;
use std::io::Write;

use jiff::{Timestamp, tz::TimeZone};
use syslog::{LogFormat, Severity};

/// How a line looks on its way to the logger (RFC 3164 4.1), with local time and the id of the
/// process that writes.
#[derive(Debug, Clone)]
pub(super) struct Format {
    pub(super) facility: u8,
    pub(super) ident: String,
    /// This host's name, for loggers that hear of it from afar.
    pub(super) host: Option<String>,
    /// What ends a line.
    pub(super) end: &'static str,
    pub(super) zone: TimeZone,
}

impl<T: Display> LogFormat<T> for Format {
    fn format<W: Write>(&self, out: &mut W, severity: Severity, text: T) -> syslog::Result<()> {
        let Format { ident, end, .. } = self;
        let priority = self.facility | severity as u8;
        let now = Timestamp::now().to_zoned(self.zone.clone());
        let time = now.strftime("%b %e %T");
        let host = self.host.as_deref().map(|host| format!("{host} ")).unwrap_or_default();
        let process = std::process::id();
        write!(out, "<{priority}>{time} {host}{ident}[{process}]: {text}{end}")
            .map_err(syslog::Error::Write)
    }
}
