use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;
use crate::hook::{Code, KARMA};
use crate::testing::Trial;

/// A daemon that gives these answers, each to a connection of its own; what it was asked.
fn daemon(answers: &[&str]) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let serve = move |answer: String| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![];
        let mut octet = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut octet).unwrap() == 1 {
            request.push(octet[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        let request = String::from_utf8(request).unwrap();
        request.lines().next().unwrap().to_owned()
    };
    (port, thread::spawn(move || answers.into_iter().map(serve).collect()))
}

fn saying(code: u8) -> String {
    let code = code.to_string();
    let length = code.len();
    format!(
        "HTTP/1.1 200 OK\r\nServer: libwww-perl-daemon/6\r\nContent-Length: {length}\r\n\r\n{code}"
    )
}

fn verdict(answer: &str, arguments: &str) -> (Verdict, String) {
    let (port, daemon) = daemon(&[answer]);
    let line = format!("qmail_deliverable server 127.0.0.1:{port} {arguments}");
    let mut trial = Trial::new(&line, &[]);
    trial.mail("<a@example.net>");
    let verdict = trial.rcpt("<B.x+y@Example.com>");
    assert_eq!(daemon.join().unwrap(), ["GET /qd1/deliverable?b.x%2By%40example.com HTTP/1.1"]);
    (verdict, trial.log())
}

#[test]
fn codes_mean_what_they_mean_in_perl() {
    let refused = Verdict::deny("Sorry, no mailbox by that name. qd (#5.1.1)");
    assert_eq!(verdict(&saying(0), "").0, refused);
    assert_eq!(verdict(&saying(0), "reject 0").0, DECLINED);
    for (code, text) in CODES {
        let (verdict, log) = verdict(&saying(code), "");
        assert_eq!(verdict, DECLINED, "{code:#x}");
        assert!(log.contains(text), "{log}");
    }
    for code in [0x2f, 0xfe, 0x01] {
        assert!(verdict(&saying(code), "").0.is_failure(), "{code:#x}");
        assert_eq!(verdict(&saying(code), "on_error ignore").0, DECLINED, "{code:#x}");
    }
}

#[test]
fn what_is_no_code_decides_nothing() {
    for answer in [
        "HTTP/1.1 204 UNDEF\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\n0",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n256",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n-1",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n+0",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n0",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\0",
        "rubbish\r\n\r\n",
        "",
    ] {
        let (verdict, log) = verdict(answer, "");
        assert!(verdict.is_failure(), "{answer}: {verdict:?}");
        assert!(log.contains("qmail-deliverabled at 127.0.0.1:"), "{log}");
    }
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}", "0".repeat(999));
    assert!(verdict(&large, "").0.is_failure());
}

#[test]
fn mailing_lists_do_not_take_bounces() {
    let (port, daemon) = daemon(&[&saying(MAILING_LIST)]);
    let mut trial = Trial::new(&format!("qmail_deliverable server 127.0.0.1:{port}"), &[]);
    trial.mail("<>");
    let verdict = trial.rcpt("<list@example.com>");
    assert_eq!(verdict, Verdict::deny("mailing lists do not accept null senders"));
    assert_eq!(trial.session.connection.notes.get(KARMA), Some(-1));
    daemon.join().unwrap();
}

#[test]
fn a_daemon_that_is_down_or_silent_decides_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!("qmail_deliverable server 127.0.0.1:{port} timeout 1");
    assert!(Trial::new(&line, &[]).rcpt("<b@example.com>").is_failure());
    drop(listener);
    assert!(Trial::new(&line, &[]).rcpt("<b@example.com>").is_failure());
    let ignored = Trial::new(&format!("{line} on_error ignore"), &[]).rcpt("<b@example.com>");
    assert_eq!(ignored, DECLINED);
}

#[test]
fn extensions_of_vpopmail_are_tried_from_the_front() {
    let line = |port| format!("qmail_deliverable server 127.0.0.1:{port} vpopmail_ext 1");
    let (port, asked) = daemon(&[&saying(0), &saying(0), &saying(0xf2)]);
    let mut trial = Trial::new(&line(port), &[]);
    assert_eq!(trial.rcpt("<a-b-c@example.com>"), DECLINED);
    let asked: Vec<String> = asked.join().unwrap();
    let names: Vec<&str> =
        asked.iter().map(|line| line.split(['?', '%']).nth(1).unwrap()).collect();
    assert_eq!(names, ["a-b-c", "a", "a-b"]);
    // An address that is not local there is not taken for a mailbox.
    let (port, asked) = daemon(&[&saying(0), &saying(NOT_LOCAL)]);
    let mut trial = Trial::new(&line(port), &[]);
    assert_eq!(trial.rcpt("<-a-b@example.com>").code(), Code::Deny);
    assert_eq!(asked.join().unwrap().len(), 2);
}

#[test]
fn some_are_not_asked_about() {
    let mut trial = Trial::new("qmail_deliverable server 127.0.0.1:1", &[]);
    for path in
        ["<\"a b\"@example.com>", "<b\u{f6}b@example.com>", "<a..b@example.com>", "<a@[192.0.2.1]>"]
    {
        assert_eq!(trial.rcpt(path), DECLINED, "{path}");
    }
    trial.session.connection.relay_client = true;
    assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
}

#[test]
fn routes_say_whom_to_ask() {
    let (port, asked) = daemon(&[&saying(0xf1), &saying(0xf1)]);
    let file = "a.test:127.0.0.1:26\n.b.test:[127.0.0.1]\nnone.b.test:\nno colon\n";
    let line = format!("qmail_deliverable server smtproutes:{port} routes {{dir}}/config/routes");
    let mut trial = Trial::new(&line, &[("routes", file)]);
    for path in ["<b@A.test>", "<c@x.b.test>", "<d@none.b.test>", "<e@b.test>", "<f@c.test>"] {
        assert_eq!(trial.rcpt(path), DECLINED, "{path}");
    }
    let log = trial.log();
    for text in [
        "no route for none.b.test",
        "no route for b.test",
        "no route for c.test",
        "routes:4: not a route",
    ] {
        assert!(log.contains(text), "{log}");
    }
    assert_eq!(asked.join().unwrap().len(), 2);
    let (port, asked) = daemon(&[&saying(0)]);
    let line = format!(
        "qmail_deliverable server smtproutes:127.0.0.1:{port} routes {{dir}}/config/routes"
    );
    assert_eq!(Trial::new(&line, &[("routes", file)]).rcpt("<f@c.test>").code(), Code::Deny);
    asked.join().unwrap();
}

#[test]
fn wrong_arguments_stop_the_start() {
    for (arguments, why) in [
        ("server localhost", "no port in 'localhost'"),
        ("server /run/qd", "HOST:PORT"),
        ("server smtproutes:", "not a port: ''"),
        ("server smtproutes:host:x", "not a port: 'x'"),
        ("server", "argument server has no value"),
        ("port 8998", "unknown argument 'port'"),
    ] {
        let error = Trial::load(&format!("qmail_deliverable {arguments}"), &[]).err().unwrap();
        assert!(error.to_string().contains(why), "{arguments}: {error}");
    }
    Trial::new("qmail_deliverable vpopmail_ext 0 reject naughty", &[]);
    Trial::new("check_qmail_deliverable server smtproutes:mx.test:8998", &[]);
}
