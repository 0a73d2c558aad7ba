//! Who sent a message: two daemons, one of which signs what the other one checks, and the domain
//! name system that they ask.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::unistd::User;
use qpsmtpd::hook::{Call, Code, Hook};
use qpsmtpd::state::Params;
use qpsmtpd::testing::Trial;

use crate::harness::config::unprivileged;
use crate::harness::{Client, Config, Log, Model, Process, Server, deb, free_port};

/// The domain that signs, and what it wants to be done with forged mail.
const POLICY: &str = "_dmarc.signer.test,v=DMARC1; p=reject";

/// Debian's dnsmasq with these records, and nobody else to ask.
fn dnsmasq(port: u16, records: &[String]) -> Process {
    let mut command = Command::new(deb::program("dnsmasq").unwrap());
    let user = User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-"]);
    command.args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1"]);
    command.args(["--local=/test/", "--local=/arpa/", "--pid-file="]);
    command.arg(format!("--user={user}")).arg(format!("--port={port}")).args(records);
    let log = Log::default();
    let process = Process::spawn(command, &log);
    log.wait_for("started");
    process
}

/// Makes a key with the program; the record that it prints, as dnsmasq wants it.
fn make_key(config: &Config, kind: &str) -> String {
    // As the account of the daemons, whose folder it is; it may not be let into the folder where the
    // program was built.
    let program = config.install("qpsmtpd-prefork", Model::Prefork.program().as_ref());
    let mut command = config.command(program.to_str().unwrap());
    if let Some(user) = unprivileged() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let output = command.args(["--make-dkim-key", "signer.test", kind, kind]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, record) = said.split_once("\n\n").unwrap();
    let (name, strings) = record.split_once(". IN TXT ( ").unwrap();
    let strings: Vec<&str> = strings.split('"').skip(1).step_by(2).collect();
    format!("--txt-record={name},{}", strings.join(","))
}

fn send(client: &mut Client, message: &str, code: &str) {
    client.ask("MAIL FROM:<a@signer.test>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(message.as_bytes());
    client.ask(".", code);
}

#[test]
fn what_one_daemon_signs_passes_at_the_next_and_forgeries_are_refused() {
    if !deb::need("dnsmasq-base") || !deb::need("openssl") {
        return;
    }
    let port = free_port();
    let receiver = Config::new()
        .set("plugins", "dkim\ndmarc\narc\nrcpt_ok\nqueue/maildir {work}/Maildir")
        .set("dns_servers", &format!("127.0.0.1:{port}"));
    let receiving = Server::start(&receiver, Model::Prefork);
    let next = format!("relay\ndkim\nrcpt_ok\nqueue/smtp-forward 127.0.0.1 {}", receiving.port());
    let signer = Config::new()
        .set("plugins", &next)
        .set("relayclients", "127.0.0.1")
        .set("dns_servers", &format!("127.0.0.1:{port}"));
    let mut records: Vec<String> =
        ["ed25519", "rsa"].iter().map(|kind| make_key(&signer, kind)).collect();
    records.push(format!("--txt-record={POLICY}"));
    let _dns = dnsmasq(port, &records);
    let signing = Server::start(&signer, Model::Forkserver);

    let message = "From: A <a@signer.test>\r\nTo: b@example.com\r\nSubject: hi\r\n\r\nHello\r\n";
    let mut client = signing.connect();
    client.hello();
    send(&mut client, message, "250");
    client.quit();
    let mail = String::from_utf8(receiver.take_mails().remove(0)).unwrap();
    let unfolded = mail.replace("\r\n\t", " ").replace("\n\t", " ").replace("\n ", " ");
    assert_eq!(unfolded.matches("dkim=pass header.d=signer.test").count(), 2, "{mail}");
    assert!(unfolded.contains("dmarc=pass (p=reject) header.from=signer.test"), "{mail}");
    assert!(unfolded.contains("arc=none"), "{mail}");

    let mail = mail.replace("\r\n", "\n").replace('\n', "\r\n");
    let mut client = receiving.connect();
    client.hello();
    send(&mut client, &mail, "250");
    send(&mut client, &mail.replace("Hello", "Hallo"), "552");
    send(&mut client, message, "552");
    client.quit();
    receiving.log().wait_for("signer.test p=reject");
    signing.stop().unwrap();
    receiving.stop().unwrap();
}

/// A name server that takes questions and never answers.
#[test]
fn the_greeting_does_not_wait_for_a_name_server_that_is_dead() {
    for model in Model::PARENTS {
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let config = Config::new()
            .set("dns_servers", &silent.local_addr().unwrap().to_string())
            .set("dns_timeout", "1")
            .set("proxy_from", "127.0.0.1");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.send_raw(b"PROXY TCP4 192.0.2.7 192.0.2.25 40000 25\r\n");
        client.hello();
        let mut question = [0; 512];
        let (count, _) = silent.recv_from(&mut question).unwrap();
        assert!(question[..count].windows(8).any(|part| part == b"\x07in-addr"), "{question:?}");
        client.quit();
        server.stop().unwrap();
    }
}

/// The rows of the table in docs/dns.md: the line of config/plugins, and the reply.
fn rows() -> Vec<(String, String)> {
    let docs = include_str!("../docs/dns.md");
    let (_, table) = docs.split_once("| plugin |").expect("the table");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
    })
    .collect()
}

