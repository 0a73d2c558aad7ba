//! The events of a session, for the log: docs/events.md.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::ledger::Times;
use super::{Ledger, Session};
use crate::hook::{CORE, Hook, KARMA};
use crate::log::event::{self, Event, Kind};
use crate::log::{self, Level, Record};
use crate::mail::Address;
use crate::metrics;
use crate::settings::EVENTS;

impl Session {
    /// What the filter `name` says of the message, more for worse, for its events.
    pub fn score(&mut self, name: &str, score: f64) {
        self.ledger.scores.insert(name.to_owned(), score);
    }

    /// What the back end that has taken the message calls it, an id or a path, for its event.
    pub fn queued_as(&self, id: impl std::fmt::Display) {
        self.ledger.queue_id.replace(Some(id.to_string()));
    }

    pub(in crate::hook) fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// A client has come.
    pub(crate) fn log_connection(&mut self) {
        if self.wants_events() {
            let event = Event::new(Kind::Connection);
            self.log_event(event);
        }
    }

    /// A command or a message is refused with this reply; `about` is what it was about.
    pub(crate) fn log_refusal(&mut self, hook: Hook, code: u16, text: &str, about: &str) {
        self.ledger.refusals += 1;
        self.remember("refusal", hook, code, text, about);
        if !self.wants_events() {
            return;
        }
        let mut event = Event::new(Kind::Refusal);
        if hook == Hook::Mail {
            event.set("sender", about);
        } else if hook == Hook::Rcpt {
            event.set("recipient", about);
        }
        self.say_decision(&mut event, hook, code, text);
        self.log_event(event);
    }

    /// A message has come to its end: `result` says what became of it.
    pub(crate) fn log_message(&mut self, result: &'static str, code: u16, text: &str) {
        let transaction = &self.transaction;
        let (octets, recipients) = (transaction.message_len(), transaction.accepted());
        if result == "accepted" {
            self.ledger.messages += 1;
            self.ledger.recipients += recipients as u64;
            self.ledger.octets += octets;
        }
        self.remember(result, Hook::Queue, code, text, "");
        if !self.wants_events() {
            return;
        }
        let mut event = Event::new(Kind::Message);
        event.set("result", result);
        self.say_decision(&mut event, Hook::Queue, code, text);
        event.set("queue_id", self.ledger.queue_id.borrow().clone());
        event.set("seconds", event::seconds(self.ledger.mail.elapsed()));
        say_times(&mut event, self.ledger.of_transaction(), Hook::MailParse);
        self.log_event(event);
    }

    /// The session is over.
    pub(crate) fn log_session(&mut self) {
        if !self.wants_events() {
            return;
        }
        let mut event = Event::new(Kind::Session);
        event.set("commands", self.commands);
        event.set("messages", self.ledger.messages);
        event.set("accepted_recipients", self.ledger.recipients);
        event.set("octets", self.ledger.octets);
        event.set("refusals", self.ledger.refusals);
        event.set("seconds", event::seconds(self.age()));
        say_times(&mut event, self.ledger.of_session(), Hook::Logging);
        self.log_event(event);
    }

    /// Keeps the most of an event for those who look at the status.
    fn remember(&self, what: &str, hook: Hook, code: u16, text: &str, about: &str) {
        if !metrics::is_kept() {
            return;
        }
        let decided = self.ledger.decided.as_ref().filter(|decided| is_at(decided.hook, hook));
        let short = |text: &str, most: usize| {
            let mut text = log::clean(&self.discreet(text.to_owned())).into_owned();
            text.truncate(log::beginning(&text, most).len());
            text
        };
        let of =
            |address: Option<&Address>| short(&address.map_or(String::new(), Address::path), 60);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics::remember(&[
            &now.as_secs().to_string(),
            what,
            &self.connection.remote_ip.to_string(),
            decided.map_or(hook, |decided| decided.hook).name(),
            decided.map_or(CORE, |decided| &self.shared.plugins.loaded(decided.plugin).name),
            &code.to_string(),
            &short(text, 100),
            &short(about, 60),
            &of(self.transaction.sender()),
            &of(self.transaction.recipients().first()),
        ]);
    }

    /// Is there anybody who would keep an event?
    fn wants_events(&mut self) -> bool {
        if !self.shared.plugins.wants(Level::Info) {
            return false;
        }
        match self.setting(EVENTS) {
            "all" => true,
            "json" => self.shared.plugins.wants_json(Level::Info),
            _ => false,
        }
    }

