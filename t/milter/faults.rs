//! Filters that are stopped, killed, slow, or talk nonsense: nothing hangs, nothing is lost.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use nix::sys::signal::Signal;

use super::every;
use crate::harness::{Client, Config, Model, Server};

fn plugins(port: u16, more: &str) -> String {
    format!("milter every {port} {more}\nrcpt_ok\nqueue/maildir {{work}}/Maildir")
}

/// The reply to a message, or to the command that was refused before.
fn deliver(client: &mut Client, from: &str, text: &str) -> String {
    for (command, code) in [
        (format!("MAIL FROM:{from}"), "250"),
        ("RCPT TO:<b@example.com>".into(), "250"),
        ("DATA".into(), "354"),
    ] {
        client.say(&command);
        let reply = client.reply();
        if reply.code != code {
            client.ask("RSET", "250");
            return reply.lines.join("\n");
        }
    }
    client.send_raw(text.as_bytes());
    client.send_raw(b"\r\n.\r\n");
    client.reply().lines.join("\n")
}

/// The filter is stopped in the middle of a message, between two, and before a client comes; then it is
/// killed, and started anew.
#[test]
fn a_filter_that_stops_costs_its_limit_and_no_mail() {
    for (more, is_taken) in [("", false), ("on_error ignore", true)] {
        let keep = Config::new();
        let Some(mut filter) = every(&keep, &[]) else { return };
        let limits = format!("connect_timeout 2 command_timeout 2 content_timeout 2 {more}");
        let config = Config::new().set("plugins", &plugins(filter.port, &limits));
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        client.hello();
        let text = "Subject: x\r\n\r\ntext";
        assert!(deliver(&mut client, "<a@example.net>", text).starts_with("250 "));
        assert_eq!(config.take_mails().len(), 1);

        // In the middle of a message.
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@example.com>", "250");
        filter.process.signal(Signal::SIGSTOP);
        client.say("DATA");
        let reply = client.reply();
        if is_taken {
            assert_eq!(reply.code, "354");
            client.send_raw(format!("{text}\r\n.\r\n").as_bytes());
            client.expect("250");
        } else {
            assert_eq!(reply.lines, ["451 4.3.0 Internal error - try again later"]);
        }
        assert_eq!(config.take_mails().len(), usize::from(is_taken));
        server.log().wait_for("DATA: the back end does not answer");

        // Between two messages: a new conversation, which does not come to anything either.
        let reply = deliver(&mut client, "<a@example.net>", text);
        assert_eq!(reply.starts_with("250 "), is_taken, "{reply}");
        assert_eq!(config.take_mails().len(), usize::from(is_taken));
        filter.process.signal(Signal::SIGCONT);
        assert!(deliver(&mut client, "<a@example.net>", text).starts_with("250 "));
        assert_eq!(config.take_mails().len(), 1);
        client.quit();

        // Killed, while a client is there and before another comes.
        let mut client = server.connect();
        client.hello();
        client.ask("MAIL FROM:<a@example.net>", "250");
        filter.process.signal(Signal::SIGKILL);
        filter.process.wait().unwrap();
        client.say("RCPT TO:<b@example.com>");
        assert_eq!(client.reply().code, if is_taken { "250" } else { "451" });
        client.ask("RSET", "250");
        client.quit();
        let mut client = server.connect();
        if is_taken {
            client.hello();
            assert!(deliver(&mut client, "<a@example.net>", text).starts_with("250 "));
            client.quit();
            assert_eq!(config.take_mails().len(), 1);
        } else {
            client.expect("421");
            client.closed();
        }

        // Another one where the first one was: all is well again.
        let again = every(&keep, &[]).unwrap();
        config.write("plugins", &plugins(again.port, &limits));
        server.stop().unwrap();
        let server = Server::start(&config, Model::Forkserver);
        let mut client = server.connect();
        client.hello();
        assert!(deliver(&mut client, "<a@example.net>", text).starts_with("250 "));
        client.quit();
        server.stop().unwrap();
    }
}

/// Who answers with nonsense, however much of it.
#[test]
fn nonsense_is_an_error() {
    for nonsense in [&b"220 smtp.test ESMTP\r\n"[..], &[0; 100_000], &[0xff; 5], b"\0\0\0\x02cc"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.write_all(nonsense);
                let _ = stream.read(&mut [0; 100]);
            }
        });
        let config = Config::new().set("plugins", &plugins(port, "on_error ignore"));
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        client.hello();
        let reply = deliver(&mut client, "<a@example.net>", "Subject: x\r\n\r\ntext");
        assert!(reply.starts_with("250 "), "{reply}");
        client.quit();
        server.log().wait_for("(connect) milter: FATAL PLUGIN ERROR: every: 127.0.0.1:");
        assert_eq!(config.take_mails().len(), 1);
        server.stop().unwrap();
    }
}

/// The client leaves, or begins anew, at every moment: the filter is left in a state in which the next
/// client is served.
#[test]
fn what_a_client_breaks_off_is_aborted() {
    let keep = Config::new();
    let Some(filter) = every(&keep, &[]) else { return };
    let config = Config::new().set("plugins", &plugins(filter.port, ""));
    let server = Server::start_with(&config, Model::Prefork, &["--children", "1"]);
    let commands = [
        "EHLO again",
        "MAIL FROM:<reject-not@example.net>",
        "RCPT TO:<b@example.com>",
        "RCPT TO:<reject@example.com>",
        "RSET",
        "MAIL FROM:<reject@example.net>",
        "MAIL FROM:<a@example.net>",
        "RCPT TO:<b@example.com>",
        "EHLO once-more",
        "MAIL FROM:<a@example.net>",
        "RCPT TO:<b@example.com>",
        "DATA",
        "Subject: x\r\n\r\nhalf of a mes",
    ];
    for count in 0..=commands.len() {
        let mut client = server.connect();
        client.hello();
        for command in &commands[..count.min(12)] {
            client.say(command);
            client.reply();
        }
        if count > 12 {
            client.send_raw(commands[12].as_bytes());
        }
        drop(client);
        let mut client = server.connect();
        client.hello();
        let reply = deliver(&mut client, "<a@example.net>", "Subject: x\r\nX-Do: add\r\n\r\ntext");
        assert!(reply.starts_with("250 "), "{count}: {reply} {}", server.log().tail());
        client.quit();
        let mails = config.take_mails();
        assert_eq!(mails.len(), 1);
        assert!(String::from_utf8_lossy(&mails[0]).contains("\nX-Added: at the end\n\tfolded\n"));
    }
    server.stop().unwrap();
    drop(filter);
}
