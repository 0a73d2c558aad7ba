//! ```text
//! NAME
//!     logging/file - writes the log to a file or a command
//!
//! SYNOPSIS
//!     logging/file [loglevel LEVEL] [nosplit] [reopen] [tsformat FORMAT] [format json] PATH
//!     logging/file [loglevel LEVEL] [nosplit] [reopen] [tsformat FORMAT] [format json] |COMMAND
//!
//! DESCRIPTION
//!     Writes lines "TIME HOST[PID]: [SESSION] (HOOK) PLUGIN: TEXT" to the end of a file or to the
//!     standard input of a command.  Lines that belong to no session have no "[SESSION]".  The
//!     plugin belongs in config/logging; several instances, such as "logging/file:1", can write to
//!     several places.
//!
//!     PATH and COMMAND may have the conversions of strftime(3), and %i for the id of the session
//!     ("parent" outside of a session).  When their value changes, the new file is opened, or the
//!     new command started.  A file that was moved or removed is created anew within a second, so
//!     log files can be rotated without telling the server.
//!
//!     A command is run by /bin/sh, and its standard output is discarded.  A command that ends is
//!     started again.  If a command, or the reader of a FIFO, takes no line for a second, further
//!     lines are dropped without waiting until it takes one again; then the log says how many are
//!     missing.
//!
//!     The process that has the first line to write opens the file or starts the command, and
//!     shares it with the processes that it creates.  Lines that cannot be written go to standard
//!     error; the reason is given once.
//!
//!     Unlike those of the Perl plugin of the same name, lines have the hook and the plugin.
//!
//! ARGUMENTS
//!     loglevel LEVEL    the least important level to write, as for logging/warn; LOGWARN by default
//!     nosplit           change files only between sessions, so that no session is split
//!     reopen            open the file or start the command for every session
//!     tsformat FORMAT   the form of the time, in the conversions of strftime(3), without blanks;
//!                       "%a %b %d %T %Y" by default
//!     format json       write one JSON object per line, without TIME and HOST[PID] before it;
//!                       docs/logging.md has its fields
//!     PATH              may begin with ~; write ./ before a PATH that is the name of an argument
//!
//!     logging/file loglevel LOGINFO /var/log/qpsmtpd/%Y-%m-%d.log
//!     logging/file loglevel LOGCRIT reopen |/usr/local/sbin/page-sysadmin
//!
//! SEE ALSO
//!     logging/warn, logging/syslog, logging/adaptive, docs/logging.md
//! ```

mod output;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::{Timestamp, Zoned, tz::TimeZone};

use self::output::Output;
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks};
use crate::log::stall::Stall;
use crate::log::{self, Format, Level, Record};
use crate::plugins::host_name;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let (level, mut sink) = Sink::from_args(args)?;
    if sink.target.starts_with('~') {
        sink.target = hooks.config().expand(&sink.target).display().to_string();
    }
    hooks.writes_json(sink.format == Format::Json);
    let sink = RefCell::new(sink);
    hooks.logging(level, move |record| {
        let mut sink = sink.borrow_mut();
        if let Err(why) = sink.ready(record.session) {
            sink.complain(&why, record);
        }
        if let Err(why) = sink.write(record) {
            sink.complain(&why, record);
            log::to_stderr(record);
        }
        DECLINED
    });
    Ok(())
}

/// Where the lines go.
struct Sink {
    target: String,
    is_command: bool,
    nosplit: bool,
    reopen: bool,
    tsformat: String,
    format: Format,
    zone: TimeZone,
    host: String,
    /// The least time between two looks at the file, or two attempts to open it.
    pause: Duration,
    output: Option<Output>,
    /// What `target` stood for when the output was opened.
    name: String,
    /// When the output was opened, or the file looked at.
    checked: Option<Instant>,
    /// The session of the last line.
    session: String,
    complained: bool,
    stall: Stall,
}

