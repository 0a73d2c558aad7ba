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
        let sockets = args.named("logsock").unwrap_or("unix").split(',');
        let sockets = sockets.map(|name| match name {
            "unix" => Ok(Socket::Unix(PATHS.map(str::to_owned).to_vec())),
            "stream" => Ok(Socket::Stream(PATHS.map(str::to_owned).to_vec())),
            "udp" => Ok(Socket::Udp((Ipv4Addr::LOCALHOST, 514).into())),
            "tcp" => Ok(Socket::Tcp((Ipv4Addr::LOCALHOST, 601).into())),
            other => Err(Error::value("logsock", other, "unix, stream, udp, tcp")),
        });
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
            sockets: sockets.collect::<Result<_>>()?,
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
        let patience = self.stall.patience();
        let done = self.hand_over(severity, line, patience);
        match &done {
            Ok(()) => {
                if let Some(missing) = self.stall.ends() {
                    return self.hand_over(Severity::LOG_WARNING, &missing, self.stall.patience());
                }
            }
            Err(_) if self.stall.age().is_some() => self.stall.loses(),
            Err(error) if is_late(error) => self.stall.begins(),
            Err(_) => {}
        }
        done
    }

    fn hand_over(&mut self, severity: Severity, line: &str, patience: Duration) -> io::Result<()> {
        if let Some(logger) = &mut self.logger {
            if self.waits == patience.is_zero() {
                self.waits = !patience.is_zero();
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
        let connected = self.connect(patience.max(LEAST));
        self.tried = Some(Instant::now());
        self.waits = true;
        send(self.logger.insert(connected?), severity, line)
    }

    /// A connection through the first socket that works, on which a line waits `patience` at most.
    fn connect(&self, patience: Duration) -> io::Result<Logger<LoggerBackend, Format>> {
        let mut failed = io::ErrorKind::NotFound.into();
        for socket in &self.sockets {
            match socket.connect(&self.format, patience) {
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
    Ok(short.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::host_name;
    use crate::testing::Trial;
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener};
    use std::path::Path;

    fn sink(line: &str, sockets: Vec<Socket>) -> Sink {
        let sink = Sink::from_args(&Args::new(line.split_whitespace())).unwrap();
        Sink { sockets, pause: Duration::ZERO, ..sink }
    }

    fn record(level: Level, text: &str) -> Record<'_> {
        Record {
            level,
            hook: Some("rcpt"),
            plugin: Some("rcpt_ok"),
            session: "s",
            transaction: 1,
            peer: None,
            text,
            ..Record::default()
        }
    }

    fn unix(path: &Path) -> Vec<Socket> {
        vec![Socket::Unix(vec!["/no/such/socket".into(), path.display().to_string()])]
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 500];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    /// A line without its time, which is checked.
    fn untimed(line: &str) -> String {
        let (priority, rest) = line.split_once('>').unwrap();
        let format = "%b %e %T";
        let time = jiff::fmt::strtime::parse(format, &rest[..15]);
        assert!(time.is_ok(), "{line}");
        format!("{priority}>{}", &rest[15..])
    }

    #[test]
    fn a_line_has_priority_time_ident_process_and_text() {
        let dir = tempfile::tempdir().unwrap();
        let server = UnixDatagram::bind(dir.path().join("log")).unwrap();
        let id = std::process::id();
        for (args, level, start) in [
            ("", Level::Info, "<22> qpsmtpd"),
            ("", Level::Emerg, "<16> qpsmtpd"),
            ("ident mx-1.in facility LOG_LOCAL0", Level::Debug, "<135> mx-1.in"),
            ("facility daemon priority LOG_NOTICE", Level::Crit, "<29> qpsmtpd"),
        ] {
            let mut sink = sink(args, unix(&dir.path().join("log")));
            sink.write(&record(level, "pass")).unwrap();
            let line = untimed(&receive(&server));
            assert_eq!(line, format!("{start}[{id}]: [s] (rcpt) rcpt_ok: pass"), "{args}");
        }
    }

    #[test]
    fn the_text_can_be_json() {
        let dir = tempfile::tempdir().unwrap();
        let server = UnixDatagram::bind(dir.path().join("log")).unwrap();
        let mut sink = sink("format json", unix(&dir.path().join("log")));
        sink.write(&record(Level::Info, "pass")).unwrap();
        let line = receive(&server);
        let (_, text) = line.split_once("]: ").unwrap();
        let text: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!((&text["session"], &text["message"]), (&"s".into(), &"pass".into()));
        assert_eq!(text["transaction"], 1);
    }

    #[test]
    fn priorities_have_several_spellings() {
        for (word, level) in [
            ("LOG_ERR", Level::Error),
            ("LOG_WARNING", Level::Warn),
            ("LOGWARN", Level::Warn),
            ("log_debug", Level::Debug),
            ("0", Level::Emerg),
            ("notice", Level::Notice),
        ] {
            assert_eq!(priority_named(word), Ok(level), "{word}");
        }
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (line, why) in [
            ("logging/syslog loglevel LOUD", "no log level 'LOUD'"),
            ("logging/syslog priority LOG_LOUD", "no log level 'LOUD'"),
            ("logging/syslog ident a/b", "argument ident has the value 'a/b'"),
            ("logging/syslog facility LOG_POST", "argument facility has the value 'LOG_POST'"),
            ("logging/syslog logsock udp,console", "'console' (expected: unix, stream, udp, tcp)"),
            ("logging/syslog logsock", "no value"),
            ("logging/syslog colour red", "unknown argument 'colour'"),
            ("logging/syslog format xml", "no log format 'xml'"),
        ] {
            let error =
                Trial::load(line, &[]).err().unwrap_or_else(|| panic!("{line} is accepted"));
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
        assert!(Trial::load("logging/syslog loglevel LOGINFO", &[]).is_ok());
    }

    #[test]
    fn sockets_are_tried_in_the_order_of_the_list() {
        let sink = Sink::from_args(&Args::new(["logsock", "udp,unix,tcp,stream"])).unwrap();
        let paths = PATHS.map(str::to_owned).to_vec();
        assert_eq!(
            sink.sockets,
            [
                Socket::Udp("127.0.0.1:514".parse().unwrap()),
                Socket::Unix(paths.clone()),
                Socket::Tcp("127.0.0.1:601".parse().unwrap()),
                Socket::Stream(paths),
            ]
        );
        assert_eq!(Sink::from_args(&Args::default()).unwrap().sockets.len(), 1);
    }

    #[test]
    fn udp_and_tcp_have_the_host_and_tcp_a_line_end() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut over_udp = sink("", vec![Socket::Udp(udp.local_addr().unwrap())]);
        over_udp.write(&record(Level::Info, "one")).unwrap();
        let mut bytes = [0; 500];
        let count = udp.recv(&mut bytes).unwrap();
        let line = untimed(std::str::from_utf8(&bytes[..count]).unwrap());
        assert!(line.starts_with(&format!("<22> {} qpsmtpd[", host_name())), "{line}");
        assert!(line.ends_with("rcpt_ok: one"), "{line}");

        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut over_tcp = sink("", vec![Socket::Tcp(tcp.local_addr().unwrap())]);
        over_tcp.write(&record(Level::Info, "one")).unwrap();
        over_tcp.write(&record(Level::Info, "two")).unwrap();
        let lines = BufReader::new(tcp.accept().unwrap().0).lines().take(2);
        let ends = ["one", "two"].map(|text| format!("rcpt_ok: {text}"));
        assert!(lines.zip(ends).all(|(line, end)| untimed(&line.unwrap()).ends_with(&end)));
    }

    #[test]
    fn a_stream_socket_works_under_both_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let server = UnixListener::bind(&path).unwrap();
        let stream = Socket::Stream(vec![path.display().to_string()]);
        for sockets in [unix(&path), vec![stream]] {
            sink("", sockets).write(&record(Level::Info, "pass")).unwrap();
            let mut line = vec![];
            BufReader::new(server.accept().unwrap().0).read_until(0, &mut line).unwrap();
            assert!(line.ends_with(b"rcpt_ok: pass\0"));
        }
    }

    #[test]
    fn a_logger_that_was_started_anew_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut sink = sink("", unix(&path));
        assert!(sink.write(&record(Level::Info, "lost")).is_err());
        for text in ["one", "two"] {
            let server = UnixDatagram::bind(&path).unwrap();
            sink.write(&record(Level::Info, text)).unwrap();
            assert!(receive(&server).ends_with(text));
            drop(server);
            assert!(sink.write(&record(Level::Info, "lost")).is_err());
            std::fs::remove_file(&path).unwrap();
        }
    }

    /// However many lines there are, only one waits.
    #[test]
    fn a_logger_that_reads_nothing_tells_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["datagram", "stream"].map(|name| dir.path().join(name));
        let datagram = UnixDatagram::bind(&paths[0]).unwrap();
        let _stream = UnixListener::bind(&paths[1]).unwrap();
        let text = "x".repeat(2000);
        for path in &paths {
            let mut sink = sink("", unix(path));
            while sink.write(&record(Level::Info, &text)).is_ok() {}
            assert!(sink.stall.patience().is_zero());
            for _ in 0..100 {
                assert!(sink.write(&record(Level::Info, &text)).is_err());
            }
            if path == &paths[0] {
                datagram.set_nonblocking(true).unwrap();
                let mut bytes = [0; 3000];
                while datagram.recv(&mut bytes).is_ok() {}
                sink.write(&record(Level::Info, "read again")).unwrap();
                assert!(receive(&datagram).ends_with("read again"));
                assert!(receive(&datagram).ends_with("for a while, 101 lines are missing"));
                assert!(!sink.stall.patience().is_zero());
            }
        }
    }

    #[test]
    fn a_logger_that_is_away_is_not_asked_for_every_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut sink = Sink { pause: Duration::from_secs(3600), ..sink("", unix(&path)) };
        assert!(sink.write(&record(Level::Info, "lost")).is_err());
        let server = UnixDatagram::bind(&path).unwrap();
        let lost = sink.write(&record(Level::Info, "lost")).unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::NotConnected);
        // Another process begins with a connection of its own.
        sink.process = 0;
        sink.write(&record(Level::Info, "kept")).unwrap();
        assert!(receive(&server).ends_with("kept"));
    }
}
