//! The client's side of SMTP and LMTP, for the plugins that hand messages to another server, or ask one
//! about recipients.

mod auth;
mod backend;
mod by_domain;
mod deliver;
mod exchangers;
mod kept;
mod lines;
#[cfg(test)]
mod peer;
mod reply;
mod routes;
mod sts;
mod target;
mod verdicts;
mod xclient;

pub(crate) use backend::{Backend, Silence};
pub(crate) use by_domain::ByDomain;
pub(crate) use kept::Kept;
pub(crate) use lines::{CrlfLines, Stuffer};
#[cfg(test)]
pub(crate) use peer::Peer;
pub(crate) use reply::{Reply, unable};
pub(crate) use routes::route_any;
pub(crate) use sts::{Sts, read_any as read_any_policy};
pub(crate) use sts::{TABLE as STS_TABLE, explain as explain_sts};
pub(crate) use verdicts::lost;

use std::io::{self, Write};
use std::time::Duration;

use crate::net::Wire;

/// The longest wait for the greeting, and for the reply to a command (RFC 5321 4.5.3.2.1-4).
const COMMAND: Duration = Duration::from_secs(300);

/// The longest wait for the reply to RSET over a connection that was kept.
const ANEW: Duration = Duration::from_secs(5);

/// The longest wait for the reply to QUIT, by which nothing is decided any more.
const FAREWELL: Duration = Duration::from_secs(1);

/// How to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// RFC 5321.
    Smtp,
    /// RFC 2033: a final reply for each recipient.
    Lmtp,
}

impl Protocol {
    /// How calls to such servers are counted.
    fn word(self) -> &'static str {
        match self {
            Protocol::Smtp => "smtp",
            Protocol::Lmtp => "lmtp",
        }
    }
}

/// Why a server cannot be used: for the client, and more of it for the log.
struct Unusable {
    what: &'static str,
    details: String,
    /// Is TLS what failed, and not needed?
    may_be_clear: bool,
}

impl Unusable {
    fn new(what: &'static str, details: impl ToString) -> Unusable {
        Unusable { what, details: details.to_string(), may_be_clear: false }
    }
}

impl Reply {
    fn or_unusable(self, what: &'static str) -> Result<Reply, Unusable> {
        let details = self.shown();
        if self.is_ok() { Ok(self) } else { Err(Unusable::new(what, details)) }
    }
}

/// A server that has greeted.
pub(crate) struct Client {
    wire: Wire,
    protocol: Protocol,
    /// The lines of its reply to EHLO but the first.
    offers: Vec<String>,
    /// Which server it is, for the log.
    place: String,
    /// What is known of it under TLS, for the log.
    assurance: &'static str,
    /// Has it been sent any of a message's text?
    has_text: bool,
    /// Can it be given another message?
    is_sound: bool,
}

impl Client {
    /// A server that has said nothing yet.
    fn new(wire: Wire, protocol: Protocol, place: String) -> Client {
        Client {
            wire,
            protocol,
            offers: vec![],
            place,
            assurance: "",
            has_text: false,
            is_sound: true,
        }
    }

    /// Which server it is, and how it is spoken to.
    fn shown(&self) -> String {
        match self.wire.tls() {
            Some(tls) => format!("{}, {tls}, {}", self.place, self.assurance),
            None => format!("{}, in the clear", self.place),
        }
    }

    /// Says who we are.
    fn hello(&mut self, name: &str) -> io::Result<Reply> {
        let verb = if self.protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
        let mut reply = self.ask(&format!("{verb} {name}"))?;
        self.offers.clear();
        if reply.is_ok() {
            self.offers.extend(reply.lines.iter().skip(1).cloned());
        } else if self.protocol == Protocol::Smtp && reply.code / 100 == 5 {
            reply = self.ask(&format!("HELO {name}"))?;
        }
        Ok(reply)
    }

    /// The same, where nothing can be done without it.
    fn greet(&mut self, name: &str) -> Result<(), Unusable> {
        let failed = |error| Unusable::new("the back end does not answer", error);
        let reply = self.hello(name).map_err(|error: io::Error| failed(error))?;
        reply.or_unusable("the back end refused the greeting").map(|_| ())
    }

    /// What follows the keyword of an extension; None where it is not offered.
    fn offer(&self, keyword: &str) -> Option<&str> {
        let words = |line| str::split_once(line, ' ').unwrap_or((line, ""));
        let mut offers = self.offers.iter().map(|line| words(line));
        offers.find(|(word, _)| word.eq_ignore_ascii_case(keyword)).map(|(_, rest)| rest)
    }

    /// Sends a command; its reply.
    fn ask(&mut self, command: &str) -> io::Result<Reply> {
        self.wire.write_all(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        self.reply_within(COMMAND)
    }

    /// The next reply, which may take `most`.  After 421 the server closes the connection (RFC 5321
    /// 3.8).
    fn reply_within(&mut self, most: Duration) -> io::Result<Reply> {
        let reply = Reply::read(&mut self.wire, most);
        self.is_sound &= reply.as_ref().is_ok_and(|reply| reply.code != 421);
        reply
    }

    /// Is the server ready for another message?  One that has said something unasked is not: what it says
    /// next could be taken for the reply to something else.
    fn starts_anew(&mut self) -> bool {
        self.wire.has_heard().is_ok_and(|has_heard| !has_heard)
            && self.wire.write_all(b"RSET\r\n").is_ok()
            && self.reply_within(ANEW).is_ok_and(|reply| reply.code == 250)
    }

    /// Takes leave.  Whatever comes of it, the message is where it is.
    fn quit(mut self) {
        if self.wire.write_all(b"QUIT\r\n").is_ok() {
            let _ = Reply::read(&mut self.wire, FAREWELL);
        }
        self.wire.close();
    }
}
