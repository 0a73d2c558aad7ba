//! ```text
//! NAME
//!     qmail_deliverable - asks qmail-deliverabled whether qmail can deliver to a recipient
//!
//! SYNOPSIS
//!     qmail_deliverable [server HOST:PORT | server smtproutes:[HOST:]PORT] [routes FILE]
//!                       [vpopmail_ext 0|1] [reject 0|1|naughty]
//!
//! DESCRIPTION
//!     Refuses a recipient that the qmail on this machine or another one would have to bounce.  The
//!     plugin asks qmail-deliverabled, a daemon of the Perl distribution Qmail::Deliverable, by
//!     HTTP.  The daemon looks the recipient up as qmail does: in virtualdomains, users/assign,
//!     dot-qmail files and vpopmail's folders.
//!
//!     The answers of the daemon:
//!
//!         0x00             not deliverable: refused, and the client's karma is 1 less
//!         0x14             a mailing list: the null sender is refused; the karma stays as it is
//!         0xf1 to 0xf6     deliverable: the next plugin decides
//!         0x11 to 0x13     it cannot tell: the next plugin decides
//!         0x21, 0x22       temporarily undeliverable, because the home folder is not safe: the same
//!         0xff             not local: the same
//!         everything else  nothing is decided, and on_error counts: an error, no answer, or an answer
//!                          that is no code
//!
//!     Recipients of a client that may relay or is on a white list are not looked up.  Neither is a
//!     recipient that the daemon does not accept: one with other characters than RFC 5322 allows in
//!     atoms.
//!
//!     Place it before rcpt_ok.
//!
//! ARGUMENTS
//!     server HOST:PORT          where the daemon listens; 127.0.0.1:8998 by default
//!     server smtproutes:HOST:PORT
//!                               for a domain in /var/qmail/control/smtproutes, ask the daemon on the
//!                               host named there, on the same port; for other domains ask HOST
//!     server smtproutes:PORT    the same, but do not look up recipients in other domains
//!     routes FILE               use this file instead, with lines DOMAIN:HOST.  .DOMAIN stands for all
//!                               domains below it, an empty DOMAIN for all others; with an empty HOST
//!                               nothing is looked up
//!     vpopmail_ext 1            user-ext@example.org is delivered to user@example.org if the former is
//!                               not deliverable and the part before a - is a mailbox of vpopmail; 0 by
//!                               default
//!     timeout SECONDS           time limit for each look-up; 30 by default
//!     reject 1                  refuse at once; the default
//!     reject 0                  refuse nothing; write to the log what would be refused
//!     reject naughty            leave it to the plugin naughty to refuse the client later
//!     on_error tempfail         if nothing is decided, tell the client to try again later; the default
//!     on_error ignore           if nothing is decided, leave the recipient to the next plugin
//!
//! REPLIES
//!     550 5.1.1 Sorry, no mailbox by that name. qd
//!     550 mailing lists do not accept null senders
//!
//! DIFFERENCES
//!     The Perl plugin of the same name accepts every recipient while the daemon is down, as with
//!     "on_error ignore", and waits for it for three minutes. vpopmail_ext has no effect there,
//!     because the daemon does the looking up.
//!
//! SEE ALSO
//!     rcpt_verify, goodrcptto, rcpt_ok
//! ```

mod daemon;
mod routes;
#[cfg(test)]
mod tests;

use std::path::absolute;
use std::rc::Rc;
use std::time::Duration;

use self::daemon::{Daemon, code, question};
use self::routes::Routes;
use crate::config::Derived;
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, Session, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::net::Endpoint;

const SERVER: &str = "127.0.0.1:8998";
const ROUTES: &str = "/var/qmail/control/smtproutes";

/// How long a look-up may take where the argument timeout does not say.
const TIMEOUT: u64 = 30;

/// The most parts of a local part that are tried as mailboxes.
const MOST_PARTS: usize = 4;

/// Not deliverable.
const NOT: u8 = 0x00;
const MAILING_LIST: u8 = 0x14;
const NOT_LOCAL: u8 = 0xff;

/// What is known of those codes that let a recipient pass.
const CODES: [(u8, &str); 13] = [
    (0x11, "error, permission failure"),
    (0x12, "pass, qmail-command in dot-qmail"),
    (0x13, "pass, bouncesaying with program"),
    (MAILING_LIST, "pass, ezmlm list"),
    (0x21, "error, temporarily undeliverable: group/world writable"),
    (0x22, "error, temporarily undeliverable: sticky home directory"),
    (0xf1, "pass, normal delivery"),
    (0xf2, "pass, vpopmail dir"),
    (0xf3, "pass, vpopmail alias"),
    (0xf4, "pass, vpopmail catchall"),
    (0xf5, "pass, vpopmail vuser"),
    (0xf6, "pass, vpopmail qmail-ext"),
    (NOT_LOCAL, "fail, address not local"),
];

