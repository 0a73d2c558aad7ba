//! ```text
//! NAME
//!     ident/p0f - finds out which operating system the client runs
//!
//! SYNOPSIS
//!     ident/p0f SOCKET [smite_os REGEXP] [add_headers true|false] [local_ip ADDRESS] [version 3]
//!
//! DESCRIPTION
//!     p0f, version 3, watches the packets of the network.  From the first packet of a connection
//!     it guesses which operating system has sent it, how that system is connected, and how far
//!     away it is.  This plugin asks p0f about each client, and keeps the answer in the note p0f.
//!     greylisting can choose by it whom to defer, and other plugins can use it.
//!
//!     config/p0f_blocked_operating_systems names systems from whose clients recipients are
//!     refused.  A client that may relay or is on a white list is not tested.
//!
//!     While p0f does not answer nothing is known of clients, and the log says so; with "on_error
//!     tempfail" they are told to try again later.
//!
//!     Place the plugin near the top, before the plugins that use the note.  Start p0f with a
//!     socket that the user of the sessions may write to:
//!
//!         p0f -u nobody -d -s /run/p0f.socket 'dst port 25'
//!
//! ARGUMENTS
//!     SOCKET               the path of p0f's socket
//!     smite_os REGEXP      take 1 from the karma of clients with such a system; case does not matter
//!     add_headers false    do not add header fields to the message; true by default
//!     local_ip ADDRESS     accepted, and has no effect: version 3 needs only the client's address
//!     version 3            the only version
//!     timeout SECONDS      time limit for each look-up; 5 by default
//!     on_error ignore      let clients in while p0f does not answer; the default
//!     on_error tempfail    tell them to try again later
//!
//! CONFIG
//!     p0f_blocked_operating_systems   one system per line, as p0f names it, such as "Windows XP", or
//!                                     /REGEXP/
//!
//! REPLIES
//!     550 OS Blocked   at RCPT
//!
//! HEADERS
//!     X-P0F-Genre       name and flavor of the system, if p0f knows them
//!     X-P0F-Link-Type   the kind of its link, if p0f knows it
//!
//!     They replace fields of these names that came with the message.
//!
//! NOTES
//!     p0f           on the connection: a table with p0f's answer: status, first_seen, last_seen,
//!                   total_conn, uptime_min, up_mod_days, last_nat, last_chg, distance, bad_sw,
//!                   os_match_q, os_name, os_flavor, http_name, http_flavor, link_type, language; and,
//!                   if the system is known, genre, link and uptime, the names of version 2
//!     p0f_exclude   on the connection: true for a client that is not refused for its system
//!
//! DIFFERENCES
//!     The Perl plugin of the same name also asks p0f of version 2, which nobody runs any more.  It
//!     asks about IPv6 addresses wrongly, and it asks twice.
//!
//! SEE ALSO
//!     greylisting, karma, ident/geoip
//! ```

mod answer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use regex::Regex;

use self::answer::{Answer, LENGTH};
use crate::config::Lines;
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, Session, Verdict};
use crate::log::Level;
use crate::mail::patterns::compile;
use crate::net::{Endpoint, Wire};
use crate::state::{Note, Value};

/// What p0f says of the client's system; a note of the connection.
pub const P0F: Note<BTreeMap<String, Value>> = Note::new("p0f");

/// The client is not refused for its system; a note of the connection.
const EXCLUDE: Note<bool> = Note::new("p0f_exclude");

/// How long p0f may take where the argument timeout does not say, in seconds.
const TIMEOUT: u64 = 5;

struct Plugin {
    socket: Endpoint,
    smites: Option<Regex>,
    timeout: Duration,
    /// Is nobody let in while p0f does not answer?
    is_strict: bool,
}