    /// Who has decided, and what the client is told.
    fn say_decision(&mut self, event: &mut Event, hook: Hook, code: u16, text: &str) {
        match &self.ledger.decided {
            Some(decided) if is_at(decided.hook, hook) => {
                event.set("hook", decided.hook.name());
                event.set("plugin", &*self.shared.plugins.loaded(decided.plugin).name);
                event.set("verdict", decided.verdict);
            }
            _ => {
                event.set("hook", hook.name());
                event.set("plugin", CORE);
            }
        }
        event.set("code", code);
        event.set("text", text);
        let transaction = &self.transaction;
        if let Some(sender) = transaction.sender() {
            event.set("sender", sender.to_string());
        }
        let recipients = transaction.recipients();
        event.set("recipients", recipients.iter().map(ToString::to_string).collect::<Vec<_>>());
        if !recipients.is_empty() {
            event.set("recipient_count", recipients.len());
        }
        if !transaction.header.is_empty() {
            event.set("size", transaction.message_len());
            event.set(
                "message_id",
                transaction.header.get("Message-ID").map(|id| id.trim().to_owned()),
            );
        }
        event.set("authentication", transaction.results.texts());
        event.set("quarantine", self.quarantined());
    }

    /// Says who the client is, and writes the event to the log.
    fn log_event(&mut self, said: Event) {
        let mut event = Event::new(said.kind());
        let connection = &self.connection;
        event.set("ip", connection.remote_ip.to_string());
        event.set("port", connection.remote_port);
        event.set("name", connection.known_host().filter(|name| *name != "Unknown"));
        event.set("local_port", connection.local_port);
        event.set("helo", &*connection.hello_host);
        let protocol = match () {
            () if connection.hello.is_none() => "",
            () if connection.is_lmtp() => "lmtp",
            () if connection.is_esmtp() => "esmtp",
            () => "smtp",
        };
        event.set("protocol", protocol);
        event.set("tls", connection.encryption.as_ref().map(|tls| tls.protocol.clone()));
        event.set("cipher", connection.encryption.as_ref().map(|tls| tls.cipher.clone()));
        event.set("user", connection.auth_user.clone());
        event.set("mechanism", connection.auth_mechanism.clone());
        event.set("relay", connection.relay_client);
        event.extend(said);
        let karma = connection.notes.get(KARMA).filter(|karma| *karma != 0);
        let karma = karma.map(|karma| ("karma".to_owned(), karma.into()));
        let scores = self.ledger.scores.iter().map(|(name, score)| (name.clone(), (*score).into()));
        event.set("scores", karma.into_iter().chain(scores).collect::<Map<_, Value>>());
        event.each_text(&|text| self.discreet(log::clean(&text).into_owned()));
        let is_for_all = self.setting(EVENTS) == "all";
        let record = Record {
            level: Level::Info,
            session: &self.id,
            transaction: self.transaction.sender().map_or(0, |_| self.transactions),
            peer: Some(self.connection.remote_ip),
            text: &event.start(),
            event: Some(&event),
            ..Record::default()
        };
        self.shared.plugins.write_event(&record, is_for_all);
    }
}

/// Does a decision at one hook count for another?  AUTH has several, and a message comes to the last.
fn is_at(decided: Hook, hook: Hook) -> bool {
    match hook {
        Hook::Auth => (Hook::AuthParse..=Hook::AuthFailed).contains(&decided),
        Hook::Queue => (Hook::Data..=Hook::Queue).contains(&decided),
        hook => decided == hook,
    }
}

fn say_times(event: &mut Event, times: &Times, first: Hook) {
    let hooks = times.hooks(first).map(|(name, time)| (name.to_owned(), event::seconds(time)));
    event.set("hook_seconds", hooks.collect::<Map<_, _>>());
    let outside = times.outside().iter();
    let spent = outside.clone().map(|spent| (spent.call.to_owned(), event::seconds(spent.time)));
    event.set("outside_seconds", spent.collect::<Map<_, _>>());
    let failed = outside.filter(|spent| spent.failed > 0);
    let failed = failed.map(|spent| (spent.call.to_owned(), spent.failed.into()));
    event.set("outside_failed", failed.collect::<Map<_, Value>>());
}
