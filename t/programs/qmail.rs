//! queue/qmail-queue with a stand-in for qmail-queue, which Debian does not have.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use regex::Regex;

use super::{folder, is_below_added_lines, large, only_file, send, tricky};
use crate::harness::client::Reply;
use crate::harness::{Config, Model, Server, deb};

const STAND_IN: &str = include_str!("qmail-queue.pl");

/// A configuration with the stand-in and its queue.
fn config() -> (Config, PathBuf) {
    let plugins = "rcpt_ok\nqueue/qmail-queue {work}/qmail-queue";
    let config = Config::new().set("plugins", plugins).set("databytes", "0");
    folder(&config, "queue/mess");
    folder(&config, "queue/todo");
    let path = config.program("qmail-queue", STAND_IN);
    (config, path)
}

/// The message and the envelope in the queue, which is empty then.
fn take(config: &Config) -> (Vec<u8>, String) {
    let files = ["queue/mess", "queue/todo"].map(|name| only_file(&config.path(name)));
    let [message, envelope] = files.map(|file| {
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(file).unwrap();
        bytes
    });
    (message, String::from_utf8(envelope).unwrap())
}

fn is_empty(config: &Config) {
    for name in ["queue/mess", "queue/todo"] {
        assert_eq!(fs::read_dir(config.path(name)).unwrap().count(), 0);
    }
}

fn is_queued(reply: &Reply) {
    let form = Regex::new(r"^250 2\.0\.0 Queued! \d{10} qp \d+ <1@a\.test>$").unwrap();
    assert!(form.is_match(&reply.lines[0]), "{reply:?}");
}

#[test]
fn messages_arrive_octet_by_octet() {
    for model in Model::ALL {
        let (config, _) = config();
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        let to = ["<b@example.com>", "<\"c d\"@example.com>", "<postmaster>"];
        for (message, from, sender) in [
            (tricky("one"), "<a@example.net>", "a@example.net"),
            (tricky("two"), "<>", ""),
            (large(500_000), "<\"x y\"@example.net>", "x y@example.net"),
        ] {
            let reply = send(&mut client, from, &to, &message);
            is_queued(&reply);
            let (found, envelope) = take(&config);
            is_below_added_lines(&found, &message);
            let want = format!("F{sender}\0Tb@example.com\0Tc d@example.com\0Tpostmaster\0\0");
            assert_eq!(envelope, want);
        }
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn failures_are_passed_on() {
    let (config, _) = config();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    for (from, want) in [
        ("exit-11", "552 5.1.3 Unable to queue message (11)"),
        ("exit-31", "552 5.3.0 Unable to queue message (31)"),
        ("exit-40", "552 5.3.0 Unable to queue message (40)"),
        ("exit-41", "451 4.3.0 Unable to queue message (41)"),
        ("exit-53", "451 4.3.0 Unable to queue message (53)"),
        ("exit-81", "451 4.3.0 Unable to queue message (81)"),
        ("kill", "451 4.3.0 Internal error - try again later"),
    ] {
        let from = format!("<{from}@example.net>");
        let reply = send(&mut client, &from, &["<b@example.com>"], &tricky("no"));
        assert_eq!(reply.lines, [want]);
        is_empty(&config);
    }
    fs::write(config.path("refuse"), "31").unwrap();
    let reply = send(&mut client, "<a@example.net>", &["<b@example.com>"], &large(500_000));
    assert_eq!(reply.lines, ["552 5.3.0 Unable to queue message (31)"]);
    server.log().wait_for("it says: no room");
    fs::remove_file(config.path("refuse")).unwrap();
    is_queued(&send(&mut client, "<a@example.net>", &["<b@example.com>"], &tricky("yes")));
    client.quit();
    server.stop().unwrap();
}

#[test]
fn a_program_that_hangs_is_ended_and_the_session_goes_on() {
    let (config, _) = config();
    config.write("plugins", "rcpt_ok\nqueue/qmail-queue {work}/qmail-queue timeout 5");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    let reply = send(&mut client, "<hang@example.net>", &["<b@example.com>"], &tricky("no"));
    assert_eq!(reply.lines, ["451 4.3.0 Internal error - try again later"]);
    server.log().wait_for("the program takes too long");
    is_queued(&send(&mut client, "<a@example.net>", &["<b@example.com>"], &tricky("yes")));
    client.quit();
    server.stop().unwrap();
}

#[test]
fn the_environment_names_another_program() {
    let (config, path) = config();
    config.write("plugins", "rcpt_ok\nqueue/qmail-queue /bin/false");
    let config = config.env("QMAILQUEUE", path.to_str().unwrap());
    let server = Server::start(&config, Model::Forkserver);
    let mut client = server.connect();
    client.hello();
    is_queued(&send(&mut client, "<a@example.net>", &["<b@example.com>"], &tricky("one")));
    client.quit();
    server.stop().unwrap();
}

/// A program that was written for qmail gets its messages into the stand-in, too.
#[test]
fn the_stand_in_is_one_for_mailfront() {
    if !deb::need("mailfront") {
        return;
    }
    let (config, path) = config();
    let mut command = config.command(deb::program("smtpfront-qmail").unwrap());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env("QMAILQUEUE", path).env("QMAILHOME", config.work());
    command.envs([("TCPLOCALIP", "127.0.0.1"), ("TCPREMOTEIP", "127.0.0.1"), ("RELAYCLIENT", "")]);
    let mut child = command.spawn().unwrap();
    let lines = "EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n\
        Subject: x\r\n\r\nbody line\r\n.\r\nQUIT\r\n";
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\n250 2.6.0 Accepted message qp "), "{said}");
    let (message, envelope) = take(&config);
    assert!(message.ends_with(b"Subject: x\n\nbody line\n"), "{said}");
    assert_eq!(envelope, "Fa@example.net\0Tb@example.com\0\0");
}
