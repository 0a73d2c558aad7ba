//! The way to a running filter: to one of this process's own, or to the one that all processes share.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::protocol::{self, Line, Request, Wanted};
use crate::net::{Channel, Coprocess, wait_for};

/// The longest line of a filter's, in octets.
const LONGEST: usize = 1024 * 1024;

/// The most octets that may wait for a filter that does not read.
const MOST_WAITING: usize = 4 * 1024 * 1024;

/// The most octets of lines that nobody asked for, while one is waited for.
pub(super) const MOST_UNASKED: usize = 16 * 1024 * 1024;

/// The most lines for the log that are kept.
const MOST_COMPLAINTS: usize = 100;

/// How long a filter may take to say what it registers for.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(30);

/// With this begins a line that is for the log, from the process that keeps the shared filter.
pub(super) const LOG: &[u8] = b"log|";

/// Where the filter is.
#[derive(Debug)]
enum Way {
    Own(Coprocess),
    Shared(Channel),
}

/// The way to a filter that has said what it wants.
#[derive(Debug)]
pub(super) struct Link {
    way: Way,
    wanted: Wanted,
    complaints: Vec<String>,
    began: Instant,
}

impl Link {
    /// A way to a filter that was just started.
    pub(super) fn to_own(process: Coprocess) -> Link {
        Link::new(Way::Own(process))
    }

    /// A way through the process that keeps the shared filter.
    pub(super) fn to_shared(channel: Channel) -> Link {
        Link::new(Way::Shared(channel))
    }

    fn new(way: Way) -> Link {
        Link { way, wanted: Wanted::default(), complaints: vec![], began: Instant::now() }
    }

    /// Reads what the filter registers for.
    ///
    /// # Errors
    /// It does not say so in time, or says something else.
    pub(super) fn handshake(&mut self, until: Instant) -> io::Result<()> {
        let until = until.min(Instant::now() + HANDSHAKE);
        loop {
            let line = self.line(until)?;
            match protocol::parse(&line).map_err(|why| said(why, &line))? {
                Line::Register(registered) => self.wanted.add(registered),
                Line::Ready => return Ok(()),
                _ => return Err(said("it speaks before it is ready", &line)),
            }
        }
    }

    /// No more is said.  A filter of this process's own has time to end; see [`Coprocess::finish`].
    pub(super) fn finish(self) {
        if let Way::Own(process) = self.way {
            process.finish();
        }
    }

