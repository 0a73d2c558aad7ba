//! The parent is killed under load, again and again: what got a 250 is there once, and what was
//! left behind is gone after the next start.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::harness::{Client, Config, Model, PATIENCE, Server, poll};

/// `QPSMTPD_ROUNDS=20` makes it so many.
fn rounds() -> usize {
    std::env::var("QPSMTPD_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[test]
fn a_parent_that_is_killed_loses_nothing() {
    for model in Model::PARENTS {
        let config = Config::new().set("size_threshold", "100");
        let acknowledged = Mutex::new(vec![]);
        for round in 0..rounds() {
            let mut server = Server::start(&config, model);
            assert_eq!(config.spool_left(), Vec::<std::path::PathBuf>::new(), "swept at the start");
            let (address, stop) = (server.addresses(1)[0], AtomicBool::new(false));
            std::thread::scope(|scope| {
                for number in 0..6 {
                    let (acknowledged, stop, log) = (&acknowledged, &stop, server.log().clone());
                    scope.spawn(move || {
                        for message in 0.. {
                            if stop.load(Ordering::Relaxed) {
                                return;
                            }
                            let id = format!("{round}-{number}-{message}");
                            let stream = TcpStream::connect(address);
                            if stream.is_ok_and(|stream| sent(Client::new(stream, &log), &id)) {
                                acknowledged.lock().unwrap().push(id);
                            }
                        }
                    });
                }
                let wanted = acknowledged.lock().unwrap().len() + 40 + 17 * (round % 5);
                let enough = || (acknowledged.lock().unwrap().len() >= wanted).then_some(());
                poll(PATIENCE, enough).expect("messages are accepted");
                server.parent().signal(Signal::SIGKILL);
                stop.store(true, Ordering::Relaxed);
            });
            server.parent().wait().unwrap();
            let gone = || config.processes().is_empty().then_some(());
            assert!(poll(PATIENCE, gone).is_some(), "left: {:?}", config.processes());
        }
        let server = Server::start(&config, model);
        let mut found: HashMap<String, usize> = HashMap::new();
        for mail in config.mails() {
            let text = String::from_utf8_lossy(&mail).into_owned();
            let id = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
            *found.entry(id.to_owned()).or_default() += 1;
        }
        let acknowledged = acknowledged.into_inner().unwrap();
        let lost: Vec<_> = acknowledged.iter().filter(|id| !found.contains_key(*id)).collect();
        assert!(lost.is_empty(), "lost of {}: {lost:?}", acknowledged.len());
        assert!(found.values().all(|count| *count == 1), "stored twice");
        server.stop().unwrap();
    }
}

/// Was the message accepted?
fn sent(mut client: Client, id: &str) -> bool {
    let text = format!("Subject: {id}\r\n\r\n{}.", "a line of the message\r\n".repeat(200));
    let dialogue = [
        ("EHLO client.test", "220"),
        ("MAIL FROM:<a@example.net>", "250"),
        ("RCPT TO:<b@example.com>", "250"),
        ("DATA", "250"),
        (&text, "354"),
        ("", "250"),
    ];
    for (line, code) in dialogue {
        if !client.try_reply().is_ok_and(|reply| reply.is_some_and(|reply| reply.code == code)) {
            return false;
        }
        if !line.is_empty() {
            client.say(line);
        }
    }
    true
}
