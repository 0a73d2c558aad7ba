//! The filter of a broker: it is started, what it says is passed on, and it is made an end of.

use std::time::{Duration, Instant};

use super::{Broker, Client, MOST};
use crate::net::{Channel, Coprocess};
use crate::plugins::filter::link::{HANDSHAKE, LOG, MOST_UNASKED, keep};
use crate::plugins::filter::protocol::{self, Line, Wanted};

/// The filter.
pub(super) struct Filter {
    pub(super) process: Coprocess,
    /// What it has registered, line by line.
    pub(super) registered: Vec<u8>,
    pub(super) wanted: Wanted,
    pub(super) is_ready: bool,
    /// When it has said something.
    pub(super) spoke: Instant,
    /// How many octets it has said for nobody since it was last told something.
    pub(super) unasked: usize,
}

impl Broker {
    pub(super) fn start(&mut self) {
        if self.backoff.left().is_some() {
            return;
        }
        self.complaints.clear();
        match self.program.start(&self.me) {
            Ok(process) => {
                self.filter = Some(Filter {
                    process,
                    registered: vec![],
                    wanted: Wanted::default(),
                    is_ready: false,
                    spoke: Instant::now(),
                    unasked: 0,
                });
            }
            Err(error) => {
                self.complaints.push(format!("it cannot be started: {error}"));
                self.backoff.failed(Duration::ZERO);
            }
        }
    }

    /// Takes what the filter says.
    pub(super) fn hear_filter(&mut self) {
        let is_jammed = self.is_jammed();
        let Some(filter) = &mut self.filter else { return };
        let complaints = filter.process.complaints();
        let heard = if is_jammed { Ok(()) } else { filter.process.lines.fill(MOST) };
        let done = heard.map_err(|error| error.to_string()).and_then(|()| self.pass_on());
        self.complain(complaints);
        let Some(filter) = &mut self.filter else { return };
        let is_late = !filter.is_ready && filter.process.age() > HANDSHAKE;
        if let Err(why) = done {
            self.fail(&why);
        } else if filter.process.lines.is_at_end() {
            let how = filter.process.ended().unwrap_or_else(|| "its output is closed".into());
            self.fail(&format!("it has ended: {how}"));
        } else if filter.process.lines.pending() >= MOST {
            self.fail("a line without an end");
        } else if is_late {
            self.fail("it does not say what it registers for");
        }
    }

    /// Gives the filter's lines to those whom they are for.
    fn pass_on(&mut self) -> Result<(), String> {
        let Some(filter) = &mut self.filter else { return Ok(()) };
        while let Some(line) = filter.process.lines.line() {
            filter.spoke = Instant::now();
            if !filter.is_ready {
                match protocol::parse(line)? {
                    Line::Register(registered) => filter.wanted.add(registered),
                    Line::Ready => filter.is_ready = true,
                    _ => return Err("it speaks before it is ready".into()),
                }
                filter.registered.extend_from_slice(line);
                filter.registered.push(b'\n');
                continue;
            }
            let Some(session) = protocol::session_in_answer(line) else {
                let beginning = String::from_utf8_lossy(&line[..line.len().min(80)]);
                return Err(format!("a line of an unknown kind: '{beginning}'"));
            };
            // Who is gone needs no answer.
            let owner = self.sessions.get(&session).map(|owner| owner.client);
            if let Some(client) = owner.and_then(|client| self.clients.get_mut(&client)) {
                let sent = client.channel.send(&[line, b"\n"].concat());
                client.is_gone |= sent.is_err();
            } else {
                filter.unasked += line.len() + 1;
                if filter.unasked > MOST_UNASKED {
                    return Err("it sends too much that nobody asked for".into());
                }
            }
        }
        Ok(())
    }

    /// The filter is of no use any more: it is made an end of, and those who use it are told.
    pub(super) fn fail(&mut self, why: &str) {
        let Some(mut filter) = self.filter.take() else { return };
        self.complain(filter.process.complaints());
        self.backoff.failed(filter.process.age());
        self.sessions.clear();
        let why = vec![why.to_owned()];
        for client in self.clients.values_mut().filter(|client| !client.is_leaving) {
            tell(&mut client.channel, &why);
            client.is_leaving = true;
        }
        keep(&mut self.complaints, why);
    }

    /// Somebody hears what the filter says for the log.
    fn complain(&mut self, complaints: Vec<String>) {
        keep(&mut self.complaints, complaints);
        // Whoever has not taken the last ones gets no more of them.
        let is_idle = |client: &&mut Client| !client.is_leaving && client.channel.waiting() == 0;
        if let Some(client) = self.clients.values_mut().find(is_idle) {
            tell(&mut client.channel, &std::mem::take(&mut self.complaints));
        }
    }
}

/// Sends lines for the log.
pub(super) fn tell(channel: &mut Channel, lines: &[String]) {
    for line in lines {
        let line = line.replace('\n', " ");
        let _ = channel.send(&[LOG, line.as_bytes(), b"\n"].concat());
    }
}
