//! Those who use the filter of a broker: what they say, what they do not take, and when they go.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Broker, MOST};
use crate::net::Channel;
use crate::plugins::filter::protocol::{self, Event, Version};

/// Says that an answer has not come in time; the session and the token of the request follow.
const OVERDUE: &[u8] = b"overdue|";

/// How long somebody may take nothing of what waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Somebody who uses the filter.
pub(super) struct Client {
    pub(super) channel: Channel,
    /// Has it been told what the filter has registered for?
    pub(super) is_greeted: bool,
    pub(super) is_gone: bool,
    /// Has it been told all that there is for it?  It is gone when it has taken that.
    pub(super) is_leaving: bool,
    /// Since when it has taken nothing of what waits for it, and how much that was.
    pub(super) stuck: Option<(Instant, usize)>,
}

/// Whose a session is, and when the filter was last told or asked something about it.
pub(super) struct Owner {
    pub(super) client: u64,
    pub(super) asked: Instant,
}

impl Broker {
    /// Takes what those who use the filter say.
    pub(super) fn hear_clients(&mut self) {
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        for id in ids {
            self.hear_client(id);
        }
    }

    fn hear_client(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.is_leaving {
            return;
        }
        let Some(filter) = self.filter.as_mut().filter(|filter| filter.is_ready) else { return };
        if !std::mem::replace(&mut client.is_greeted, true) {
            client.is_gone |= client.channel.send(&filter.registered).is_err();
        }
        if filter.process.lines.waiting() <= MOST {
            client.is_gone |= client.channel.fill(MOST).is_err();
        }
        let mut is_stuck = false;
        while let Some(line) = client.channel.line() {
            if let Some(rest) = line.strip_prefix(OVERDUE) {
                is_stuck |= is_silent(&self.sessions, rest, filter.spoke);
                continue;
            }
            let Some(session) = protocol::session_of(line) else { continue };
            if line.split(|octet| *octet == b'|').nth(4) == Some(b"link-disconnect") {
                self.sessions.remove(&session);
            } else {
                self.sessions.insert(session, Owner { client: id, asked: Instant::now() });
            }
            // One that does not read any more is found out when an answer is overdue.
            let _ = filter.process.lines.send(&[line, b"\n"].concat());
            filter.unasked = 0;
        }
        client.is_gone |= client.channel.is_at_end();
        if is_stuck {
            self.fail("it does not answer");
        }
    }

    /// Those who have gone, and those who have taken the last that there was for them, are forgotten.
    pub(super) fn part(&mut self) {
        let is_over =
            |client: &Client| client.is_gone || client.is_leaving && client.channel.waiting() == 0;
        let over = self.clients.iter().filter(|(_, client)| is_over(client));
        let over: Vec<u64> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.leave(id);
        }
    }

    /// Somebody has gone: its sessions are over.
    fn leave(&mut self, id: u64) {
        self.clients.remove(&id);
        let gone = self.sessions.extract_if(|_, owner| owner.client == id);
        let gone: Vec<u64> = gone.map(|(session, _)| session).collect();
        let Some(filter) = &mut self.filter else { return };
        for session in gone {
            if filter.wanted.event(Event::LinkDisconnect) {
                let version: Version = self.program.version();
                let line = protocol::report(version, Event::LinkDisconnect, session, &[]);
                let _ = filter.process.lines.send(&line);
            }
        }
    }

    /// Writes what waits, and finds out who takes nothing of it.
    pub(super) fn write(&mut self) {
        if let Some(filter) = &mut self.filter {
            let _ = filter.process.lines.flush();
        }
        for client in self.clients.values_mut() {
            client.is_gone |= client.channel.flush().is_err();
            let waiting = client.channel.waiting();
            client.stuck = match client.stuck {
                _ if waiting == 0 => None,
                Some((since, was)) if waiting >= was => {
                    client.is_gone |= since.elapsed() > TIMEOUT;
                    Some((since, was))
                }
                _ => Some((Instant::now(), waiting)),
            };
        }
    }
}

/// Has the filter been silent since it was asked what is overdue?
fn is_silent(sessions: &HashMap<u64, Owner>, rest: &[u8], spoke: Instant) -> bool {
    let text = String::from_utf8_lossy(rest);
    let session = text.split('|').next().and_then(|word| u64::from_str_radix(word, 16).ok());
    let owner = session.and_then(|session| sessions.get(&session));
    owner.is_some_and(|owner| spoke < owner.asked)
}
