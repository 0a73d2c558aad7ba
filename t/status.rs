//! The status of a daemon: the page, JSON, Prometheus, `--status`, and what is made of it.

mod browser;
mod picture;
mod prometheus;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Client, Config, Model, Server, TIMEOUT, free_port, poll};

const PLUGINS: &str = "auth/auth_flat_file\nrcpt_ok\nqueue/maildir {work}/Maildir";

/// A configuration whose daemon serves its status there.
fn with_status(place: &str) -> Config {
    Config::new()
        .set("plugins", PLUGINS)
        .set("logging", "logging/warn LOGINFO")
        .set("status_listen", place)
}

/// Two recipients, one of which is refused, and a message.
fn session(mut client: Client) {
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@elsewhere.test>", "550");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(b"Subject: x\r\n\r\n.\r\n");
    client.expect("250");
    client.quit();
}

/// What a server says to this request, to the end.
fn exchange(mut stream: impl Read + Write, request: &str) -> String {
    let mut answer = String::new();
    if stream.write_all(request.as_bytes()).is_ok() {
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

/// A page, from a socket in the file system; the daemon may not be there yet.
fn get(config: &Config, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let asked = || {
        let stream = UnixStream::connect(config.path("status")).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let answer = exchange(stream, &request);
        let (head, content) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200 OK").then(|| content.to_owned())
    };
    poll(TIMEOUT, asked).unwrap_or_else(|| panic!("{path} is not served"))
}

fn json(config: &Config) -> Value {
    serde_json::from_str(&get(config, "/status.json")).unwrap()
}

/// The status as soon as something is to be seen there.
fn wait(config: &Config, is_so: impl Fn(&Value) -> bool) -> Value {
    let seen = || Some(json(config)).filter(&is_so);
    poll(TIMEOUT, seen).unwrap_or_else(|| panic!("{:#}", json(config)))
}

/// The value of a series.
fn value(status: &Value, metric: &str, labels: &[&str]) -> u64 {
    let all = status["metrics"][metric].as_array().unwrap();
    let is_it = |series: &&Value| {
        let own = series["labels"].as_object().unwrap().values();
        own.clone().count() == labels.len()
            && own.clone().all(|l| labels.contains(&l.as_str().unwrap()))
    };
    all.iter()
        .find(is_it)
        .map_or(0, |series| series["value"].as_u64().or(series["count"].as_u64()).unwrap())
}

/// The process that serves the status.
fn server_of(server: &mut Server<'_>) -> Option<Pid> {
    server.parent().children().into_iter().find(|pid| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains("serves the status")
    })
}

#[test]
fn what_happens_is_counted_and_shown() {
    for model in [Model::Forkserver, Model::Prefork] {
        let config = with_status("{work}/status");
        let server = Server::start(&config, model);
        session(server.connect());
        session(server.connect());
        let mut staying = server.connect();
        staying.hello();
        staying.ask("MAIL FROM:<\"<b>\"@example.net>", "250");
        let status = wait(&config, |status| {
            value(status, "qpsmtpd_session_seconds", &[]) == 2
                && status["clients"][0]["does"] == "MAIL"
        });
        for (metric, labels, want) in [
            ("qpsmtpd_connections_total", &[][..], 3),
            ("qpsmtpd_sessions_total", &["smtp"], 3),
            ("qpsmtpd_messages_total", &["accepted"], 2),
            ("qpsmtpd_recipients_total", &[], 2),
            ("qpsmtpd_refusals_total", &["rcpt", "rcpt_ok", "5xx"], 2),
            ("qpsmtpd_queue_total", &["queue/maildir", "queued"], 2),
            ("qpsmtpd_hook_seconds", &["queue", "queue/maildir"], 2),
            ("qpsmtpd_replies_total", &["5xx"], 2),
            ("qpsmtpd_workers", &["busy"], 1),
            ("qpsmtpd_metrics_lost_total", &[], 0),
        ] {
            assert_eq!(
                value(&status, metric, labels),
                want,
                "{model} {metric} {labels:?}: {status:#}"
            );
        }
        assert_eq!(status["clients"][0]["ip"], "127.0.0.1");
        let events = status["events"].as_array().unwrap();
        assert_eq!(events.iter().filter(|event| event["what"] == "accepted").count(), 2);
        assert!(status["hooks"]["hooks"].to_string().contains("rcpt_ok"), "{status:#}");

        let page = get(&config, "/");
        assert!(page.contains("127.0.0.1") && page.contains("queue/maildir"), "{page}");
        assert!(get(&config, "/metrics").contains("qpsmtpd_connections_total 3\n"));

        let shown = config.command(Model::Inetd.program()).arg("--status").output().unwrap();
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(text.contains("1 busy") && text.contains("rcpt_ok"), "{shown:?}");
        // The place is free for the next daemon as soon as this one is to end, not when it has.
        staying.ask("RCPT TO:<b@example.com>", "250");
        let mut server = server;
        server.parent().signal(Signal::SIGTERM);
        poll(TIMEOUT, || (!config.path("status").exists()).then_some(())).unwrap();
        assert_eq!(server.parent().ended(), None);
        drop(staying);
        server.stop().unwrap();
        config.nothing_left().unwrap();
    }
}

#[test]
fn it_is_served_after_a_reload_and_after_a_death() {
    let config = with_status("{work}/status");
    let mut server = Server::start(&config, Model::Prefork);
    session(server.connect());
    wait(&config, |status| value(status, "qpsmtpd_messages_total", &["accepted"]) == 1);
    let first = server_of(&mut server).unwrap();

    config.write("plugins", "badrcptto\nrcpt_ok\nqueue/maildir {work}/Maildir");
    server.parent().signal(Signal::SIGHUP);
    server.log().wait_for("the configuration was read again");
    let status = wait(&config, |status| status["hooks"].to_string().contains("badrcptto"));
    assert_eq!(value(&status, "qpsmtpd_messages_total", &["accepted"]), 1, "{status:#}");
    assert!(!status["history"].as_array().unwrap().is_empty());
    assert_eq!(value(&status, "qpsmtpd_reloads_total", &["ok"]), 1);

    let second = poll(TIMEOUT, || server_of(&mut server).filter(|pid| *pid != first)).unwrap();
    kill(second, Signal::SIGKILL).unwrap();
    server.log().wait_for("serving the status, was killed by SIGKILL");
    let third = poll(TIMEOUT, || server_of(&mut server).filter(|pid| *pid != second)).unwrap();
    assert_ne!(third, second);
    assert_eq!(value(&json(&config), "qpsmtpd_messages_total", &["accepted"]), 1);

    // It goes where the configuration says, and stays where it was if it cannot go there.
    config.write("status_listen", "{work}/no/such/folder");
    server.parent().signal(Signal::SIGHUP);
    server.log().wait_for("cannot listen for the status at");
    get(&config, "/");
    fs::remove_file(config.path("config").join("status_listen")).unwrap();
    server.parent().signal(Signal::SIGHUP);
    poll(TIMEOUT, || (!config.path("status").exists()).then_some(())).unwrap();
    session(server.connect());
    server.stop().unwrap();
    config.nothing_left().unwrap();
}

/// Where no status is served nobody could see what is counted, and nothing is.
#[test]
fn sessions_count_from_when_it_is_served() {
    let config = Config::new().set("plugins", PLUGINS).set("logging", "logging/warn LOGINFO");
    let mut server = Server::start(&config, Model::Prefork);
    session(server.connect());
    config.write("status_listen", "{work}/status");
    server.parent().signal(Signal::SIGHUP);
    server.log().wait_for("the configuration was read again");
    let status = json(&config);
    assert_eq!(value(&status, "qpsmtpd_messages_total", &["accepted"]), 0, "{status:#}");
    session(server.connect());
    let status = wait(&config, |status| value(status, "qpsmtpd_messages_total", &["accepted"]) > 0);
    assert_eq!(value(&status, "qpsmtpd_messages_total", &["accepted"]), 1);
    assert_eq!(status["events"].as_array().unwrap().len(), 2, "{status:#}");
    server.stop().unwrap();
}

#[test]
fn strangers_and_garbage_get_nothing() {
    let port = free_port();
    let config = with_status(&format!("127.0.0.1:{port}"));
    let server = Server::start(&config, Model::Prefork);
    let connect = || {
        let stream = poll(TIMEOUT, || TcpStream::connect(("127.0.0.1", port)).ok()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    };
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
        ("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.evil.example:80\r\n\r\n", "403"),
        ("GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
        ("EHLO x\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "200"),
    ] {
        let answer = exchange(connect(), request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    // Some say nothing, and others are served meanwhile.
    let silent: Vec<_> = (0..7).map(|_| connect()).collect();
    // The one before may not have given its place back.
    let head = || {
        let answer = exchange(connect(), "HEAD / HTTP/1.1\r\nHost: [::1]\r\n\r\n");
        (!answer.is_empty()).then_some(answer)
    };
    let answer = poll(TIMEOUT, head).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    drop(silent);
    session(server.connect());
    server.stop().unwrap();
}

#[test]
fn a_place_that_others_reach_needs_the_word() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (place, why) in [
        ("0.0.0.0:9225", "status_listen is '0.0.0.0:9225', not"),
        ("192.0.2.1:9225", "status_listen is '192.0.2.1:9225', not"),
        ("9225", "status_listen is '9225', not"),
        (&taken, "cannot listen for the status at"),
        ("/no/such/folder/status", "cannot listen for the status at /no/such/folder/status"),
    ] {
        let config = with_status(place);
        let mut command: Command = Server::command(&config, Model::Prefork, &[]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(why), "{place}: {text}");
    }
    let port = free_port();
    let config = with_status(&format!("0.0.0.0:{port} public"));
    let server = Server::start(&config, Model::Prefork);
    let shown = || {
        let shown = config.command(Model::Inetd.program()).arg("--status").output().unwrap();
        shown.status.success().then_some(())
    };
    poll(Duration::from_secs(30), shown).unwrap();
    server.stop().unwrap();
    let nobody = config.command(Model::Inetd.program()).arg("--status").output().unwrap();
    let text = String::from_utf8_lossy(&nobody.stderr);
    assert!(text.contains("the daemon does not answer at 0.0.0.0"), "{text}");
}
