//! ```text
//! NAME
//!     virus/clamdscan - asks clamd whether a message has a virus
//!
//! SYNOPSIS
//!     virus/clamdscan [clamd_socket PATH] [clamd_port PORT [clamd_host HOST]]
//!                     [deny_viruses yes|no] [defer_on_error yes|no] [max_size KB] [scan_all 0|1]
//!
//! DESCRIPTION
//!     Hands every message to the daemon of ClamAV.  A message with a virus is refused with "Virus
//!     found: NAME", the client is marked as naughty, and its karma gets worse.
//!
//!     Other messages get X-Virus-Found: No, and X-Virus-Checked with the version of the daemon.
//!     Large messages are not scanned.  Neither are messages of clients that are naughty already.
//!
//!     If no daemon answers correctly, for example because it is reading its database anew, the
//!     message is accepted as it is.  With "defer_on_error yes", or "on_error tempfail", the client
//!     gets 451 instead, and tries again later.  A message that is too large for the daemon would
//!     be so each time: it is accepted as large messages are, and the log says so.
//!
//!     Several daemons are asked in turn until one answers.  They share the time limit, and one
//!     that has failed is asked last for a minute.
//!
//!     X-Virus-Found, X-Virus-Checked and X-Virus-Details that came with the message could have
//!     been written by anybody.  They are renamed to X-Old-Virus-..., whether or not the message is
//!     scanned.
//!
//!     The message is sent through the connection, so the daemon needs no rights in the spool
//!     folder.  The daemon's StreamMaxLength must not be less than max_size.  The Perl plugin of
//!     the same name sends the message this way only with clamd_port.
//!
//! ARGUMENTS
//!     clamd_socket PATH    the daemon's socket; /run/clamav/clamd.ctl by default.  It may be given
//!                          more than once.
//!     clamd_port PORT      the daemon's port, instead of the socket
//!     clamd_host HOST      the host of this port; localhost by default.  It may be given more than
//!                          once.
//!     deny_viruses no      do not refuse, but add X-Virus-Found: Yes, and X-Virus-Details with the
//!                          name; yes by default
//!     defer_on_error yes   refuse temporarily what could not be scanned: 451 Unable to scan for
//!                          viruses; no by default
//!     max_size KB          the largest message that is scanned; 1024 by default
//!     scan_all 0           scan only messages with parts, Content-Type: multipart/...; 1 by default
//!     timeout SECONDS      time limit for each message; 300 by default
//!     on_error tempfail    the same as defer_on_error yes
//!
//!     virus/clamdscan defer_on_error yes max_size 25000
//!
//! NOTES
//!     naughty   on the connection: see the plugin naughty
//!
//! SEE ALSO
//!     naughty
//! ```

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, Session, Verdict};
use crate::log::Level;
use crate::net::{Endpoint, Servers, Wire, parse_port};
use crate::state::Transaction;

const KNOWN: [&str; 7] = [
    "clamd_socket",
    "clamd_host",
    "clamd_port",
    "deny_viruses",
    "defer_on_error",
    "max_size",
    "scan_all",
];

/// The longest answer of the daemon, in octets.
const LONGEST: usize = 4096;

/// How much of the message is sent in one piece, in octets.
const PIECE: usize = 1 << 16;

/// What the arguments say.
struct Scanner {
    servers: Servers<Endpoint>,
    denies: bool,
    defers: bool,
    /// In octets.
    most: u64,
    scans_all: bool,
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&KNOWN)?;
    let kilobytes: u64 = args.parsed("max_size", 1024)?;
    let scanner = Scanner {
        servers: Servers::new(endpoints(args)?),
        denies: args.flag("deny_viruses", true)?,
        defers: args.flag("defer_on_error", false)? || args.fail_closed(),
        most: if kilobytes == 0 { 1024 } else { kilobytes }.saturating_mul(1024),
        scans_all: args.flag("scan_all", true)?,
    };
    hooks.data_post(move |session| scanner.check(session));
    Ok(())
}

fn endpoints(args: &Args) -> Result<Vec<Endpoint>> {
    if let Some(port) = args.named("clamd_port") {
        let mut hosts: Vec<_> = args.all_named("clamd_host").collect();
        if hosts.is_empty() {
            hosts.push("localhost");
        }
        let port = parse_port(port).map_err(|why| why.within("argument clamd_port"))?;
        let at = |host: &str| match Endpoint::parse(host, Some(port))? {
            endpoint @ Endpoint::Tcp { .. } => Ok(endpoint),
            Endpoint::Unix(_) => Err(Error::value("clamd_host", host, "a host")),
        };
        return hosts.into_iter().map(at).collect();
    }
    let mut paths: Vec<_> = args.all_named("clamd_socket").collect();
    if paths.is_empty() {
        paths.push("/run/clamav/clamd.ctl");
    }
    let at = |path: &str| match path.starts_with('/') {
        true => Ok(Endpoint::Unix(PathBuf::from(path))),
        false => Err(Error::value("clamd_socket", path, "a path that begins with /")),
    };
    paths.into_iter().map(at).collect()
}

