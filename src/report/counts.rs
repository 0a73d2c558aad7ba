//! What the events of a log add up to.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::line::{Event, Line, Numbers};
use super::sample::Sample;

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) lines: u64,
    pub(super) events: u64,
    /// Lines that should have an event and cannot be read.
    pub(super) unreadable: u64,
    /// The first and the last time.
    pub(super) times: Option<(String, String)>,
    pub(super) connections: u64,
    pub(super) sessions: u64,
    pub(super) with_tls: u64,
    pub(super) with_user: u64,
    pub(super) refusals: u64,
    pub(super) failures: u64,
    pub(super) accepted: u64,
    pub(super) deferred: u64,
    pub(super) refused: u64,
    pub(super) quarantined: u64,
    /// Of accepted messages.
    pub(super) recipients: u64,
    pub(super) octets: u64,
    /// By the hour, `2026-11-28T14`.
    pub(super) hours: BTreeMap<String, Hour>,
    /// By plugin, hook and code; within it by text.
    pub(super) refused_by: HashMap<(String, String, u64), HashMap<String, u64>>,
    pub(super) failed_plugins: HashMap<(String, String), u64>,
    pub(super) senders: HashMap<String, u64>,
    pub(super) sender_domains: HashMap<String, u64>,
    pub(super) recipient_names: HashMap<String, u64>,
    pub(super) clients: HashMap<String, Client>,
    pub(super) users: HashMap<String, u64>,
    pub(super) authentication: HashMap<String, u64>,
    pub(super) tls: HashMap<String, u64>,
    pub(super) queues: HashMap<String, u64>,
    /// From MAIL to the answer.
    pub(super) latency: Sample,
    /// By hook, in a session.
    pub(super) hooks: HashMap<String, Sample>,
    /// By what was asked, in a session.
    pub(super) outside: HashMap<String, Outside>,
}

/// An hour, or another piece of time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Hour {
    pub(super) connections: u64,
    pub(super) accepted: u64,
    pub(super) deferred: u64,
    pub(super) refused: u64,
    pub(super) refusals: u64,
    pub(super) octets: u64,
}

/// A client, by its address.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) connections: u64,
    pub(super) accepted: u64,
    pub(super) refusals: u64,
}

/// What was asked elsewhere.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) sample: Sample,
    pub(super) failed: u64,
}

impl Counts {
    /// Counts a line, if it has an event of that time.
    pub(super) fn line(&mut self, line: &[u8], time: Option<&str>) {
        self.lines += 1;
        match Line::read(line) {
            None => {}
            Some(Ok(Line { time: when, event: Some(event) })) => {
                let when = when.as_str();
                if time.is_none_or(|time| when.starts_with(time)) {
                    self.event(when, &event);
                }
            }
            Some(_) => self.unreadable += 1,
        }
    }

    fn event(&mut self, when: &str, event: &Event<'_>) {
        self.events += 1;
        self.at(when);
        match event.kind.as_str() {
            "connection" => self.connection(when, event),
            "refusal" => self.refusal(when, event),
            "message" => self.message(when, event),
            "session" => self.session(event),
            _ => {}
        }
    }

    fn at(&mut self, when: &str) {
        let Some((first, last)) = &mut self.times else {
            self.times = Some((when.to_owned(), when.to_owned()));
            return;
        };
        if when < first.as_str() {
            when.clone_into(first);
        }
        if when > last.as_str() {
            when.clone_into(last);
        }
    }

    fn hour(&mut self, when: &str) -> &mut Hour {
        entry(&mut self.hours, when.get(..13).unwrap_or(when))
    }

    fn client(&mut self, event: &Event<'_>) -> &mut Client {
        let name = event.name.as_str();
        let client = of(&mut self.clients, event.ip.as_str());
        if client.name.is_empty() && !name.is_empty() {
            name.clone_into(&mut client.name);
        }
        client
    }

    fn connection(&mut self, when: &str, event: &Event<'_>) {
        self.connections += 1;
        self.hour(when).connections += 1;
        self.client(event).connections += 1;
    }

    fn refusal(&mut self, when: &str, event: &Event<'_>) {
        self.refusals += 1;
        self.hour(when).refusals += 1;
        self.client(event).refusals += 1;
        let (plugin, hook) = (event.plugin.as_str(), event.hook.as_str());
        if event.verdict.as_str() == "FAILURE" {
            self.failures += 1;
            *of2(&mut self.failed_plugins, plugin, hook) += 1;
        }
        let place = (plugin.to_owned(), hook.to_owned(), event.code);
        let texts = self.refused_by.entry(place).or_default();
        *of(texts, &kind_of(event.text.as_str())) += 1;
    }

    fn message(&mut self, when: &str, event: &Event<'_>) {
        self.latency.add(event.seconds);
        for result in &event.authentication {
            let result = result.as_str().split([' ', ';']).next().unwrap_or("");
            *of(&mut self.authentication, result) += 1;
        }
        self.quarantined += u64::from(!event.quarantine.as_str().is_empty());
        match event.result.as_str() {
            "accepted" => self.accepted(when, event),
            "deferred" => {
                self.deferred += 1;
                self.hour(when).deferred += 1;
            }
            _ => {
                self.refused += 1;
                self.hour(when).refused += 1;
            }
        }
    }

