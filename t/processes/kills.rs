//! Workers are killed in the middle of their work, and no acknowledged message is lost.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};

use crate::harness::{Client, Config, Model, PATIENCE, Server, poll};

/// Clients that deliver at the same time.
const CLIENTS: usize = 8;
/// Messages that each of them tries to deliver, every one once.
const MESSAGES: usize = 250;
/// Attempts between one kill and the next.
const PACE: usize = 40;

#[test]
fn kills_under_forkserver() {
    kills(Model::Forkserver);
}

#[test]
fn kills_under_prefork() {
    kills(Model::Prefork);
}

fn kills(model: Model) {
    let config = Config::new();
    let mut server = Server::start(&config, model);
    let address = server.addresses(1)[0];
    let tried = AtomicUsize::new(0);
    let acknowledged = Mutex::new(Vec::new());
    let mut killed = 0;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (tried, acknowledged, log) = (&tried, &acknowledged, server.log().clone());
                let connect =
                    move || TcpStream::connect(address).map(|stream| Client::new(stream, &log));
                scope.spawn(move || deliver(number, connect, tried, acknowledged))
            })
            .collect();
        while !clients.iter().all(|client| client.is_finished()) {
            let due = (killed + 1) * PACE <= tried.load(Ordering::Relaxed);
            let workers = server.parent().children();
            if due && !workers.is_empty() {
                let victim = workers[random() % workers.len()];
                killed += usize::from(kill(victim, Signal::SIGKILL).is_ok());
            }
            std::thread::yield_now();
        }
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(killed >= 10 && acknowledged.len() >= 1000, "{killed} kills, {}", acknowledged.len());
    let mut found: HashMap<String, usize> = HashMap::new();
    for mail in config.mails() {
        *found.entry(subject(&mail)).or_default() += 1;
    }
    let lost: Vec<_> = acknowledged.iter().filter(|id| !found.contains_key(*id)).collect();
    let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(lost.is_empty() && twice.is_empty(), "lost {lost:?}, twice {twice:?}");
    server.stop().unwrap();
}

/// One client: each message is tried once, whatever becomes of it.
fn deliver(
    number: usize,
    connect: impl Fn() -> std::io::Result<Client>,
    tried: &AtomicUsize,
    acknowledged: &Mutex<Vec<String>>,
) {
    let mut session = None;
    for message in 0..MESSAGES {
        let id = format!("message {message} of client {number}");
        let client = session.take().or_else(|| poll(PATIENCE, || greeted(connect().ok()?)));
        let mut client = client.unwrap_or_else(|| panic!("nobody answers any more"));
        if sent(&mut client, &id) {
            acknowledged.lock().unwrap().push(id);
            // Sessions are of several lengths, so that workers come and go.
            session = (message % (number + 2) != 0).then_some(client);
        }
        tried.fetch_add(1, Ordering::Relaxed);
    }
}

fn greeted(mut client: Client) -> Option<Client> {
    let greeting = answer(&mut client)?;
    client.say("EHLO client.test");
    let hello = answer(&mut client)?;
    (greeting == "220" && hello == "250").then_some(client)
}

/// Was the message accepted?
fn sent(client: &mut Client, id: &str) -> bool {
    let text = format!("Subject: {id}\r\n\r\n{}.", "a line of the message\r\n".repeat(50));
    let dialogue = [
        ("MAIL FROM:<a@example.net>", "250"),
        ("RCPT TO:<b@example.com>", "250"),
        ("DATA", "354"),
        (&text, "250"),
    ];
    dialogue.iter().all(|(line, code)| {
        client.say(line);
        answer(client).is_some_and(|reply| reply == *code)
    })
}

/// The code of the next reply; a worker that was killed gives none, one that hangs fails the test.
fn answer(client: &mut Client) -> Option<String> {
    client.try_reply().unwrap_or_else(|story| panic!("{story}")).map(|reply| reply.code)
}

fn subject(mail: &[u8]) -> String {
    let text = String::from_utf8_lossy(mail);
    let line = text.lines().find_map(|line| line.strip_prefix("Subject: "));
    line.unwrap_or_else(|| panic!("a damaged message: {text}")).to_string()
}

/// Any number: the standard library seeds every hasher anew.
fn random() -> usize {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as usize
}