struct Plugin {
    daemon: Daemon,
    place: Place,
    has_extensions: bool,
    timeout: Duration,
}

/// Where the daemon is.
enum Place {
    At(Endpoint),
    /// At the host to which the domain is routed, or another one.
    Routed {
        routes: Rc<Derived<Routes>>,
        otherwise: Option<String>,
        port: u16,
    },
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["server", "routes", "vpopmail_ext"])?;
    let plugin = Plugin {
        daemon: Daemon::new(),
        place: place(hooks, args)?,
        has_extensions: args.flag("vpopmail_ext", false)?,
        timeout: Duration::from_secs(args.parsed("timeout", TIMEOUT)?),
    };
    hooks.rcpt(move |session, recipient, _params| plugin.judge(session, recipient));
    Ok(())
}

fn place(hooks: &mut Hooks, args: &Args) -> Result<Place> {
    let server = args.named("server").unwrap_or(SERVER);
    let Some(rest) = server.strip_prefix("smtproutes:") else {
        return match Endpoint::parse(server, None).map_err(|why| why.within("argument server"))? {
            Endpoint::Unix(_) => Err(Error::value("server", server, "HOST:PORT")),
            tcp => Ok(Place::At(tcp)),
        };
    };
    // A host is there to be read with its port, whatever it is.
    let host = rest.rsplit_once(':').map(|(host, _)| host).filter(|host| !host.is_empty());
    let port = rest.rsplit(':').next().unwrap_or_default();
    let Endpoint::Tcp { host: checked, port } =
        Endpoint::parse(&format!("{}:{port}", host.unwrap_or("localhost")), None)?
    else {
        return Err(Error::value("server", server, "smtproutes:HOST:PORT, smtproutes:PORT"));
    };
    let file = hooks.config().expand(args.named("routes").unwrap_or(ROUTES));
    let file = absolute(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let routes = hooks.derived_checked(file.to_string_lossy().into_owned(), Routes::parse);
    Ok(Place::Routed { routes, otherwise: host.map(|_| checked), port })
}

impl Plugin {
    fn judge(&self, session: &mut Session, recipient: &Address) -> Result<Verdict> {
        if session.is_immune() {
            return Ok(DECLINED);
        }
        let address = recipient.key();
        let address = address.trim_end_matches('@');
        if question(address).is_none() {
            return Ok(session.skip(format_args!("{recipient} is not asked about")));
        }
        let Some(server) = self.place.server(session, recipient) else {
            return Ok(session.skip(format_args!("no route for {}", recipient.host())));
        };
        let until = session.deadline_within(self.timeout);
        let ask = |address: &str| {
            session.outside("deliverabled", || self.daemon.deliverable(&server, address, until))
        };
        let mut found = ask(address)?;
        if found == NOT && self.has_extensions && is_extended(address, ask)? {
            found = 0xf6;
        }
        self.decide(session, recipient, found)
    }

    fn decide(&self, session: &mut Session, recipient: &Address, found: u8) -> Result<Verdict> {
        let is_bounce = session.transaction.sender().is_some_and(Address::is_null);
        match CODES.iter().find(|(known, _)| *known == found) {
            _ if found == NOT => {
                session.adjust_karma(-1);
                let text = "Sorry, no mailbox by that name. qd (#5.1.1)";
                Ok(session.get_reject_logged(text, format_args!("{recipient} is not deliverable")))
            }
            _ if found == MAILING_LIST && is_bounce => {
                session.adjust_karma(-1);
                let text = "mailing lists do not accept null senders";
                Ok(session.get_reject_logged(text, format_args!("{recipient} is a mailing list")))
            }
            Some((_, text)) => {
                session.log(Level::Info, text);
                Ok(DECLINED)
            }
            None => Err(Error::new(format!("qmail-deliverabled says 0x{found:02x}"))),
        }
    }
}

impl Place {
    /// Host and port; None: there is nobody to ask.
    fn server(&self, session: &mut Session, recipient: &Address) -> Option<String> {
        match self {
            Place::At(endpoint) => Some(endpoint.to_string()),
            Place::Routed { routes, otherwise, port } => {
                let routes = session.derived(routes);
                let host = routes.find(&recipient.canonical_host()).or(otherwise.as_deref())?;
                Some(Endpoint::Tcp { host: host.to_owned(), port: *port }.to_string())
            }
        }
    }
}

/// Is a part of the local part in front of a - a mailbox of vpopmail?
fn is_extended(address: &str, ask: impl Fn(&str) -> Result<u8>) -> Result<bool> {
    let Some((user, host)) = address.rsplit_once('@') else { return Ok(false) };
    for (at, _) in user.match_indices('-').filter(|(at, _)| *at > 0).take(MOST_PARTS) {
        if matches!(ask(&format!("{}@{host}", &user[..at]))?, 0xf2 | 0xf5) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// For the fuzz targets: an answer of the daemon.
pub(crate) fn read_answer(octets: &[u8]) {
    let _ = code(octets);
}