impl Sink {
    fn from_args(args: &Args) -> Result<(Level, Sink)> {
        let mut level = Level::Warn;
        let (mut nosplit, mut reopen, mut tsformat) = (false, false, "%a %b %d %T %Y");
        let mut format = Format::Text;
        let mut words = args.words().iter().map(String::as_str);
        let mut target = vec![];
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("argument {word} has no value"));
            match word.to_ascii_lowercase().as_str() {
                "loglevel" => level = value()?.parse()?,
                "tsformat" => tsformat = value()?,
                "format" => format = value()?.parse()?,
                "nosplit" => nosplit = true,
                "reopen" => reopen = true,
                _ => {
                    target.push(word);
                    target.extend(words.by_ref());
                }
            }
        }
        let target = target.join(" ");
        let command = target.strip_prefix('|').map(|command| command.trim().to_owned());
        let sink = Sink {
            is_command: command.is_some(),
            target: command.unwrap_or(target),
            nosplit,
            reopen,
            tsformat: tsformat.to_owned(),
            format,
            zone: TimeZone::system(),
            host: host_name(),
            pause: Duration::from_secs(1),
            output: None,
            name: String::new(),
            checked: None,
            session: String::new(),
            complained: false,
            stall: Stall::new(),
        };
        if sink.target.is_empty() {
            return Err(Error::new("argument missing: the path of a file, or |command"));
        }
        let now = sink.now();
        for format in [&sink.tsformat, &with_session(&sink.target, "parent")] {
            time(format, &now, false).map_err(|why| Error::new(format!("'{format}': {why}")))?;
        }
        Ok((level, sink))
    }

    /// Opens the output for a line of that session, unless it is the right one already.
    fn ready(&mut self, session: &str) -> io::Result<()> {
        let outside = session.is_empty();
        let begins = !outside && self.session != session;
        if begins {
            self.session = session.to_owned();
        }
        if self.nosplit && self.output.is_some() && !begins && !outside {
            return Ok(());
        }
        let target = with_session(&self.target, if outside { "parent" } else { session });
        let name = time(&target, &self.now(), true).map_err(io::Error::other)?;
        let anew = name != self.name || (self.reopen && begins);
        if anew {
            self.name = name;
            self.checked = None;
        }
        if self.checked.is_some_and(|checked| checked.elapsed() < self.pause) {
            return Ok(());
        }
        if !anew && self.output.as_ref().is_some_and(|output| output.is_still(&self.name)) {
            if !self.is_command {
                self.checked = Some(Instant::now());
            }
            return Ok(());
        }
        self.open()
    }

    fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        let line = self.line(record)?;
        let mut done = self.put(line.as_bytes());
        if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            self.close();
            if self.checked.is_none_or(|checked| checked.elapsed() >= self.pause) {
                done = self.open().and_then(|()| self.put(line.as_bytes()));
            }
        }
        if done.is_ok()
            && let Some(missing) = self.stall.ends()
        {
            let (level, hook, plugin) = (Level::Warn, Some("logging"), Some("logging/file"));
            let news = Record { level, hook, plugin, text: &missing, ..Record::default() };
            let line = self.line(&news)?;
            done = self.put(line.as_bytes());
        }
        done
    }

    fn line(&self, record: &Record<'_>) -> io::Result<String> {
        if self.format == Format::Json {
            return Ok(record.json(Timestamp::now()) + "\n");
        }
        let time = time(&self.tsformat, &self.now(), true).map_err(io::Error::other)?;
        let (host, process, entry) = (&self.host, std::process::id(), record.entry());
        Ok(format!("{time} {host}[{process}]: {}\n", entry.trim_start()))
    }

    /// Says once why lines do not go where they should.
    fn complain(&mut self, why: &io::Error, record: &Record<'_>) {
        let why = format!("cannot write to {}: {why}", self.name);
        super::complain(&mut self.complained, "logging/file", &why, record);
    }

    /// Opens the output; the old one stays where that fails.
    fn open(&mut self) -> io::Result<()> {
        self.checked = Some(Instant::now());
        let open = if self.is_command { Output::start } else { Output::append_to };
        let opened = open(&self.name)?;
        self.close();
        self.output = Some(opened);
        self.complained = false;
        Ok(())
    }

    fn close(&mut self) {
        self.output.take().into_iter().for_each(Output::close);
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let timeout = self.stall.timeout();
        let output = self.output.as_mut().ok_or_else(|| io::Error::other("it is not open"))?;
        let done = output.put(line, timeout);
        match &done {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {}
            Err(_) if timeout.is_zero() => self.stall.loses(),
            Err(_) => self.stall.begins(),
            Ok(()) => {}
        }
        done
    }

    fn now(&self) -> Zoned {
        Timestamp::now().to_zoned(self.zone.clone())
    }
}

/// `target` with the id of a session for %i, fit to be part of a path.
fn with_session(target: &str, session: &str) -> String {
    let mut out = String::with_capacity(target.len());
    let mut chars = target.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        match chars.peek() {
            Some('i') if c == '%' => {
                out.pop();
                out.push_str(&session.replace('/', "_").replace('%', "%%"));
                chars.next();
            }
            Some('%') if c == '%' => out.extend(chars.next()),
            _ => {}
        }
    }
    out
}

/// The time in the conversions of strftime(3); unknown ones stay as they are or are an error.
pub(in crate::plugins) fn time(
    format: &str,
    now: &Zoned,
    lenient: bool,
) -> std::result::Result<String, jiff::Error> {
    if !format.contains('%') {
        return Ok(format.to_owned());
    }
    let config = Config::new().custom(PosixCustom::new()).lenient(lenient);
    BrokenDownTime::from(now).to_string_with_config(&config, format)
}

#[cfg(test)]
mod tests;
