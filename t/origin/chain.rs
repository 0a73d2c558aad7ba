//! What one daemon signs or seals, the next one checks, over Debian's resolvers.

use std::os::unix::process::CommandExt;

use super::servers::{NameServer, Text, dnsmasq, unbound};
use crate::harness::config::unprivileged;
use crate::harness::{Client, Config, Model, Server, deb, free_port};
use qpsmtpd::dns::Table;

/// What the signer wants to be done with forged mail.
const POLICY: (&str, &str) = ("_dmarc.signer.test", "v=DMARC1; p=reject");

const MESSAGE: &str =
    "From: A <a@signer.test>\r\nTo: b@example.com\r\nSubject: hi\r\n\r\nHello\r\n";

/// Makes a key with the program; the record that it prints.
pub(super) fn make_key(config: &Config, domain: &str, kind: &str) -> Text {
    // As the account of the daemons, whose folder it is; it may not be let into the folder where the
    // program was built.
    let program = config.install("qpsmtpd-prefork", Model::Prefork.program().as_ref());
    let mut command = config.command(program.to_str().unwrap());
    if let Some(user) = unprivileged() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let output = command.args(["--make-dkim-key", domain, kind, kind]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, record) = said.split_once("\n\n").unwrap();
    let (name, strings) = record.split_once(". IN TXT ( ").unwrap();
    let strings = strings.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    (name.to_owned(), strings)
}

