//! ```text
//! NAME
//!     queue/postfix-queue - hands messages to Postfix
//!
//! SYNOPSIS
//!     queue/postfix-queue [/SOCKET] [FLAG_NAME ...]
//!
//! DESCRIPTION
//!     Hands each message to Postfix's cleanup(8), which puts it into the queue.  When cleanup says
//!     that the message is safely there, the client is told "Queued!  MESSAGE-ID (Queue-Id: ID)".
//!     Postfix's smtpd(8) is not needed.
//!
//!     A permanent refusal of cleanup is answered 552, a temporary one 452, with the reason that
//!     cleanup gives, or else with one of these:
//!
//!         452   service unavailable         552   no recipients specified
//!               queue file write error            too many hops
//!               internal protocol error           message file too big
//!                                                 message content rejected
//!                                                 service denied
//!
//!     If no cleanup listens on a socket, the log says so, and the next socket is tried.  If there
//!     is none left, another queue plugin may take the message; without one the client gets 451.
//!     If the connection breaks later, nobody knows whether Postfix has the message: then the
//!     client gets 451, and no other plugin is asked.
//!
//!     What the client asks for in delivery status notifications (DSN, RFC 3461) goes to cleanup,
//!     and Postfix sends the notifications.
//!
//!     Messages in quarantine are put on hold: they stay in Postfix's queue until somebody releases
//!     them with "postsuper -H" or throws them away with "postsuper -d".
//!
//!     Only members of the group postdrop may use the socket, so the server's user has to be a
//!     member.  Postfix before 2.1 does not know all of the flags, and before 2.3 it does not know
//!     DSN.
//!
//!     The Perl plugin of the same name says "Queued!" even if the connection breaks before cleanup
//!     has answered.
//!
//! ARGUMENTS
//!     /SOCKET     cleanup's socket; /var/spool/postfix/public/cleanup by default
//!     FLAG_NAME   what cleanup has to do with messages; none of these by default
//!
//!                     FLAG_FILTER          apply header_checks, body_checks and content_filter
//!                     FLAG_MILTER          ask the milters of Postfix
//!                     FLAG_FILTER_ALL      both
//!                     FLAG_BCC_OK          add recipients, as always_bcc says
//!                     FLAG_MAP_OK          change addresses, as virtual_alias_maps says
//!                     FLAG_MASK_EXTERNAL   all of these: what Postfix does with mail from outside
//!                     FLAG_MASK_INTERNAL   the same as FLAG_MAP_OK
//!                     FLAG_HOLD            put messages on hold
//!                     FLAG_DISCARD         throw all messages away
//!                     FLAG_MASK_EXTRA      both
//!                     FLAG_BOUNCE          send what cannot be taken back to the sender
//!                     FLAG_SMTPUTF8        the message needs SMTPUTF8 (RFC 6531)
//!                     FLAG_AUTOUTF8        find out whether it does
//!                     FLAG_NONE            nothing
//!
//!                 An unknown flag is ignored, and reported in the log.
//!
//!     queue/postfix-queue FLAG_MASK_EXTERNAL
//!
//! CONFIG
//!     cleanup_sockets   where cleanup listens, used instead of /SOCKET: one socket or ADDRESS:PORT per
//!                       line; the first that works gets the message
//!
//!     If the server has the environment variable POSTFIXQUEUE, its value is one such place, and is
//!     used instead of both.
//!
//! SEE ALSO
//!     queue/smtp-forward, queue/qmail-queue
//! ```

mod cleanup;

use std::io;

use self::cleanup::Cleanup;
use crate::error::Result;
use crate::forward::Reply;
use crate::hook::{Args, Code, DECLINED, Extension, Hooks, Outside, Session, Verdict};
use crate::log::Level;
use crate::net::turns;
use crate::plugins::queue::message_id;
use crate::state::Note;

/// The flags that cleanup was given for this transaction, as a number.
pub const FLAGS: Note<i64> = Note::new("postfix-queue-flags");

/// The places where cleanup was looked for in this transaction.
pub const SOCKETS: Note<Vec<String>> = Note::new("postfix-queue-sockets");

/// The socket of a Postfix that is where it is usually.
const SOCKET: &str = "/var/spool/postfix/public/cleanup";

/// Keep it until somebody has looked at it.
const HOLD: i64 = 1 << 2;

/// The flags of cleanup, from Postfix's global/cleanup_user.h.
const FLAG_NAMES: &[(&str, i64)] = &[
    ("FLAG_NONE", 0),
    ("FLAG_BOUNCE", 1 << 0),
    ("FLAG_FILTER", 1 << 1),
    ("FLAG_HOLD", HOLD),
    ("FLAG_DISCARD", 1 << 3),
    ("FLAG_BCC_OK", 1 << 4),
    ("FLAG_MAP_OK", 1 << 5),
    ("FLAG_MILTER", 1 << 6),
    ("FLAG_SMTPUTF8", 1 << 8),
    ("FLAG_AUTOUTF8", 1 << 9),
    ("FLAG_FILTER_ALL", 1 << 1 | 1 << 6),
    ("FLAG_MASK_EXTERNAL", 1 << 1 | 1 << 6 | 1 << 4 | 1 << 5),
    ("FLAG_MASK_INTERNAL", 1 << 5),
    ("FLAG_MASK_EXTRA", HOLD | 1 << 3),
];

