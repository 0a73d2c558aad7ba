//! Addresses outside ASCII (RFC 6531).

use crate::harness::{Client, Config, Model, Server};

/// Is the extension offered with these plugins that queue?
fn is_offered(queues: &str) -> bool {
    let config = Config::new().set("plugins", &format!("rcpt_ok\n{queues}"));
    let server = Server::start(&config, Model::Inetd);
    let mut client = server.connect();
    let offered = client.hello().lines.iter().any(|line| &line[4..] == "SMTPUTF8");
    client.quit();
    server.stop().unwrap();
    offered
}

#[test]
fn it_is_offered_where_every_plugin_that_queues_can_do_it() {
    let maildir = "queue/maildir {work}/Maildir";
    assert!(is_offered(maildir));
    assert!(is_offered(&format!("queue/discard note x\n{maildir}")));
    assert!(!is_offered(""));
    assert!(!is_offered("queue/smtp-forward 127.0.0.1 1"));
    assert!(!is_offered(&format!("{maildir}\nqueue/smtp-forward 127.0.0.1 1")));
}

fn send(client: &mut Client, text: &str) {
    client.ask("DATA", "354");
    client.say(&format!("Subject: {text}\r\n\r\n."));
    client.expect("250");
}

#[test]
fn addresses_arrive_as_they_were_said() {
    let config = Config::new().set("rcpthosts", "example.com\nbücher.example");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    let reply = client.ask("MAIL FROM:<jürgen@例え.test> SMTPUTF8 BODY=8BITMIME", "250");
    assert!(reply.lines[0].starts_with("250 2.1.0 <jürgen@例え.test>, sender OK"), "{reply:?}");
    client.ask("RCPT TO:<用户@bücher.example>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    send(&mut client, "grüße");
    let mail = String::from_utf8(config.take_mails().remove(0)).unwrap();
    let start = "Return-Path: <jürgen@例え.test>\n\
        Delivered-To: b@example.com\nDelivered-To: 用户@bücher.example\n";
    assert!(mail.starts_with(start), "{mail}");
    assert!(mail.contains(") with UTF8SMTP; "), "{mail}");
    assert!(mail.ends_with("\nSubject: grüße\n\n"), "{mail}");

    // The next message has a MAIL command of its own.
    client.ask("MAIL FROM:<a@example.net>", "250");
    assert_eq!(
        client.ask("RCPT TO:<用户@bücher.example>", "501").lines,
        ["501 5.6.7 could not parse recipient"]
    );
    client.ask("RCPT TO:<b@example.com>", "250");
    send(&mut client, "x");
    let mail = String::from_utf8(config.take_mails().remove(0)).unwrap();
    assert!(mail.contains(") with ESMTP; "), "{mail}");
    client.quit();
    server.stop().unwrap();
}

#[test]
fn without_the_parameter_or_in_another_charset_they_are_refused() {
    let config = Config::new();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    let refused = ["501 5.6.7 could not parse your mail from command"];
    assert_eq!(client.ask("MAIL FROM:<jürgen@example.net>", "501").lines, refused);
    client.send_raw(b"MAIL FROM:<j\xfcrgen@example.net> SMTPUTF8\r\n");
    assert_eq!(client.expect("501").lines, refused);
    client.ask("MAIL FROM:<a@example.net> SMTPUTF8=1", "501");
    client.ask("MAIL FROM:<a@example.net> smtputf8", "250");
    client.send_raw(b"RCPT TO:<j\xfcrgen@example.com>\r\n");
    assert_eq!(client.expect("501").lines, ["501 5.6.7 could not parse recipient"]);
    client.quit();

    // Nobody who said HELO was offered anything.
    let mut client = server.connect();
    client.expect("220");
    client.ask("HELO client.test", "250");
    client.ask("MAIL FROM:<jürgen@example.net> SMTPUTF8", "555");
    client.quit();
    server.stop().unwrap();
}

#[test]
fn where_it_is_not_offered_it_is_refused() {
    let config = Config::new().set("plugins", "rcpt_ok\nqueue/smtp-forward 127.0.0.1 1");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    let reply = client.ask("MAIL FROM:<jürgen@example.net> SMTPUTF8", "555");
    assert_eq!(reply.lines, ["555 5.6.7 SMTPUTF8 is not supported"]);
    client.ask("MAIL FROM:<a@example.net> SMTPUTF8", "555");
    client.ask("RCPT TO:<b@example.com>", "503");
    client.ask("MAIL FROM:<jürgen@example.net>", "501");
    client.ask("VRFY jürgen SMTPUTF8", "501");
    client.quit();
    server.stop().unwrap();
}

#[test]
fn vrfy_takes_the_parameter() {
    let config = Config::new();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.ask("VRFY jürgen@example.com SMTPUTF8", "252");
    client.ask("VRFY b@example.com smtputf8", "252");
    client.ask("VRFY SMTPUTF8", "252");
    let reply = client.ask("VRFY jürgen@example.com", "501");
    assert_eq!(reply.lines, ["501 5.6.7 An address outside ASCII needs SMTPUTF8"]);
    client.send_raw(b"VRFY j\xfcrgen@example.com SMTPUTF8\r\n");
    client.expect("501");
    client.quit();
    server.stop().unwrap();
}

/// Upper and lower case, A-labels and U-labels: one domain, and one folder.
#[test]
fn a_domain_is_the_same_in_each_spelling() {
    let config = Config::new()
        .set("rcpthosts", "xn--bcher-kva.example\nB\u{dc}RO.test.")
        .set("plugins", "rcpt_ok\nqueue/maildir {work}/Maildir %d/%l");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    for (spellings, folder) in [
        (["b\u{fc}cher.example", "XN--BCHER-KVA.Example"], "xn--bcher-kva.example"),
        (["b\u{fc}ro.test", "xn--bro-hoa.TEST"], "xn--bro-hoa.test"),
    ] {
        for host in spellings {
            client.ask("MAIL FROM:<a@example.net> SMTPUTF8", "250");
            client.ask(&format!("RCPT TO:<b@{host}>"), "250");
            send(&mut client, host);
        }
        let folder = config.path("Maildir").join(folder).join("b/new");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2);
    }
    client.ask("MAIL FROM:<a@example.net> SMTPUTF8", "250");
    client.ask("RCPT TO:<b@b\u{fc}ch.example>", "550");
    client.quit();
    server.stop().unwrap();
}

/// A reply is ASCII (RFC 5321 4.2) unless the client has said SMTPUTF8 (RFC 6531 3.7.4).
#[test]
fn replies_are_ascii_without_the_parameter() {
    let config = Config::new().set("smtpgreeting", "grüß Gott ESMTP");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    assert_eq!(client.expect("220").lines, ["220 gr?? Gott ESMTP"]);
    client.ask("EHLO client.test", "250");
    let queued = |client: &mut Client| {
        client.ask("RCPT TO:<b@example.com>", "250");
        client.ask("DATA", "354");
        client.say("Message-Id: <grüße@例え.test>\r\n\r\nx\r\n.");
        client.expect("250").lines.join("\n")
    };
    client.ask("MAIL FROM:<a@example.net>", "250");
    let reply = queued(&mut client);
    assert!(reply.ends_with("<gr??e@??.test>"), "{reply}");
    client.ask("MAIL FROM:<a@example.net> SMTPUTF8", "250");
    let reply = queued(&mut client);
    assert!(reply.ends_with("<grüße@例え.test>"), "{reply}");
    client.quit();
    server.stop().unwrap();
}
