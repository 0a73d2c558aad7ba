//! The PROXY protocol: who the client of a proxy is, said before anything else.

use std::net::{IpAddr, Ipv4Addr};

use crate::harness::{Client, Config, Model, Server};

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Trusts 127.0.0.1; lets 127.0.0.9 and ::1 relay.
fn config() -> Config {
    Config::new()
        .set("proxy_from", "127.0.0.1")
        .set("plugins", "relay\nrcpt_ok\nqueue/maildir {work}/Maildir")
        .set("relayclients", "127.0.0.9\n::1")
}

fn v1(client: &str, server: &str) -> Vec<u8> {
    let kind = if client.contains(':') { "TCP6" } else { "TCP4" };
    format!("PROXY {kind} {client} {server} 40009 2525\r\n").into_bytes()
}

fn v2(client: &str, server: &str) -> Vec<u8> {
    let mut block = vec![];
    for ip in [client, server] {
        match ip.parse().unwrap() {
            IpAddr::V4(ip) => block.extend(ip.octets()),
            IpAddr::V6(ip) => block.extend(ip.octets()),
        }
    }
    let family = if block.len() == 8 { 0x11 } else { 0x21 };
    block.extend([0x9c, 0x49, 0x09, 0xdd]);
    block.extend([4, 0, 2, 0, 0]);
    let length = (block.len() as u16).to_be_bytes();
    [SIGNATURE, &[0x21, family], &length, &block].concat()
}

/// Relays a message, which only the clients of [`config`] may, and returns what arrived.
fn relayed(client: &mut Client, config: &Config) -> String {
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@elsewhere.example>", "250");
    client.ask("DATA", "354");
    client.ask("Subject: x\r\n\r\nbody\r\n.", "250");
    let mails = config.take_mails();
    assert_eq!(mails.len(), 1);
    String::from_utf8(mails[0].clone()).unwrap()
}

/// The session ends before it has begun.
#[test]
fn a_proxy_that_says_nothing_has_its_post_connection() {
    for model in Model::ALL {
        let config = config().set("plugins", "connection_time\nrcpt_ok\nqueue/discard");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.send_raw(b"EHLO client.test\r\n");
        server.log().wait_for("(post-connection) connection_time: ");
        client.closed();
        server.stop().unwrap();
    }
}

