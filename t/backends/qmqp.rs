//! queue/qmqp-forward to mailfront, and to stand-ins for servers that refuse.

use std::fs;
use std::os::unix::fs::chown;

use super::{answering, forwarding, send, sends_a_large_message, start};
use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Process, Server, deb, free_port};

/// Starts mailfront under tcpserver; it keeps what it gets in `queue/new`.
fn mailfront(config: &Config) -> (Process, u16) {
    let port = free_port();
    let mut command = config.command(deb::program("tcpserver").expect("was asked for"));
    command.args(["-R", "-H", "-l0"]);
    if let Some(user) = unprivileged() {
        command.args(["-u", &user.uid.to_string(), "-g", &user.gid.to_string()]);
    }
    for folder in ["queue", "queue/tmp", "queue/new"] {
        fs::create_dir(config.path(folder)).unwrap();
        if let Some(user) = unprivileged() {
            chown(config.path(folder), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
    }
    command.args(["127.0.0.1", &port.to_string()]);
    command.arg(deb::program("mailfront").expect("was asked for"));
    command.args(["qmqp", "queuedir", "accept"]).env("QUEUEDIR", config.path("queue"));
    (start(command, port), port)
}

/// What mailfront keeps: the addresses of the envelope, each ended by NUL, and the message.
fn kept(config: &Config) -> Vec<Vec<u8>> {
    let files = fs::read_dir(config.path("queue/new")).unwrap();
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

fn needed() -> bool {
    deb::need("ucspi-tcp") && deb::need("mailfront")
}

#[test]
fn mailfront_gets_the_envelope_and_the_message() {
    if !needed() {
        return;
    }
    let keep = Config::new();
    let (_mailfront, port) = mailfront(&keep);
    let config = forwarding(&format!("queue/qmqp-forward 127.0.0.1 {port}"));
    let server = Server::start(&config, Model::Prefork);
    let reply = send(&server, &["b", "c"], "Subject: hi\r\n\r\nline\r\n..\r\n\u{e4}\r\n");
    assert_eq!(reply.lines, ["250 2.0.0 Queued! 2.6.0 Message accepted."]);
    let kept = kept(&keep);
    let [mail] = &kept[..] else { panic!("{} messages", kept.len()) };
    let mail = String::from_utf8(mail.clone()).unwrap();
    let envelope = "a@example.net\0b@example.com\0c@example.com\0";
    let message = mail.strip_prefix(envelope).expect("the envelope");
    assert!(message.contains("Received: from localhost (HELO client.test)"), "{mail}");
    assert!(mail.ends_with("\nSubject: hi\n\nline\n.\n\u{e4}\n"), "{mail}");
    server.stop().unwrap();
}

#[test]
fn a_large_message_needs_no_memory() {
    if !needed() {
        return;
    }
    let keep = Config::new();
    let (_mailfront, port) = mailfront(&keep);
    let plugin = format!("queue/qmqp-forward 127.0.0.1 {port}");
    let (reply, message) = sends_a_large_message(&plugin);
    assert_eq!(reply.code, "250", "{reply:?}");
    let text: Vec<u8> = message.into_iter().filter(|octet| *octet != b'\r').collect();
    assert!(kept(&keep)[0].ends_with(&text));
}

#[test]
fn the_answer_decides() {
    for (answer, want) in [
        (&b"12:Kok 1 qp 234,"[..], "250 2.0.0 Queued! ok 1 qp 234"),
        (b"23:Zqq fails. (#4.3.0),", "451 4.4.2 Unable to queue message"),
        (b"19:Zqq fails. (#4.3.0),", "452 4.3.0 Deferred: qq fails."),
        (b"21:Dmail is bad (#5.6.0),", "552 5.6.0 Denied: mail is bad"),
        (b"4:Dno.,", "552 5.7.1 Denied: no."),
        (b"220 mx.test ESMTP\r\n", "451 4.5.0 Unable to queue message"),
    ] {
        let port = answering(b",13:a@example.net,13:b@example.com,,", answer);
        let config = forwarding(&format!("queue/qmqp-forward 127.0.0.1 {port}"));
        let server = Server::start(&config, Model::Inetd);
        let reply = send(&server, &["b"], "Subject: hi\r\n\r\n");
        assert!(reply.lines[0].starts_with(want), "{reply:?}");
        server.stop().unwrap();
    }
}