    /// What the filter has registered for.
    pub(super) fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// How long it has been there.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Is the filter one that others use as well?
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.way, Way::Shared(_))
    }

    /// What the filter has said for the log since this was last asked.
    pub(super) fn complaints(&mut self) -> Vec<String> {
        if let Way::Own(process) = &mut self.way {
            keep(&mut self.complaints, process.complaints());
        }
        std::mem::take(&mut self.complaints)
    }

    /// Says a line, as far as that goes without waiting.
    ///
    /// # Errors
    /// The filter has ended, or does not read.
    pub(super) fn send(&mut self, line: &[u8]) -> io::Result<()> {
        let sent = self.channel().send(line);
        sent.map_err(|error| self.channel_error(error))?;
        match self.channel().waiting() {
            0..=MOST_WAITING => Ok(()),
            _ => Err(io::Error::other("it does not read what it is told")),
        }
    }

    /// How many octets wait to be said.
    pub(super) fn waiting(&mut self) -> usize {
        self.channel().waiting()
    }

    /// Reads what has come without being asked for; the reports in it go to `report`.
    ///
    /// # Errors
    /// The filter has ended, or says what it may not.
    pub(super) fn listen(&mut self, report: &mut dyn FnMut(u64, &str)) -> io::Result<()> {
        let done = self.exchange();
        done.map_err(|error| self.channel_error(error))?;
        while let Some(line) = self.next()? {
            // Answers that are too late are no longer of any use.
            if let Line::Report(session, text) = read(&line)? {
                report(session, text);
            }
        }
        if self.channel().is_at_end() { Err(self.end("it has closed its output")) } else { Ok(()) }
    }

    /// Waits for lines until `take` has what it waits for; it is given the line and what it says, if that
    /// is an answer to `request`.
    ///
    /// # Errors
    /// `TimedOut`; the filter has ended, or says what it may not.
    pub(super) fn await_answer<T>(
        &mut self,
        request: Request,
        until: Instant,
        report: &mut dyn FnMut(u64, &str),
        mut take: impl FnMut(Line<'_>) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        let mut unasked = 0;
        loop {
            let octets = self.line(until)?;
            match read(&octets)? {
                Line::Report(session, text) => report(session, text),
                line @ (Line::Result(own, _) | Line::Text(own, _)) if own == request => {
                    if let Some(found) = take(line)? {
                        return Ok(found);
                    }
                    continue;
                }
                _ => {}
            }
            unasked += octets.len() + 1;
            if unasked > MOST_UNASKED {
                return Err(io::Error::other("it sends too much that nobody asked for"));
            }
        }
    }

    /// The answers to `request` that have come already.
    ///
    /// # Errors
    /// As for [`Link::listen`].
    pub(super) fn take_answers(
        &mut self,
        request: Request,
        report: &mut dyn FnMut(u64, &str),
        mut take: impl FnMut(Line<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while let Some(octets) = self.next()? {
            match read(&octets)? {
                Line::Report(session, text) => report(session, text),
                line @ (Line::Result(own, _) | Line::Text(own, _)) if own == request => {
                    take(line)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until something can be read or written, and does it.
    ///
    /// # Errors
    /// `TimedOut`; the filter has ended.
    pub(super) fn turn(&mut self, until: Instant) -> io::Result<()> {
        let fds = match &self.way {
            Way::Own(process) => process.wants(false).collect(),
            Way::Shared(channel) => channel.wants(false).into_iter().flatten().collect(),
        };
        wait_for(fds, until)?;
        if let Way::Own(process) = &mut self.way {
            keep(&mut self.complaints, process.complaints());
        }
        let done = self.exchange();
        done.map_err(|error| self.channel_error(error))
    }

    fn exchange(&mut self) -> io::Result<()> {
        self.channel().flush()?;
        self.channel().fill(LONGEST)
    }

    fn line(&mut self, until: Instant) -> io::Result<Vec<u8>> {
        loop {
            if let Some(line) = self.next()? {
                return Ok(line);
            }
            if self.channel().is_at_end() {
                return Err(self.end("it has closed its output"));
            }
            self.turn(until)?;
        }
    }

    /// The next line that has come.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(line) = self.channel().line().map(<[u8]>::to_vec) else {
                return match self.channel().pending() {
                    0..LONGEST => Ok(None),
                    _ => Err(io::Error::other("a line without an end")),
                };
            };
            match line.strip_prefix(LOG) {
                Some(text) if self.is_shared() => {
                    let text = String::from_utf8_lossy(text).into_owned();
                    // The last one may say why there are no more.
                    self.complaints.truncate(MOST_COMPLAINTS - 1);
                    self.complaints.push(text);
                }
                _ => return Ok(Some(line)),
            }
        }
    }

    /// Nobody reads any more: why.
    fn channel_error(&mut self, error: io::Error) -> io::Error {
        match error.kind() {
            ErrorKind::BrokenPipe => {
                // What was said before that is heard.
                let _ = self.channel().fill(LONGEST);
                while matches!(self.next(), Ok(Some(_))) {}
                self.end("it has closed its input")
            }
            _ => error,
        }
    }

    /// It has ended: how; or `otherwise`.
    fn end(&mut self, otherwise: &str) -> io::Error {
        let mut why = "it has ended".to_owned();
        // The last line of the process that keeps a shared filter says why.
        if self.is_shared() {
            why = self.complaints.pop().unwrap_or(why);
        }
        if let Way::Own(process) = &mut self.way {
            // What it had open may be closed a moment before it is gone.
            let soon = Instant::now() + Duration::from_millis(100);
            let ended = loop {
                let ended = process.ended();
                if ended.is_some() || Instant::now() > soon {
                    break ended;
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            why = ended.map_or(otherwise.to_owned(), |how| format!("{why}: {how}"));
            keep(&mut self.complaints, process.complaints());
        }
        io::Error::new(ErrorKind::UnexpectedEof, why)
    }

    fn channel(&mut self) -> &mut Channel {
        match &mut self.way {
            Way::Own(process) => &mut process.lines,
            Way::Shared(channel) => channel,
        }
    }
}

/// Keeps the last lines for the log: what ends a filter is said last.
pub(super) fn keep(kept: &mut Vec<String>, more: Vec<String>) {
    kept.extend(more);
    let too_many = kept.len().saturating_sub(MOST_COMPLAINTS);
    kept.drain(..too_many);
}

fn read(line: &[u8]) -> io::Result<Line<'_>> {
    match protocol::parse(line).map_err(|why| said(why, line))? {
        Line::Register(_) | Line::Ready => Err(said("it registers too late", line)),
        line => Ok(line),
    }
}

/// What is wrong with a line, and its beginning.
fn said(why: &str, line: &[u8]) -> io::Error {
    let beginning = String::from_utf8_lossy(&line[..line.len().min(80)]);
    io::Error::new(ErrorKind::InvalidData, format!("{why}: '{beginning}'"))
}