fn send(client: &mut Client, message: &str, code: &str) {
    client.ask("MAIL FROM:<a@signer.test>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(message.as_bytes());
    client.ask(".", code);
}

/// A session with one message.
fn deliver(server: &Server<'_>, message: &str, code: &str) {
    let mut client = server.connect();
    client.hello();
    send(&mut client, message, code);
    client.quit();
}

/// The message that was delivered, with the line ends of mail.
fn delivered(config: &Config) -> String {
    let mut mails = config.take_mails();
    assert_eq!(mails.len(), 1);
    let mail = String::from_utf8(mails.remove(0)).unwrap();
    mail.replace("\r\n", "\n").replace('\n', "\r\n")
}

fn unfolded(mail: &str) -> String {
    mail.replace("\r\n\t", " ").replace("\r\n ", " ")
}

fn asking(config: Config, port: u16) -> Config {
    config.set("dns_servers", &format!("127.0.0.1:{port}"))
}

/// A daemon that signs for its users, and hands their mail to the port.
fn signer(next: u16, dns: u16) -> Config {
    let plugins = format!("relay\ndkim\nrcpt_ok\nqueue/smtp-forward 127.0.0.1 {next}");
    asking(Config::new().set("plugins", &plugins).set("relayclients", "127.0.0.1"), dns)
}

#[test]
fn what_one_daemon_signs_passes_at_the_next_and_forgeries_are_refused() {
    if !deb::need("dnsmasq-base") || !deb::need("unbound") || !deb::need("openssl") {
        return;
    }
    for resolver in ["dnsmasq", "unbound"] {
        let port = free_port();
        let plugins = "dkim\ndmarc\narc\nrcpt_ok\nqueue/maildir {work}/Maildir";
        let receiver = asking(Config::new().set("plugins", plugins), port);
        let receiving = Server::start(&receiver, Model::Prefork);
        let signer = signer(receiving.port(), port);
        let mut records: Vec<Text> =
            ["ed25519", "rsa"].map(|kind| make_key(&signer, "signer.test", kind)).into();
        records.push((POLICY.0.into(), vec![POLICY.1.into()]));
        // With these notes the answer for the RSA key is too long for a datagram.
        records[1].1.push("; n=".into());
        records[1].1.extend(vec!["x".repeat(250); 6]);
        let _dns = match resolver {
            "dnsmasq" => dnsmasq(port, &records),
            _ => unbound(port, &records, &signer),
        };
        let signing = Server::start(&signer, Model::Forkserver);

        deliver(&signing, MESSAGE, "250");
        let mail = delivered(&receiver);
        let unfolded = unfolded(&mail);
        assert_eq!(unfolded.matches("dkim=pass header.d=signer.test").count(), 2, "{mail}");
        assert!(unfolded.contains("dmarc=pass (p=reject) header.from=signer.test"), "{mail}");
        assert!(unfolded.contains("arc=none"), "{mail}");

        let mut client = receiving.connect();
        client.hello();
        send(&mut client, &mail, "250");
        send(&mut client, &mail.replace("Hello", "Hallo"), "552");
        send(&mut client, MESSAGE, "552");
        client.quit();
        receiving.log().wait_for("signer.test p=reject");
        signing.stop().unwrap();
        receiving.stop().unwrap();
    }
}

/// A signer, a forwarder that seals, and a receiver that judges.
#[test]
fn a_chain_of_three_daemons() {
    if !deb::need("dnsmasq-base") || !deb::need("openssl") {
        return;
    }
    let port = free_port();
    let plugins = "dkim\ndmarc reject 0\narc\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let receiver = asking(Config::new().set("plugins", plugins).set("me", "last.test"), port);
    let receiving = Server::start(&receiver, Model::Prefork);
    let plugins = format!(
        "dkim\ndmarc reject 0\narc seal forwarder.test\nrcpt_ok\n\
         queue/smtp-forward 127.0.0.1 {}",
        receiving.port()
    );
    let forwarder = asking(Config::new().set("plugins", &plugins).set("me", "middle.test"), port);
    let forwarding = Server::start(&forwarder, Model::Prefork);
    let signer = signer(forwarding.port(), port);
    let records = [
        make_key(&signer, "signer.test", "ed25519"),
        make_key(&forwarder, "forwarder.test", "rsa"),
        (POLICY.0.into(), vec![POLICY.1.into()]),
    ];
    let _dns = dnsmasq(port, &records);
    let signing = Server::start(&signer, Model::Forkserver);
    let holds = |mail: &str, parts: &[&str]| {
        let mail = unfolded(mail);
        parts.iter().for_each(|part| assert!(mail.contains(part), "{part}: {mail}"));
    };

    // Nobody changes anything.
    deliver(&signing, MESSAGE, "250");
    let sealed = delivered(&receiver);
    holds(
        &sealed,
        &[
            "\r\nAuthentication-Results: last.test; auth=none; spf=none",
            "header.from=signer.test; arc=pass\r\n",
            "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=forwarder.test;",
            "ARC-Authentication-Results: i=1; middle.test; spf=none",
            "dkim=pass header.d=signer.test",
            "dmarc=pass (p=reject) header.from=signer.test; arc=none\r\n",
        ],
    );
    // Somebody on the way changes the subject and does not seal.
    deliver(&forwarding, &sealed.replace("Subject: hi", "Subject: [list] hi"), "250");
    let second = delivered(&receiver);
    holds(&second, &["ARC-Seal: i=2; a=rsa-sha256; cv=fail;", "arc=fail reason="]);
    holds(&second, &["dmarc=fail (p=reject)"]);
    // A chain that has failed ends there.
    deliver(&forwarding, &second, "250");
    let third = delivered(&receiver);
    assert!(!third.contains("ARC-Seal: i=3"), "{third}");
    forwarding.log().wait_for("no seal, the chain is fail");
    // Two that seal one after the other.
    deliver(&forwarding, &sealed, "250");
    let twice = delivered(&receiver);
    holds(&twice, &["ARC-Seal: i=2; a=rsa-sha256; cv=pass;", "arc=pass\r\n"]);
    signing.stop().unwrap();
    forwarding.stop().unwrap();
    receiving.stop().unwrap();
}

/// A stranger's signed message after SPF, DKIM, DMARC and two block lists.
#[test]
fn a_session_waits_for_the_domain_name_system_four_times() {
    if !deb::need("openssl") {
        return;
    }
    let signing = Config::new();
    let keys = ["ed25519", "rsa"].map(|kind| make_key(&signing, "signer.test", kind));
    let mut text = String::from(
        "7.2.0.192.in-addr.arpa PTR mx.signer.test\n\
         mx.signer.test A 192.0.2.7\nmx.signer.test TXT v=spf1 a -all\n\
         signer.test TXT v=spf1 ip4:192.0.2.0/24 -all\n_dmarc.signer.test TXT v=DMARC1; p=reject\n",
    );
    for (name, strings) in keys {
        text += &format!("{name} TXT {}\n", strings.concat());
    }
    let names = NameServer::new(move |asked| vec![asked.of_table(&Table::new(&text))]);
    let address = names.address.to_string();
    let plugins = "dnsbl\nsender_permitted_from reject 3\ndkim\ndmarc\nrcpt_ok\n\
        queue/maildir {work}/Maildir";
    let receiver = Config::new()
        .set("plugins", plugins)
        .set("dnsbl_zones", "one.test\ntwo.test")
        .set("proxy_from", "127.0.0.1")
        .set("dns_servers", &address);
    let receiving = Server::start(&receiver, Model::Prefork);
    let signing = signing
        .set("plugins", "relay\ndkim\nrcpt_ok\nqueue/maildir {work}/Maildir")
        .set("relayclients", "127.0.0.1");
    let signer = Server::start(&signing, Model::Prefork);
    deliver(&signer, MESSAGE, "250");
    let mail = delivered(&signing);
    signer.stop().unwrap();
    // What a start asks of the lists is no session's.
    let is_asked = || (names.waits() > 0).then_some(());
    crate::harness::poll(crate::harness::TIMEOUT, is_asked).expect("the lists are checked");
    let before = (names.waits(), names.heard().len());

    let mut client = receiving.connect();
    client.send_raw(b"PROXY TCP4 192.0.2.7 192.0.2.25 40000 25\r\n");
    client.expect("220");
    client.ask("EHLO mx.signer.test", "250");
    send(&mut client, &mail, "250");
    client.quit();
    let mail = delivered(&receiver);
    let results = unfolded(&mail);
    for part in ["spf=pass smtp.helo", "spf=pass smtp.mailfrom", "dkim=pass", "dmarc=pass"] {
        assert!(results.contains(part), "{part}: {mail}");
    }
    let heard = names.heard();
    let (waits, questions) = (names.waits() - before.0, heard.len() - before.1);
    assert!(waits <= 4, "{waits} waits for {questions} questions: {heard:?}");
    crate::harness::say(&format!("{waits} waits for {questions} questions"));
    receiving.stop().unwrap();
}