/// What a daemon says of a message.
enum Finding {
    /// Nothing is in it, says a daemon of this name.
    Clean(String),
    /// This is in it.
    Virus(String),
    /// It is more than the daemon takes.
    TooLarge,
}

impl Scanner {
    fn check(&self, session: &mut Session) -> Verdict {
        let is_asked = self.is_asked(session);
        let finding = if is_asked { self.ask(session) } else { None };
        session.distrust_virus_fields();
        match finding {
            Some(Finding::Clean(version)) => {
                session.pass("clean");
                let checked = format!("by {version} on {}", session.me());
                let header = &mut session.transaction.header;
                header.add_at(0, "X-Virus-Found", "No");
                header.add_at(0, "X-Virus-Checked", &checked);
                DECLINED
            }
            Some(Finding::Virus(name)) => self.found(session, &name),
            Some(Finding::TooLarge) => {
                let text = "skip, more than clamd takes; see StreamMaxLength of clamd.conf";
                session.log(Level::Warn, text);
                DECLINED
            }
            None if is_asked && self.defers => Verdict::denysoft("Unable to scan for viruses"),
            None => DECLINED,
        }
    }

    fn is_asked(&self, session: &Session) -> bool {
        let size = session.transaction.message_len();
        if session.is_naughty() {
            return false;
        }
        if size > self.most {
            session.skip(format_args!("too big ({size})"));
            return false;
        }
        let has_parts = self.scans_all || has_parts(&session.transaction);
        if !has_parts {
            session.log(Level::Notice, "skip, not multipart");
        }
        has_parts
    }

    /// What the first daemon says that says something.
    fn ask(&self, session: &Session) -> Option<Finding> {
        let ask = |server: &Endpoint, end| {
            session.outside("clamd", || scan(server, &session.transaction, end))
        };
        self.servers.ask(session.deadline(), ask, |server, error| {
            session.log(Level::Error, format_args!("Error scanning mail: {server}: {error}"));
        })
    }

    fn found(&self, session: &mut Session, name: &str) -> Verdict {
        session.log(Level::Notice, format_args!("fail, found virus {name}"));
        let text = format!("Virus found: {name}");
        session.store_deferred_reject(&text);
        session.adjust_karma(-1);
        if self.denies {
            return Verdict::deny(text);
        }
        let header = &mut session.transaction.header;
        header.add_at(0, "X-Virus-Found", "Yes");
        header.add_at(0, "X-Virus-Details", name);
        DECLINED
    }
}

/// What the daemon at `server` finds in the message.
fn scan(server: &Endpoint, transaction: &Transaction, until: Instant) -> io::Result<Finding> {
    let mut wire = Wire::connect(server, until)?;
    // It answers before the end where the message is more than it takes.
    wire.stop_at_input(true);
    let sent = send(&mut wire, transaction);
    wire.stop_at_input(false);
    let answer = match (sent, wire.line(LONGEST, until)) {
        (Err(error), Err(_)) => return Err(error),
        (_, answer) => answer?,
    };
    let result = answer.strip_prefix("stream: ").unwrap_or(&answer);
    match result.rsplit_once(' ') {
        None if result == "OK" => Ok(Finding::Clean(version(server, until))),
        Some((name, "FOUND")) => Ok(Finding::Virus(name.to_owned())),
        _ if result.starts_with("INSTREAM size limit exceeded") => Ok(Finding::TooLarge),
        _ => Err(io::Error::other(format!("the daemon says: {answer}"))),
    }
}

/// What the daemon calls itself, without the version of its database.
fn version(server: &Endpoint, until: Instant) -> String {
    let asked = || -> io::Result<String> {
        let mut wire = Wire::connect(server, until)?;
        wire.write_all(b"nVERSION\n")?;
        wire.line(LONGEST, until)
    };
    let version = asked().unwrap_or_default();
    match version.split('/').next() {
        Some(version) if !version.is_empty() => version.to_owned(),
        _ => "ClamAV".to_owned(),
    }
}

/// Sends the message: pieces with their length before each, and 0 at the end.
fn send(wire: &mut Wire, transaction: &Transaction) -> io::Result<()> {
    wire.write_all(b"nINSTREAM\n")?;
    let mut pieces = io::BufWriter::with_capacity(PIECE, Pieces(wire));
    transaction.write_message(&mut pieces)?;
    pieces.flush()?;
    drop(pieces);
    wire.write_all(&[0; 4])
}

/// Every write is a piece.
struct Pieces<'a>(&'a mut Wire);

impl Write for Pieces<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let piece = &octets[..octets.len().min(PIECE)];
        if !piece.is_empty() {
            self.0.write_all(&(piece.len() as u32).to_be_bytes())?;
            self.0.write_all(piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does the header section say that there are parts (RFC 2046 5.1)?
fn has_parts(transaction: &Transaction) -> bool {
    let kind = transaction.header.get("Content-Type").unwrap_or_default().to_ascii_lowercase();
    kind.trim_start().starts_with("multipart/") && kind.contains("boundary=")
}

#[cfg(test)]
mod tests;