#[test]
fn docs_dns_md_says_what_is_refused_while_dns_is_down() {
    let rows = rows();
    let public = deb::need("publicsuffix");
    for (line, reply) in &rows {
        if line == "uribl" && !public {
            continue;
        }
        let files = [
            ("dnsbl_zones", "list.test"),
            ("rhsbl_zones", "list.test"),
            ("uribl_zones", "list.test"),
            ("whitelist_zones", "list.test"),
        ];
        let mut trial = Trial::new(line, &files).with_dead_dns();
        trial.session.connection.hello_host = "mx.example.net".into();
        let mut refusals = vec![];
        let mut keep = |code: Code, text: &str| {
            if code.is_deny() {
                let soft = matches!(code, Code::DenySoft | Code::DenySoftDisconnect);
                refusals.push(format!("{} {text}", if soft { 450 } else { 550 }));
            }
        };
        let verdict = trial.plain(Hook::Connect);
        keep(verdict.code(), verdict.text());
        let verdict = trial.call(Hook::Ehlo, &Call::Host("mx.example.net"));
        keep(verdict.code(), verdict.text());
        let sender = qpsmtpd::mail::Address::parse("<a@example.net>").unwrap();
        let verdict = trial.call(Hook::Mail, &Call::Address(&sender, &Params::default()));
        keep(verdict.code(), verdict.text());
        trial.session.transaction.set_sender(sender);
        trial.message(
            "DKIM-Signature: v=1; a=ed25519-sha256; d=example.net; s=x; h=from; bh=AAAA; b=AAAA\n\
             From: a@example.net\n\nhttp://www.example.org/\n",
        );
        for hook in [Hook::DataPostHeaders, Hook::DataPost] {
            let verdict = trial.plain(hook);
            keep(verdict.code(), verdict.text());
        }
        let wanted: Vec<String> = match reply.as_str() {
            "none" => vec![],
            reply => vec![reply.trim_matches('`').to_owned()],
        };
        assert_eq!(refusals, wanted, "{line}: {}", trial.log());
    }
    let names: Vec<&str> =
        rows.iter().filter_map(|(line, _)| line.split_whitespace().next()).collect();
    for plugin in qpsmtpd::plugins::PLUGINS.iter().filter(|row| row.source.contains(".dns()")) {
        assert!(names.contains(&plugin.name), "docs/dns.md lacks {}", plugin.name);
    }
}

/// The front door is loaded as it stands, with the lists that it names.
#[test]
fn the_front_door_is_good() {
    if !deb::need("publicsuffix") {
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/front-door");
    let config = Config::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, config.path("config").join(path.file_name().unwrap())).unwrap();
    }
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    config.write("dns_servers", &silent.local_addr().unwrap().to_string());
    config.write("dns_timeout", "1");
    let check = Server::command(&config, Model::Prefork, &["--check"]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.success(), "{said}");
    // The lists cannot be asked, which is a warning.
    assert!(said.contains("zen.spamhaus.org cannot be asked"), "{said}");
    // Whoever cannot be looked up is deferred, not refused.
    let config = config.set("spool_dir", "{work}/spool");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "450");
    client.quit();
    server.stop().unwrap();
}