    fn accepted(&mut self, when: &str, event: &Event<'_>) {
        self.accepted += 1;
        // A number in a log may be anything.
        self.octets = self.octets.saturating_add(event.size);
        let recipients = event.recipient_count.max(event.recipients.len() as u64);
        self.recipients = self.recipients.saturating_add(recipients);
        let hour = self.hour(when);
        hour.accepted += 1;
        hour.octets = hour.octets.saturating_add(event.size);
        self.client(event).accepted += 1;
        let sender = event.sender.as_str();
        *of(&mut self.senders, sender) += 1;
        let domain = sender.trim_end_matches('>').rsplit_once('@').map_or("<>", |(_, host)| host);
        *of(&mut self.sender_domains, &domain.to_ascii_lowercase()) += 1;
        for recipient in &event.recipients {
            *of(&mut self.recipient_names, recipient.as_str()) += 1;
        }
        if !event.plugin.as_str().is_empty() {
            *of(&mut self.queues, event.plugin.as_str()) += 1;
        }
    }

    fn session(&mut self, event: &Event<'_>) {
        self.sessions += 1;
        let (tls, user) = (event.tls.as_str(), event.user.as_str());
        self.with_tls += u64::from(!tls.is_empty());
        self.with_user += u64::from(!user.is_empty());
        *of(&mut self.tls, if tls.is_empty() { "none" } else { tls }) += 1;
        if !user.is_empty() {
            *of(&mut self.users, user) += 1;
        }
        let Numbers(hooks) = &event.hook_seconds;
        for (hook, seconds) in hooks {
            of(&mut self.hooks, hook.as_str()).add(*seconds);
        }
        for (name, seconds) in &event.outside_seconds.0 {
            of(&mut self.outside, name.as_str()).sample.add(*seconds);
        }
        for (name, failed) in &event.outside_failed.0 {
            let outside = of(&mut self.outside, name.as_str());
            outside.failed = outside.failed.saturating_add(*failed as u64);
        }
    }
}

/// The text of a reply without what differs from one client to the next: addresses and numbers.
fn kind_of(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let varies = word.contains('@') || {
            let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            core.contains(['.', ':'])
                && core.bytes().any(|b| b.is_ascii_digit())
                && !word.starts_with("(#")
        };
        if varies { "..." } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The value of a key, which is copied only where it is new.
fn of<'a, V: Default>(map: &'a mut HashMap<String, V>, key: &str) -> &'a mut V {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), V::default());
    }
    map.get_mut(key).expect("it was there or was put there")
}

fn of2<'a>(map: &'a mut HashMap<(String, String), u64>, one: &str, two: &str) -> &'a mut u64 {
    map.entry((one.to_owned(), two.to_owned())).or_default()
}

fn entry<'a, V: Default>(map: &'a mut BTreeMap<String, V>, key: &str) -> &'a mut V {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), V::default());
    }
    map.get_mut(key).expect("it was there or was put there")
}

/// The keys with the highest counts, the most first, then by name.
pub(super) fn most<K: Clone + Ord + Hash>(map: &HashMap<K, u64>, top: usize) -> Vec<(K, u64)> {
    let mut all: Vec<_> = map.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    all.into_iter().take(top).map(|(key, count)| (key.clone(), *count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_of_a_kind_whoever_they_name() {
        assert_eq!(kind_of("Relaying denied (#5.7.1)"), "Relaying denied (#5.7.1)");
        assert_eq!(kind_of("no <a@b.test> at 192.0.2.1, or (2001:db8::1)"), "no ... at ... or ...");
        assert_eq!(kind_of("Try later: 5 minutes"), "Try later: 5 minutes");
    }

    #[test]
    fn events_are_counted_by_their_time() {
        let mut counts = Counts::default();
        let message = r#"{"time":"2026-11-28T10:00:00.000Z","event":{"kind":"message","result":"accepted","sender":"<a@B.test>","recipients":["<c@d.test>"],"recipient_count":1,"size":10,"seconds":0.5,"ip":"192.0.2.1","plugin":"queue/maildir","authentication":["spf=pass smtp.mailfrom=b.test"]}}"#;
        counts.line(message.as_bytes(), None);
        counts.line(message.replace("28T10", "29T11").as_bytes(), Some("2026-11-28"));
        counts.line(message.replace("10:00:00", "10:59:59").as_bytes(), Some("2026-11-28T10"));
        counts.line(b"{\"time\":\"x\",\"event\":{", None);
        counts.line(b"else", None);
        assert_eq!((counts.lines, counts.events, counts.unreadable), (5, 2, 1));
        assert_eq!((counts.accepted, counts.octets, counts.recipients), (2, 20, 2));
        assert_eq!(counts.hours["2026-11-28T10"].accepted, 2);
        assert_eq!(most(&counts.sender_domains, 5), [("b.test".to_owned(), 2)]);
        assert_eq!(most(&counts.authentication, 5), [("spf=pass".to_owned(), 2)]);
        let (first, last) = counts.times.unwrap();
        assert!(first < last && last.contains("10:59"));
    }
}
