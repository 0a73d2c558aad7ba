//! ```text
//! NAME
//!     logging/syslog - writes the log to syslog
//!
//! SYNOPSIS
//!     logging/syslog [loglevel LEVEL] [priority LEVEL] [ident NAME] [facility NAME] [logsock LIST]
//!                    [format text|json]
//!
//! DESCRIPTION
//!     Hands lines "[SESSION] (HOOK) PLUGIN: TEXT" to the system's logger, with the id of the
//!     process that writes them.  Lines that belong to no session have no "[SESSION]".  The plugin
//!     belongs in config/logging.
//!
//!     A lost connection is made again.  Lines that cannot be handed over go to standard error; the
//!     reason is given once.  If the logger takes no line for a second, further lines are dropped
//!     without waiting until it takes one again; then the log says how many are missing.
//!
//!     Unlike those of the Perl plugin of the same name, lines have the hook and the plugin.
//!
//! ARGUMENTS
//!     loglevel LEVEL   the least important level to write, as for logging/warn; LOGWARN by default
//!     priority LEVEL   write all lines with this priority, such as LOG_NOTICE, instead of their own
//!     ident NAME       the name before each line: letters, digits, "_", "-" and "."; qpsmtpd by
//!                      default
//!     facility NAME    LOG_MAIL by default, or another facility of syslog(3)
//!     logsock LIST     where the logger is: one or several of these, with commas between them, of
//!                      which the first that works is used; unix by default
//!
//!                          unix     the socket /dev/log, /var/run/syslog or /var/run/log
//!                          stream   the same, but only as a stream socket
//!                          udp      port 514 of this host
//!                          tcp      port 601 of this host
//!                          native   the same as unix
//!                          inet     the same as tcp,udp
//!
//!     format json      the text is a JSON object; docs/logging.md has its fields
//!
//! SEE ALSO
//!     logging/warn, logging/file, logging/adaptive, docs/logging.md
//! ```

mod format;
mod socket;

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use jiff::{Timestamp, tz::TimeZone};
use syslog::{Facility, Logger, LoggerBackend, Severity};

use self::format::Format;
use self::socket::{PATHS, Socket, is_late, send, set_waiting};
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks};
use crate::log::stall::Stall;
use crate::log::{self, Level, Record};

/// The least time for which a connection can wait, where it is made while the logger is stalled.
const LEAST: Duration = Duration::from_millis(1);

const SEVERITIES: [Severity; 8] = [
    Severity::LOG_EMERG,
    Severity::LOG_ALERT,
    Severity::LOG_CRIT,
    Severity::LOG_ERR,
    Severity::LOG_WARNING,
    Severity::LOG_NOTICE,
    Severity::LOG_INFO,
    Severity::LOG_DEBUG,
];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let level = args.parsed("loglevel", Level::Warn)?;
    let sink = Sink::from_args(args)?;
    hooks.writes_json(sink.lines == log::Format::Json);
    let sink = RefCell::new(sink);
    hooks.logging(level, move |record| {
        let mut sink = sink.borrow_mut();
        match sink.write(record) {
            Ok(()) => sink.complained = false,
            Err(why) => {
                let why = format!("cannot write to syslog: {why}");
                super::complain(&mut sink.complained, "logging/syslog", &why, record);
                log::to_stderr(record);
            }
        }
        DECLINED
    });
    Ok(())
}

/// Where the lines go.
struct Sink {
    format: Format,
    lines: log::Format,
    priority: Option<Level>,
    sockets: Vec<Socket>,
    logger: Option<Logger<LoggerBackend, Format>>,
    /// The process that connected.
    process: u32,
    /// When it last tried to.
    tried: Option<Instant>,
    /// The least time between two attempts to connect.
    pause: Duration,
    complained: bool,
    stall: Stall,
    /// Does a line wait on the present connection?
    waits: bool,
}

/// The sockets that a word of `logsock` stands for, as in Perl's Sys::Syslog.
fn sockets_of(word: &str) -> Result<Vec<Socket>> {
    let paths = || PATHS.map(str::to_owned).to_vec();
    let udp = Socket::Udp((Ipv4Addr::LOCALHOST, 514).into());
    let tcp = Socket::Tcp((Ipv4Addr::LOCALHOST, 601).into());
    match word {
        "unix" | "native" => Ok(vec![Socket::Unix(paths())]),
        "stream" => Ok(vec![Socket::Stream(paths())]),
        "udp" => Ok(vec![udp]),
        "tcp" => Ok(vec![tcp]),
        "inet" => Ok(vec![tcp, udp]),
        other => Err(Error::value("logsock", other, "unix, stream, udp, tcp, native, inet")),
    }
}

