//! Clients that deliver, and what became of their messages.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Client, Log, TIMEOUT, poll};

/// Clients that deliver at the same time.
const CLIENTS: usize = 8;

/// Every message is tried once, whatever becomes of it.
#[derive(Default)]
pub(super) struct Load {
    tried: AtomicUsize,
    /// Attempts that got a temporary refusal.
    refused: AtomicUsize,
    /// The subjects of those that got a 250.
    acknowledged: Mutex<Vec<String>>,
}

impl Load {
    /// Clients deliver until `meanwhile` comes back.  The subjects begin with `name`.
    pub(super) fn run(&self, name: &str, to: SocketAddr, log: &Log, meanwhile: impl FnOnce()) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = Stop(&stop);
            for number in 0..CLIENTS {
                let stop = &stop;
                scope.spawn(move || self.client(name, number, to, log, stop));
            }
            meanwhile();
        });
    }

    /// Delivers one message, in as many attempts as it takes.
    pub(super) fn one(&self, name: &str, to: SocketAddr, log: &Log) {
        let mut count = 0;
        let deliver = || {
            let mut client = greeted(TcpStream::connect(to).ok()?, log)?;
            count += 1;
            self.deliver(&mut client, &format!("{name}, {count}"), 10).ok()?.then_some(())
        };
        poll(TIMEOUT, deliver).expect("a message is accepted");
    }

    /// Waits until so many more messages were tried, and some accepted.
    pub(super) fn wait(&self, count: usize) {
        let accepted = || self.acknowledged.lock().unwrap().len();
        let (tried, stored) = (self.tried.load(Ordering::Relaxed) + count, accepted() + count / 8);
        let enough =
            || (self.tried.load(Ordering::Relaxed) >= tried && accepted() >= stored).then_some(());
        poll(TIMEOUT, enough).expect("messages are accepted");
    }

    /// Everything that was acknowledged is there once and whole.  Says how many there were.
    pub(super) fn check(&self, mails: &[Vec<u8>]) -> String {
        let mut found: HashMap<String, usize> = HashMap::new();
        for mail in mails {
            let text = String::from_utf8_lossy(mail);
            let (header, body) = text.split_once("\n\n").unwrap_or_default();
            let field = |name: &str| header.lines().find_map(|line| line.strip_prefix(name));
            let subject = field("Subject: ").unwrap_or_else(|| panic!("damaged: {text}"));
            let lines = body.lines().count();
            assert!(subject.ends_with(&format!(", {lines} lines")), "not whole: {text}");
            // No plugin was left out; what it counts begins with the line between header and body.
            let counted = field("X-Lines: ").and_then(|text| text.parse().ok());
            assert_eq!((field("X-Asked: "), counted), (Some("yes"), Some(lines + 1)), "{text}");
            *found.entry(subject.to_owned()).or_default() += 1;
        }
        let acknowledged = self.acknowledged.lock().unwrap();
        let lost: Vec<_> = acknowledged.iter().filter(|id| !found.contains_key(*id)).collect();
        let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
        assert!(lost.is_empty() && twice.is_empty(), "lost {lost:?}, twice {twice:?}");
        let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        let (tried, refused) = (count(&self.tried), count(&self.refused));
        format!("{tried} messages tried, {} acknowledged, {refused} put off", acknowledged.len())
    }

    fn client(&self, name: &str, number: usize, to: SocketAddr, log: &Log, stop: &AtomicBool) {
        let mut session = None;
        for message in 0.. {
            let open = session.take().map(Some).or_else(|| {
                poll(TIMEOUT, || match stop.load(Ordering::Relaxed) {
                    true => Some(None),
                    false => greeted(TcpStream::connect(to).ok()?, log).map(Some),
                })
            });
            let open = open.unwrap_or_else(|| panic!("nobody answers any more:\n{}", log.tail()));
            let Some(mut client) = open.filter(|_| !stop.load(Ordering::Relaxed)) else { return };
            // Some stay in memory and some do not.
            let lines = 10 + 90 * (message % 3);
            let fate = self.deliver(&mut client, &format!("{name}, {number}, {message}"), lines);
            // Sessions are of several lengths, so that processes come and go.
            if fate.is_ok() && message % (number + 2) != 0 {
                session = Some(client);
            }
        }
    }

    /// Was the message accepted?  The error: the session is over.
    fn deliver(&self, client: &mut Client, name: &str, lines: usize) -> Result<bool, ()> {
        let subject = format!("{name}, {lines} lines");
        let text = format!("Subject: {subject}\r\n\r\n{}.", "a line of it\r\n".repeat(lines));
        let dialogue = [
            ("MAIL FROM:<a@example.net>", "250"),
            ("RCPT TO:<b@example.com>", "250"),
            ("DATA", "354"),
            (&text, "250"),
        ];
        self.tried.fetch_add(1, Ordering::Relaxed);
        for (line, code) in dialogue {
            match said(client, line).ok_or(())? {
                reply if reply == code => {}
                reply if reply.starts_with('4') => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    return (said(client, "RSET").ok_or(())? == "250").then_some(false).ok_or(());
                }
                reply => panic!("{}", client.story(&format!("want {code}, got {reply}"))),
            }
        }
        self.acknowledged.lock().unwrap().push(subject);
        Ok(true)
    }
}

/// Tells the clients to stop, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn greeted(stream: TcpStream, log: &Log) -> Option<Client> {
    let mut client = Client::new(stream, log);
    let greeting = answer(&mut client)?;
    let hello = said(&mut client, "EHLO client.test")?;
    (greeting == "220" && hello == "250").then_some(client)
}

fn said(client: &mut Client, line: &str) -> Option<String> {
    client.say(line);
    answer(client)
}

/// The code of the next reply; a worker that was killed gives none, one that hangs fails the test.
fn answer(client: &mut Client) -> Option<String> {
    client.try_reply().unwrap_or_else(|story| panic!("{story}")).map(|reply| reply.code)
}