/// What the bits of cleanup's status mean.  Of several the first in this table counts: what may be
/// for now is not refused for good.
const STATUSES: &[(i64, Code, &str)] = &[
    (1 << 8, Code::DenySoft, "service unavailable (#4.7.1)"),
    (1 << 7, Code::DenySoft, "queue file write error (#4.3.0)"),
    (1 << 0, Code::DenySoft, "internal protocol error (#4.3.0)"),
    (1 << 1, Code::DenySoft, "queue file write error (#4.3.0)"),
    (1 << 6, Code::Deny, "no recipients specified (#5.1.0)"),
    (1 << 4, Code::Deny, "too many hops (#5.4.0)"),
    (1 << 2, Code::Deny, "message file too big (#5.3.4)"),
    (1 << 3, Code::Deny, "message content rejected (#5.7.1)"),
    (1 << 9, Code::Deny, "service denied (#5.7.1)"),
];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let mut words = args.positional();
    let socket = words.first().is_some_and(|word| word.starts_with('/'));
    let socket = if socket { words.remove(0) } else { SOCKET }.to_owned();
    let mut flags = 0;
    for word in words {
        match FLAG_NAMES.iter().find(|row| row.0 == word) {
            Some((_, bits)) => flags |= bits,
            None => hooks.log(Level::Warn, format_args!("Ignoring unknown cleanup flag {word}")),
        }
    }
    let variable = std::env::var("POSTFIXQUEUE").ok().filter(|value| !value.is_empty());
    hooks.supports(Extension::Dsn);
    hooks.queue(move |session| {
        let endpoints = endpoints(variable.as_deref(), session, &socket);
        let hold = session.quarantined().map_or(0, |_| HOLD);
        let flags = flags | hold;
        session.transaction.notes.set(FLAGS, flags);
        session.transaction.notes.set(SOCKETS, endpoints.clone());
        queue(session, &endpoints, flags)
    });
    Ok(())
}

/// Where cleanup may be: what the environment, else config/cleanup_sockets, else the argument says.
fn endpoints(variable: Option<&str>, session: &mut Session, socket: &str) -> Vec<String> {
    if let Some(endpoint) = variable {
        return vec![endpoint.to_owned()];
    }
    let listed = session.config("cleanup_sockets");
    let listed: Vec<_> = listed.iter().map(str::to_owned).collect();
    if listed.is_empty() { vec![socket.to_owned()] } else { listed }
}

fn queue(session: &mut Session, endpoints: &[String], flags: i64) -> io::Result<Verdict> {
    let until = session.deadline();
    for (endpoint, end) in turns(endpoints, until) {
        let call = Outside::begin("postfix");
        match Cleanup::open(endpoint, end) {
            Ok(mut cleanup) => {
                let taken = cleanup.take(&session.transaction, flags, until);
                session.end_outside(call, &taken);
                let (status, reason) = taken?;
                session.queued_as(&cleanup.queue_id);
                return Ok(verdict(session, status, &reason, &cleanup.queue_id));
            }
            Err(error) => {
                session.end_outside(call, &Err::<(), _>(&error));
                session.log(Level::Error, format_args!("Couldn't open \"{endpoint}\": {error}"));
            }
        }
    }
    session.log(Level::Error, "Unable to open any cleanup sockets!");
    Ok(DECLINED)
}

fn verdict(session: &Session, status: i64, reason: &str, queue_id: &str) -> Verdict {
    if status == 0 {
        return Verdict::ok(format!("Queued! {} (Queue-Id: {queue_id})", message_id(session)));
    }
    session.log(Level::Error, format_args!("{queue_id}: status {status}, {reason}"));
    match STATUSES.iter().find(|row| status & row.0 != 0) {
        Some((_, code, text)) if reason.is_empty() => Verdict::new(*code, *text),
        Some((_, code, _)) => Verdict::new(*code, in_our_words(*code, reason)),
        None => Verdict::declined(format!("Unable to queue message ({status}, {reason})")),
    }
}

/// Cleanup's reason, with the status that it begins with at the end, as plugins write it.
fn in_our_words(code: Code, reason: &str) -> String {
    let code = if code == Code::Deny { 550 } else { 450 };
    // With a reply code where a milter gave one.
    let text = |line: &str| line.strip_prefix(&format!("{code} ")).unwrap_or(line).to_owned();
    Reply { code, lines: reason.lines().map(text).collect() }.text()
}

#[cfg(test)]
mod tests;