/// The systems that are not wanted.
#[derive(Default)]
struct Blocked {
    names: Vec<String>,
    patterns: Vec<Regex>,
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let socket = args.required(0, "p0f's socket")?;
    Args::new(args.positional().into_iter().skip(1)).only(&[
        "smite_os",
        "add_headers",
        "local_ip",
        "version",
    ])?;
    if args.parsed("version", 3u32)? != 3 {
        return Err(Error::new("only version 3 of p0f is supported; there is no other any more"));
    }
    if !socket.starts_with('/') {
        return Err(Error::new(format!("no path of a socket: '{socket}'")));
    }
    let adds_headers = args.flag("add_headers", true)?;
    let plugin = Plugin {
        socket: Endpoint::parse(socket, None)?,
        smites: args.named("smite_os").map(compile).transpose()?,
        timeout: Duration::from_secs(args.parsed("timeout", TIMEOUT)?),
        is_strict: args.fail_closed(),
    };
    let blocked = hooks.derived_checked("p0f_blocked_operating_systems", Blocked::parse);
    hooks.connect(move |session| plugin.at_connect(session));
    hooks.rcpt(move |session, _recipient, _params| {
        let blocked = session.derived(&blocked);
        match genre(session).is_some_and(|genre| blocked.has(&genre)) && !is_excluded(session) {
            true => session.get_reject("OS Blocked"),
            false => DECLINED,
        }
    });
    if adds_headers {
        hooks.data_post(|session| {
            let Some(p0f) = session.connection.notes.get(P0F) else { return };
            let header = &mut session.transaction.header;
            for (name, key) in [("X-P0F-Genre", "genre"), ("X-P0F-Link-Type", "link_type")] {
                if let Some(Value::Str(value)) = p0f.get(key)
                    && !value.is_empty()
                    && value.is_ascii()
                {
                    header.delete(name);
                    header.add_at(0, name, value);
                }
            }
        });
    }
    Ok(())
}

impl Plugin {
    fn at_connect(&self, session: &mut Session) -> io::Result<Verdict> {
        let octets = match session.outside("p0f", || self.ask(session)) {
            Ok(octets) => octets,
            Err(error) if self.is_strict => return Err(error),
            Err(error) => {
                session.log(Level::Error, format_args!("skip, {}: {error}", self.socket));
                return Ok(DECLINED);
            }
        };
        match Answer::read(&octets) {
            Answer::System(system) => self.known(session, system),
            Answer::NoMatch => drop(session.skip("no match")),
            Answer::Wrong(why) if self.is_strict => return Err(io::Error::other(why)),
            Answer::Wrong(why) => session.log(Level::Error, format_args!("skip, {why}")),
        }
        Ok(DECLINED)
    }

    fn ask(&self, session: &Session) -> io::Result<Vec<u8>> {
        let until = session.deadline_within(self.timeout);
        let mut wire = Wire::connect(&self.socket, until)?;
        wire.write_all(&answer::question(session.connection.remote_ip))?;
        (0..LENGTH).map(|_| wire.octet(until)).collect()
    }

    fn known(&self, session: &mut Session, system: BTreeMap<String, Value>) {
        let genre = match system.get("genre") {
            Some(Value::Str(genre)) => genre.clone(),
            _ => String::new(),
        };
        session.log(Level::Info, if genre.is_empty() { "system not known" } else { &genre });
        if !genre.is_empty() && self.smites.as_ref().is_some_and(|smites| smites.is_match(&genre)) {
            session.adjust_karma(-1);
        }
        session.connection.notes.set(P0F, system);
    }
}

impl Blocked {
    fn parse(lines: &Lines, problems: &mut Vec<Error>) -> Blocked {
        let mut blocked = Blocked::default();
        lines.read_each(problems, |line| {
            match line.text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
                None => blocked.names.push(line.text.clone()),
                Some(pattern) => blocked.patterns.push(compile(pattern)?),
            }
            Ok::<_, Error>(())
        });
        blocked
    }

    fn has(&self, genre: &str) -> bool {
        self.names.iter().any(|name| name == genre)
            || self.patterns.iter().any(|pattern| pattern.is_match(genre))
    }
}

/// The client's system, as far as it is known.
fn genre(session: &Session) -> Option<String> {
    match session.connection.notes.get(P0F)?.remove("genre") {
        Some(Value::Str(genre)) if !genre.is_empty() => Some(genre),
        _ => None,
    }
}

fn is_excluded(session: &mut Session) -> bool {
    let known = session.connection.notes.get(EXCLUDE);
    known.unwrap_or_else(|| {
        let is_excluded = session.is_immune();
        session.connection.notes.set(EXCLUDE, is_excluded);
        is_excluded
    })
}

/// For the fuzz targets: an answer of p0f.
pub(crate) fn read_answer(octets: &[u8]) {
    if let Answer::System(system) = Answer::read(octets) {
        let is_clean = |value: &Value| match value {
            Value::Str(text) => text.len() < LENGTH && !text.contains(char::is_control),
            _ => true,
        };
        assert!(octets.len() == LENGTH && system.values().all(is_clean));
    }
}