#[test]
fn the_client_is_the_one_that_the_proxy_names() {
    for model in Model::ALL {
        let config = config();
        let server = Server::start(&config, model);
        for (ip, here) in [("127.0.0.9", "127.0.0.8"), ("::1", "::1")] {
            for header in [v1(ip, here), v2(ip, here)] {
                let mut client = server.connect();
                client.send_raw(&header);
                let hello = client.hello();
                let want = format!("250-mail.test Hi localhost [{ip}]");
                assert_eq!(hello.lines[0], want, "{model}");
                let mail = relayed(&mut client, &config);
                let received = format!("Received: from localhost (HELO client.test) ({ip})\n");
                assert!(mail.contains(&received), "{mail}");
                client.quit();
                server.log().wait_for(&format!("disconnect from {ip}"));
            }
        }
        let log = server.log().text();
        assert!(log.contains("connect from 127.0.0.9"), "{log}");
        assert!(log.contains("PROXY: 127.0.0.1:"), "{log}");
        assert!(log.contains(" speaks for 127.0.0.9:40009"), "{log}");
        assert!(!log.contains("connect from 127.0.0.1\n"), "{log}");
        server.stop().unwrap();
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_stays_the_client() {
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    for model in Model::ALL {
        let config = config();
        let server = Server::start(&config, model);
        for header in [&local[..], b"PROXY UNKNOWN\r\n"] {
            let mut client = server.connect();
            client.send_raw(header);
            assert!(client.hello().lines[0].ends_with("[127.0.0.1]"), "{model}");
            client.ask("MAIL FROM:<a@example.net>", "250");
            client.ask("RCPT TO:<b@elsewhere.example>", "550");
            client.quit();
        }
        server.stop().unwrap();
    }
}

/// A header may come in pieces, and what comes in one piece with its end belongs to SMTP.
#[test]
fn headers_may_be_split_anywhere() {
    let config = config();
    let server = Server::start(&config, Model::Prefork);
    for header in [v1("127.0.0.9", "127.0.0.8"), v2("127.0.0.9", "127.0.0.8")] {
        for at in 0..=header.len() {
            let mut client = server.connect();
            client.send_raw(&header[..at]);
            client.send_raw(&[&header[at..], b"EHLO client.test\r\nQUIT\r\n"].concat());
            client.expect("220");
            assert!(client.expect("250").lines[0].ends_with("[127.0.0.9]"), "{at}");
            client.expect("221");
            client.closed();
        }
        let mut client = server.connect();
        header.chunks(1).for_each(|octet| client.send_raw(octet));
        assert!(client.hello().lines[0].ends_with("[127.0.0.9]"));
        client.quit();
    }
    server.stop().unwrap();
}

#[test]
fn a_client_from_elsewhere_is_greeted_and_its_header_is_no_command() {
    for model in Model::ALL {
        let config = Config::new().set("proxy_from", "127.0.0.2\n192.0.2.0/24\n2001:db8::/32");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.expect("220");
        client.send_raw(&v1("127.0.0.9", "127.0.0.8"));
        client.expect("500");
        let hello = client.ask("EHLO client.test", "250");
        assert!(hello.lines[0].ends_with("[127.0.0.1]"), "{model}: {hello:?}");
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn ports_can_be_named() {
    for model in Model::ALL {
        let config = config();
        let server = Server::start(&config, model);
        let port = if model == Model::Inetd { 25 } else { server.port() };
        config.write("proxy_ports", &format!("1\n{port}"));
        let mut client = server.connect();
        client.send_raw(&v1("127.0.0.9", "127.0.0.8"));
        assert!(client.hello().lines[0].ends_with("[127.0.0.9]"), "{model}");
        client.quit();
        server.stop().unwrap();

        config.write("proxy_ports", "1");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        assert!(client.hello().lines[0].ends_with("[127.0.0.1]"), "{model}");
        client.quit();
        server.stop().unwrap();
    }
}

/// Not a word for the client, no hook, one line in the log.
#[test]
fn without_a_header_there_is_no_session() {
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let broken = [SIGNATURE, &[0x21, 0x11, 0, 3, 1, 2, 3]].concat();
    for model in Model::ALL {
        let config = config().set("proxy_timeout", "3");
        let server = Server::start(&config, model);
        let cases: [(&[u8], &str); 6] = [
            (b"EHLO client.test\r\n", "something else came"),
            (b"PROXY TCP4 192.0.2.7 192.0.2.8 1\r\n", "it is malformed"),
            (&endless, "it has no end"),
            (&broken, "it is malformed"),
            (b"", "it took too long"),
            (b"PROXY TCP4 192.0.2.7 ", "it took too long"),
        ];
        for (octets, why) in cases {
            let mut client = server.connect();
            client.send_raw(octets);
            client.closed();
            server.log().wait_for(&format!("no PROXY header from 127.0.0.1: {why}"));
        }
        drop(server.connect());
        server.log().wait_for("no PROXY header from 127.0.0.1: the connection was closed");
        server.stop().unwrap();
    }
}

#[test]
fn each_failure_is_one_line_in_the_log() {
    let config = config();
    let server = Server::start(&config, Model::Prefork);
    for _ in 0..3 {
        let mut client = server.connect();
        client.send_raw(b"EHLO client.test\r\n");
        client.closed();
    }
    let wanted = "no PROXY header from 127.0.0.1: something else came";
    let enough = |text: &str| (text.matches(wanted).count() == 3).then_some(());
    assert!(server.log().wait_until(enough).is_some(), "{}", server.log().tail());
    let log = server.log().text();
    assert!(!log.contains("connect from") && !log.contains("220 "), "{log}");
    server.stop().unwrap();
}

#[test]
fn the_limit_for_one_address_does_not_hold_proxies() {
    for model in Model::PARENTS {
        let config = config();
        config.write("plugins", "hosts_allow\nrelay\nrcpt_ok\nqueue/discard");
        let server = Server::start_with(&config, model, &model.limits("10", "2"));
        let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send_raw(&v1("127.0.0.9", "127.0.0.8"));
            client.hello();
        }
        let other = || server.connect_from(Ipv4Addr::new(127, 0, 0, 2));
        let mut others = [other(), other()];
        others.iter_mut().for_each(|client| drop(client.hello()));
        let mut third = other();
        third.expect("451");
        third.closed();
        clients.into_iter().chain(others).for_each(Client::quit);
        server.stop().unwrap();
    }
}
