//! Clients that say nothing, or a little now and then.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::deliver;
use crate::harness::{Client, Config, Model, Server};

/// Says something now and then until the server has had enough; the last reply's code.
fn until_told(client: &mut Client, what: &[u8], pause: Duration) -> String {
    let mut last = String::new();
    for _ in 0..1000 {
        client.send_raw(what);
        while client.has_input(pause) {
            match client.try_reply().unwrap() {
                Some(reply) => last = reply.code,
                None => return last,
            }
        }
    }
    panic!("{}", client.story("the server never has enough"));
}

#[test]
fn a_client_has_so_long_for_its_first_recipient() {
    for model in Model::ALL {
        let config = Config::new().set("timeout_first_recipient", "4");
        let server = Server::start(&config, model);
        let mut idler = server.connect();
        idler.hello();
        assert_eq!(until_told(&mut idler, b"NOOP\r\n", Duration::from_millis(50)), "421");
        let mut other = server.connect();
        other.hello();
        other.ask("MAIL FROM:<a@example.net>", "250");
        other.ask("RCPT TO:<b@example.com>", "250");
        std::thread::sleep(Duration::from_millis(4300));
        other.ask("RSET", "250");
        other.quit();
        server.stop().unwrap();
    }
}

#[test]
fn a_line_and_a_message_that_never_end() {
    let config = Config::new().set("timeout", "4");
    let server = Server::start(&config, Model::Prefork);
    let pause = Duration::from_millis(20);
    let mut line = server.connect();
    line.hello();
    assert_eq!(until_told(&mut line, b"x", pause), "421");
    let mut message = server.connect();
    message.hello();
    message.envelope();
    assert_eq!(until_told(&mut message, b"x", pause), "421");
    server.stop().unwrap();
}

/// The pool is full of clients that do nothing, and somebody waits.
#[test]
fn who_has_been_here_longest_makes_room() {
    std::thread::scope(|scope| {
        for model in Model::PARENTS {
            scope.spawn(move || {
                let config = Config::new();
                let server = Server::start_with(&config, model, &model.limits("2", "100"));
                let mut first = server.connect();
                first.hello();
                let mut second = server.connect();
                second.hello();
                second.ask("MAIL FROM:<a@example.net>", "250");
                second.ask("RCPT TO:<b@example.com>", "250");
                let mut third = server.connect();
                third.hello();
                first.expect("421");
                first.closed();
                second.ask("DATA", "354");
                second.ask("Subject: x\r\n\r\n.", "250");
                drop(second);
                third.quit();
                server.stop().unwrap();
            });
        }
    });
}

/// Those who had to leave do not get the last places again.
#[test]
fn who_had_to_leave_stands_back() {
    std::thread::scope(|scope| {
        for model in Model::PARENTS {
            scope.spawn(move || {
                let config = Config::new();
                let server = Server::start_with(&config, model, &model.limits("4", "100"));
                let from = Ipv4Addr::new(127, 0, 0, 9);
                let mut crowd: Vec<Client> = (0..4).map(|_| server.connect_from(from)).collect();
                for client in &mut crowd {
                    client.hello();
                }
                // In the middle of a line, as far as it goes.
                crowd[0].send_raw(b"NO");
                let mut client = server.connect();
                client.hello();
                crowd[0].expect("421");
                let mut again = server.connect_from(from);
                assert!(again.expect("421").lines[0].contains("too busy for you"), "{model}");
                again.closed();
                assert_eq!(deliver(&mut client, "a message", 1000), "250");
                client.quit();
                drop(crowd);
                server.stop().unwrap();
            });
        }
    });
}

/// One address has its share of the pool, however many connections it makes.
#[test]
fn a_crowd_from_one_address_leaves_room_for_others() {
    for model in Model::PARENTS {
        let config = Config::new();
        let server = Server::start_with(&config, model, &model.limits("10", "5"));
        let from = Ipv4Addr::new(127, 0, 0, 9);
        let crowd: Vec<Client> = (0..200).map(|_| server.connect_from(from)).collect();
        for number in 0..20 {
            let mut client = server.connect();
            client.hello();
            assert_eq!(deliver(&mut client, &format!("message {number}"), 1000), "250");
            client.quit();
        }
        assert_eq!(config.mails().len(), 20);
        drop(crowd);
        server.stop().unwrap();
    }
}