impl Sink {
    fn from_args(args: &Args) -> Result<Sink> {
        args.only(&["priority", "ident", "facility", "logsock", "format"])?;
        let priority = args.named("priority").map(priority_named).transpose()?;
        let ident = args.named("ident").unwrap_or("qpsmtpd");
        if !ident.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            return Err(Error::value("ident", ident, "letters, digits, '_', '-' and '.'"));
        }
        let facility = args.named("facility").unwrap_or("LOG_MAIL");
        let facility = facility.parse::<Facility>().map_err(|()| {
            Error::value("facility", facility, "LOG_MAIL, LOG_DAEMON, LOG_LOCAL0 ...")
        })?;
        let sockets = args.named("logsock").unwrap_or("unix").split(',').map(sockets_of);
        let sockets = sockets.collect::<Result<Vec<_>>>()?.concat();
        let format = Format {
            facility: facility as u8,
            ident: ident.to_owned(),
            host: None,
            end: "",
            zone: TimeZone::system(),
        };
        let lines = args.named("format").map_or(Ok(log::Format::Text), str::parse)?;
        Ok(Sink {
            format,
            lines,
            priority,
            sockets,
            logger: None,
            process: 0,
            tried: None,
            pause: Duration::from_secs(1),
            complained: false,
            stall: Stall::new(),
            waits: true,
        })
    }

    fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        // A stream that two processes write to would mix their lines.
        if self.process != std::process::id() {
            self.process = std::process::id();
            self.logger = None;
            self.tried = None;
        }
        let severity = SEVERITIES[self.priority.unwrap_or(record.level) as usize];
        let line = match self.lines {
            log::Format::Text => record.entry(),
            log::Format::Json => record.json(Timestamp::now()),
        };
        let line = line.trim_start();
        let timeout = self.stall.timeout();
        let done = self.hand_over(severity, line, timeout);
        match &done {
            Ok(()) => {
                if let Some(missing) = self.stall.ends() {
                    return self.hand_over(Severity::LOG_WARNING, &missing, self.stall.timeout());
                }
            }
            Err(_) if self.stall.age().is_some() => self.stall.loses(),
            Err(error) if is_late(error) => self.stall.begins(),
            Err(_) => {}
        }
        done
    }

    fn hand_over(&mut self, severity: Severity, line: &str, timeout: Duration) -> io::Result<()> {
        if let Some(logger) = &mut self.logger {
            if self.waits == timeout.is_zero() {
                self.waits = !timeout.is_zero();
                set_waiting(&logger.backend, self.waits)?;
            }
            match send(logger, severity, line) {
                // It has the same connection when it reads again.
                Err(error) if is_late(&error) => return Err(error),
                Err(_) => self.logger = None,
                done => return done,
            }
        }
        if self.tried.is_some_and(|tried| tried.elapsed() < self.pause) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let connected = self.connect(timeout.max(LEAST));
        self.tried = Some(Instant::now());
        self.waits = true;
        send(self.logger.insert(connected?), severity, line)
    }

    /// A connection through the first socket that works, on which a line waits `timeout` at most.
    fn connect(&self, timeout: Duration) -> io::Result<Logger<LoggerBackend, Format>> {
        let mut failed = io::ErrorKind::NotFound.into();
        for socket in &self.sockets {
            match socket.connect(&self.format, timeout) {
                Ok(logger) => return Ok(logger),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// `LOG_NOTICE`, `LOGNOTICE`, `notice` or `5`.
fn priority_named(word: &str) -> Result<Level> {
    let short = word.to_ascii_uppercase();
    let short = short.strip_prefix("LOG_").unwrap_or(&short);
    let short = match short {
        "WARNING" => "WARN",
        "ERR" => "ERROR",
        other => other,
    };
    let wrong = || Error::value("priority", word, "LOG_DEBUG to LOG_EMERG, or 7 to 0");
    short.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests;
