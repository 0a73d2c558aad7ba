//! XCLIENT: a trusted client says in whose name it speaks.

use std::net::Ipv4Addr;

use crate::harness::{Client, Config, Model, Server};

/// Trusts 127.0.0.1; lets 192.0.2.7 relay.
fn config() -> Config {
    Config::new()
        .set("xclient_from", "127.0.0.1\n::1")
        .set("plugins", "relay\nrcpt_ok\nqueue/maildir {work}/Maildir")
        .set("relayclients", "192.0.2.7")
}

/// Sends a message to a user of `domain`, and returns what arrived.
fn deliver(client: &mut Client, domain: &str, config: &Config) -> String {
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask(&format!("RCPT TO:<b@{domain}>"), "250");
    client.ask("DATA", "354");
    client.ask("Subject: x\r\n\r\nbody\r\n.", "250");
    let mails = config.take_mails();
    assert_eq!(mails.len(), 1);
    String::from_utf8(mails[0].clone()).unwrap()
}

const OFFER: &str = "250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT";

/// Is XCLIENT in this reply to EHLO?
fn offers(lines: &[String]) -> bool {
    lines.iter().any(|line| line.replace("250-", "250 ") == OFFER)
}

#[test]
fn only_who_is_trusted_may_speak_for_others() {
    let config = config();
    let server = Server::start(&config, Model::Prefork);
    let mut trusted = server.connect();
    assert!(offers(&trusted.hello().lines));
    assert!(trusted.ask("HELP", "214").lines.iter().any(|line| line.contains("XCLIENT")));
    trusted.quit();

    let mut other = server.connect_from(Ipv4Addr::new(127, 0, 0, 2));
    assert!(!other.hello().lines.iter().any(|line| line.contains("XCLIENT")));
    assert!(!other.ask("HELP", "214").lines.iter().any(|line| line.contains("XCLIENT")));
    other.ask("XCLIENT ADDR=192.0.2.7", "550");
    other.ask("MAIL FROM:<a@example.net>", "250");
    other.ask("RCPT TO:<b@elsewhere.example>", "550");
    other.quit();
    server.stop().unwrap();
}

#[test]
fn the_session_begins_anew_for_the_one_that_is_named() {
    for model in Model::ALL {
        let config = config();
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("XCLIENT ADDR=192.0.2.7", "503");
        client.ask("RCPT TO:<b@elsewhere.example>", "550");
        client.ask("RSET", "250");
        let greeting = client.ask("XCLIENT NAME=mx.test ADDR=192.0.2.7 PORT=7 PROTO=ESMTP", "220");
        assert!(greeting.lines[0].starts_with("220 mail.test ESMTP"), "{greeting:?}");
        client.ask("MAIL FROM:<a@example.net>", "503");
        let hello = client.ask("EHLO mx.test", "250");
        assert_eq!(hello.lines[0], "250-mail.test Hi mx.test [192.0.2.7]", "{model}");
        assert!(!offers(&hello.lines));
        client.ask("XCLIENT ADDR=127.0.0.1", "550");
        let mail = deliver(&mut client, "elsewhere.example", &config);
        let received = "Received: from mx.test (HELO mx.test) (192.0.2.7)\n";
        assert!(mail.contains(received) && !mail.contains("127.0.0.1"), "{mail}");
        client.quit();
        server.log().wait_for("disconnect from 192.0.2.7");
        let log = server.log().text();
        assert!(log.contains("XCLIENT: 127.0.0.1 speaks for 192.0.2.7"), "{log}");
        assert!(log.contains("(connect) relay: pass, octet match in relayclients (192.0.2.7)"));
        server.stop().unwrap();
    }
}

#[test]
fn one_may_not_relay_because_the_server_in_front_may() {
    let config = config().set("relayclients", "127.0.0.1");
    let server = Server::start(&config, Model::Forkserver);
    for (attributes, ip) in [
        ("NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7", "Unknown [2001:db8::7]"),
        ("NAME=[TEMPUNAVAIL] ADDR=[UNAVAILABLE]", "Unknown [0.0.0.0]"),
    ] {
        let mut client = server.connect();
        client.hello();
        client.ask(&format!("XCLIENT {attributes}"), "220");
        let hello = client.ask("EHLO client.test", "250");
        assert!(hello.lines[0].ends_with(&format!("Hi {ip}")), "{hello:?}");
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@elsewhere.example>", "550");
        client.quit();
    }
    server.stop().unwrap();
}

/// The one that is named has to please the connect hooks, as if it had connected by itself.
#[test]
fn one_may_be_named_who_is_not_welcome() {
    let config = config();
    config.write("plugins", "earlytalker wait 1 check-at CONNECT\nrcpt_ok\nqueue/discard");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.send_raw(b"XCLIENT ADDR=192.0.2.8\r\nEHLO too.early\r\n");
    client.expect("550");
    client.closed();
    server.log().wait_for("disconnect from 192.0.2.8");
    server.stop().unwrap();
}

#[test]
fn login_names_a_user_who_has_authenticated() {
    let config = config();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.ask("XCLIENT LOGIN=me+40example.net NAME=mx.test", "220");
    client.ask("XCLIENT ADDR=192.0.2.8", "220");
    let hello = client.ask("EHLO client.test", "250");
    assert!(hello.lines[0].ends_with("Hi mx.test [192.0.2.8]"), "{hello:?}");
    let mail = deliver(&mut client, "elsewhere.example", &config);
    assert!(mail.contains("auth=pass (xclient) smtp.auth=me@example.net\n"), "{mail}");
    client.quit();
    server.stop().unwrap();
}

/// Nothing that an attribute decodes to gets into logs or headers as a line of its own, and a
/// command that is refused changes nothing.
#[test]
fn odd_attributes_are_refused() {
    let config = config();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    for attributes in [
        "",
        " ADDR=192.0.2.7 HELO=a+0D+0ARSET",
        " ADDR=192.0.2.7 LOGIN=a+00",
        " ADDR=192.0.2.7 NAME=a+20b",
        " ADDR=192.0.2.7 OTHER=x",
        " ADDR=192.0.2.7 PORT=x",
        " ADDR=2001:db8::7",
        " ADDR=192.0.2.7\tHELO=a+",
    ] {
        client.ask(&format!("XCLIENT{attributes}"), "501");
    }
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RSET", "250");
    assert!(client.ask("EHLO a", "250").lines[0].ends_with("[127.0.0.1]"));
    client.quit();
    server.stop().unwrap();
}

/// queue/smtp-forward of one daemon speaks to another.
#[test]
fn two_daemons_pass_the_client_on() {
    for model in Model::PARENTS {
        let back = config();
        let behind = Server::start(&back, model);
        let plugin = format!("queue/smtp-forward 127.0.0.1 {} xclient", behind.port());
        let front = Config::new().set("plugins", &format!("rcpt_ok\n{plugin}"));
        let server = Server::start(&front, model);
        let long = format!("{}.test", "h".repeat(245));
        for name in ["client.test", &long] {
            let mut client = server.connect_from(Ipv4Addr::new(127, 0, 0, 9));
            client.expect("220");
            client.ask(&format!("EHLO {name}"), "250");
            let mail = deliver(&mut client, "example.com", &back);
            let received =
                format!("Received: from localhost (HELO {name}) (127.0.0.9)\n by mail.test");
            assert_eq!(mail.matches(&received).count(), 2, "{mail}");
            client.quit();
        }
        behind.log().wait_for("XCLIENT: 127.0.0.1 speaks for 127.0.0.9");
        server.stop().unwrap();
        behind.stop().unwrap();
    }
}
