//! The client's side of SMTP and LMTP, for the plugins that hand messages to another server.

mod deliver;
mod lines;
#[cfg(test)]
mod peer;
mod place;
mod reply;
mod wire;
mod xclient;

pub(crate) use deliver::lost;
pub(crate) use lines::{CrlfLines, Dots};
#[cfg(test)]
pub(crate) use peer::Peer;
pub(crate) use place::{Place, parse_port};
pub(crate) use reply::{Reply, unable};
pub(crate) use wire::Wire;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::hook::{Session, Verdict};
use crate::log::Level;

/// The longest wait for the greeting, and for the reply to a command (RFC 5321 4.5.3.2.1-4).
const COMMAND: Duration = Duration::from_secs(300);

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

/// Servers of which one is to take each message.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Where they are, in the order in which they are tried.
    pub(crate) places: Vec<Place>,
    pub(crate) protocol: Protocol,
    /// Is the server to be told about the client with XCLIENT?
    pub(crate) xclient: bool,
}

impl Backend {
    /// Hands the message to the first server that can be talked to.  DECLINED, with a text, where
    /// there is none; then nobody has seen the message.
    pub(crate) fn hand_over(&self, session: &mut Session) -> Verdict {
        let name = session.me();
        let session = &*session;
        let until = end_of_waiting(session);
        let mut why = "no server";
        for (number, place) in self.places.iter().enumerate() {
            session.log(Level::Info, format_args!("forwarding to {place}"));
            // Servers that are down leave time for the others, and for the message.
            let parts = (self.places.len() - number + 1) as u32;
            let share = until.saturating_duration_since(Instant::now()) / parts;
            match self.reach(session, place, &name, Instant::now() + share) {
                Ok(mut client) => {
                    client.wire.set_end(until);
                    let verdict = client.deliver(session);
                    client.quit();
                    return verdict;
                }
                Err(unusable) => {
                    why = unusable.what;
                    session.log(Level::Error, format_args!("{place}: {why}: {}", unusable.details));
                }
            }
        }
        Verdict::declined(format!("Unable to queue message ({why}) (#4.4.1)"))
    }

    fn reach(
        &self,
        session: &Session,
        place: &Place,
        name: &str,
        until: Instant,
    ) -> Result<Client, Unusable> {
        let unusable = |what| move |error: io::Error| Unusable { what, details: error.to_string() };
        let wire = Wire::connect(place, until);
        let wire = wire.map_err(unusable("the back end cannot be reached"))?;
        let mut client = Client { wire, protocol: self.protocol, offers: vec![] };
        let greeting = client.reply().map_err(unusable("the back end does not greet"))?;
        greeting.or_unusable("the back end refused the connection")?;
        client
            .hello(name)
            .map_err(unusable("the back end does not answer"))?
            .or_unusable("the back end refused the greeting")?;
        if self.xclient {
            client.xclient(&session.connection, name)?;
        }
        Ok(client)
    }
}

/// Why a server cannot be used: for the client, and more of it for the log.
struct Unusable {
    what: &'static str,
    details: String,
}

impl Reply {
    fn or_unusable(self, what: &'static str) -> Result<Reply, Unusable> {
        let details = self.shown();
        if self.is_ok() { Ok(self) } else { Err(Unusable { what, details }) }
    }
}

/// When waiting for others has to end, so that there is time left to say so: a little before the
/// handler is overdue.
pub(crate) fn end_of_waiting(session: &Session) -> Instant {
    let left = session.time_left();
    Instant::now() + left - (left / 10).min(Duration::from_secs(1))
}

/// A server that has greeted.
pub(crate) struct Client {
    wire: Wire,
    protocol: Protocol,
    /// The lines of its reply to EHLO but the first.
    offers: Vec<String>,
}

impl Client {
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
        Reply::read(&mut self.wire, COMMAND)
    }

    /// Takes leave.  Whatever comes of it, the message is where it is.
    fn quit(mut self) {
        if self.wire.write_all(b"QUIT\r\n").is_ok() {
            let _ = Reply::read(&mut self.wire, FAREWELL);
        }
    }
}
