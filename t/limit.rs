//! The plugin limit in real daemons: what is counted before a process is spent, what all processes
//! count together, and what comes of a client that guesses passwords.

use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use base64::prelude::{BASE64_STANDARD, Engine};
use nix::sys::signal::Signal;

use crate::harness::config::unprivileged;
use crate::harness::{Client, Config, Model, Server, TIMEOUT, deb, poll};
use crate::store::redis::Redis;

/// A configuration with lines of limit, and a store of its own.
fn config(plugins: &str, lines: &str) -> Config {
    Config::new()
        .set("plugins", &format!("limit\n{plugins}\nrcpt_ok\nqueue/discard"))
        .set("limit", lines)
        .set("store", "lmdb {work}/store")
}

#[test]
fn connections_are_counted_before_they_cost_a_process() {
    for model in Model::PARENTS {
        let config = config("", "connections by address = 3/10h");
        let mut server = Server::start(&config, model);
        for _ in 0..3 {
            let mut client = server.connect();
            client.hello();
            client.quit();
        }
        let refused = |server: &Server| {
            let mut client = server.connect();
            let reply = client.expect("451");
            client.closed();
            let text = "451 4.7.1 too many connections from 127.0.0.1, try again later";
            assert!(reply.lines[0].ends_with(&text[10..]), "{model}: {reply:?}");
        };
        refused(&server);
        refused(&server);
        let mut neighbour = server.connect_from(Ipv4Addr::new(127, 0, 0, 2));
        neighbour.hello();
        neighbour.quit();
        // The parent remembers when it reads its configuration anew.
        config.write("loglevel", "LOGINFO");
        server.parent().signal(Signal::SIGHUP);
        server.log().wait_for("was read again");
        refused(&server);
        let line = "limit: fail, connections by address 127.0.0.1: 3/10h, free again in 12000 s";
        let log = server.log().text();
        assert!(log.matches("connections by address 127.0.0.1").count() >= 3, "{line}\n{log}");
        server.stop().unwrap();
    }
}

/// Without a parent the session counts, in the store.
#[test]
fn connections_without_a_parent_are_counted_at_connect() {
    let config = config("", "connections by address = 3/10h");
    let server = Server::start(&config, Model::Inetd);
    for _ in 0..3 {
        let mut client = server.connect();
        client.hello();
        client.quit();
    }
    let mut client = server.connect();
    client.expect("450");
    client.closed();
    server.stop().unwrap();
}

/// A proxy is nobody's address: its clients are counted by their own.
#[test]
fn connections_by_way_of_a_proxy_are_those_of_its_clients() {
    let config = config("", "connections by address = 2/10h").set("proxy_from", "127.0.0.1");
    let server = Server::start(&config, Model::Prefork);
    for (last, code) in [(7, "220"), (7, "220"), (7, "450"), (8, "220"), (8, "220"), (8, "450")] {
        let mut client = server.connect();
        client.say(&format!("PROXY TCP4 192.0.2.{last} 192.0.2.25 40000 25"));
        client.expect(code);
    }
    server.log().wait_for("limit: fail, connections by address 192.0.2.8: 2/10h, free again in");
    server.stop().unwrap();
}

#[test]
fn a_line_that_cannot_be_read_stops_the_start() {
    let config = config("", "messages by user = 1/1h\nmessages by users = 1/1h");
    let check = Server::command(&config, Model::Prefork, &["--check"]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(!check.status.success(), "{said}");
    let line =
        "config/limit:2: limit: 'users' is not known: messages are counted by address, network,";
    assert!(said.contains(line), "{said}");
    let failed = Server::try_start(&config, Model::Prefork, &[]).err().unwrap();
    assert!(failed.contains(line), "{failed}");
}

fn log_in(client: &mut Client, password: &str) -> String {
    let message = BASE64_STANDARD.encode(format!("\0tim@example.com\0{password}"));
    client.say(&format!("AUTH PLAIN {message}"));
    let reply = client.reply();
    format!("{} {}", reply.code, &reply.lines[0][4..])
}

#[test]
fn who_guesses_passwords_is_stopped_even_with_the_right_one() {
    const TEXT: &str = "too many failed attempts to authenticate from 127.0.0.1";
    for (model, action, code, text) in [
        (Model::Forkserver, "", "454", "4.7.1 "),
        (Model::Prefork, "refuse", "535", "5.7.1 "),
        (Model::Inetd, "disconnect", "421", "4.7.1 "),
    ] {
        let lines = format!("failed_auth by address = 3/10h {action}");
        let config =
            config("auth/auth_flat_file", &lines).set("flat_auth_pw", "tim@example.com:tanstaaf");
        let server = Server::start(&config, model);
        for _ in 0..3 {
            let mut client = server.connect();
            client.hello();
            assert!(log_in(&mut client, "wrong").starts_with("535"), "{model}");
            client.quit();
        }
        let mut client = server.connect();
        client.hello();
        let said = log_in(&mut client, "tanstaaf");
        assert!(said.starts_with(&format!("{code} {text}{TEXT}")), "{model}: {said}");
        if code == "421" {
            client.closed();
        } else {
            let scram = BASE64_STANDARD.encode("n,,n=tim@example.com,r=abcdefgh");
            client.ask(&format!("AUTH SCRAM-SHA-256 {scram}"), code);
            client.ask("MAIL FROM:<a@example.net>", "250");
            client.ask("RCPT TO:<b@elsewhere.test>", "550");
            client.quit();
        }
        let log = server.log().text();
        assert!(log.contains(&format!("client 127.0.0.1 failed AUTH: {TEXT}")), "{log}");
        assert!(!log.contains("auth_flat_file: pass"), "{log}");
        server.stop().unwrap();
    }
}

#[test]
fn who_knows_the_password_is_not_counted_and_counting_offers_no_auth() {
    let config = config("auth/auth_flat_file", "failed_auth by user = 1/10h")
        .set("flat_auth_pw", "tim@example.com:tanstaaf");
    let server = Server::start(&config, Model::Prefork);
    for _ in 0..3 {
        let mut client = server.connect();
        client.hello();
        assert!(log_in(&mut client, "tanstaaf").starts_with("235"));
        client.quit();
    }
    server.stop().unwrap();
    let config = self::config("", "failed_auth by user = 1/10h");
    let server = Server::start(&config, Model::Forkserver);
    let mut client = server.connect();
    let offered = client.hello();
    assert!(!offered.lines.iter().any(|line| line.contains("AUTH")), "{offered:?}");
    client.ask("AUTH PLAIN AGEAYg==", "500");
    client.quit();
    server.stop().unwrap();
}

/// Clients of all `servers` that go on sending messages at the same time, in sessions of `each`: how
/// many got past DATA, and how long it took.
pub(crate) fn hammer(servers: &[Server], sessions: usize, each: usize) -> (usize, f64) {
    let passed = AtomicUsize::new(0);
    let barrier = Barrier::new(sessions);
    let begun = Instant::now();
    thread::scope(|scope| {
        for number in 0..sessions {
            let (server, passed, barrier) = (&servers[number % servers.len()], &passed, &barrier);
            scope.spawn(move || {
                let mut client = server.connect();
                client.hello();
                barrier.wait();
                for _ in 0..each {
                    client.ask("MAIL FROM:<a@example.net>", "250");
                    client.ask("RCPT TO:<b@example.com>", "250");
                    client.say("DATA");
                    match &*client.reply().code {
                        "354" => {
                            client.ask("Subject: x\r\n\r\nx\r\n.", "250");
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                        "451" => drop(client.ask("RSET", "250")),
                        code => panic!("{}", client.story(code)),
                    }
                }
                client.quit();
            });
        }
    });
    (passed.into_inner(), begun.elapsed().as_secs_f64())
}

/// What `--store` says.
fn tool(config: &Config, words: &[&str]) -> String {
    let mut tool = config.command(Model::Inetd.program());
    tool.arg("--store").args(words);
    tool.args(unprivileged().map(|user| format!("--user={}", user.name)));
    let output = tool.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// One after the other or all at once, in whatever process: exactly so many.
#[test]
fn workers_count_together() {
    for model in Model::PARENTS {
        let config = config("", "messages by address = 60/100h\nmessages by sender = 1000/1h");
        let server = Server::start_with(&config, model, &model.limits("20", "100"));
        let servers = [server];
        let (passed, _) = hammer(&servers, 12, 10);
        assert_eq!(passed, 60, "{model}");
        let said = tool(&config, &["explain", "limit"]);
        let text = "messages by address 127.0.0.1: 60/100h, no more, free again in ";
        assert!(said.contains(text), "{said}");
        assert!(said.contains("messages by sender a@example.net: 1000/1h, "), "{said}");
        assert!(said.contains(" of 1000 used"), "{said}");
        // Whoever is forgotten begins anew.
        tool(&config, &["clear", "limit", "messages:address:60/100h:127.0.0.1"]);
        assert_eq!(hammer(&servers, 1, 1).0, 1);
        let [server] = servers;
        server.stop().unwrap();
    }
}

/// With time passing: never more than the burst and what the rate gives meanwhile.
#[test]
fn the_rate_is_kept_while_time_passes() {
    let config = config("", "messages by address = 20/1s burst 10");
    let servers = [Server::start(&config, Model::Prefork)];
    let (passed, seconds) = hammer(&servers, 8, 30);
    assert!(passed >= 10 && passed as f64 <= 10.0 + 20.0 * seconds, "{passed} in {seconds} s");
    // As soon as it says that it is free again, it is.
    let mut client = servers[0].connect();
    client.hello();
    let passes = || {
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@example.com>", "250");
        client.say("DATA");
        (client.reply().code == "354").then_some(())
    };
    assert!(poll(TIMEOUT, passes).is_some());
    client.ask("Subject: x\r\n\r\nx\r\n.", "250");
    client.quit();
    let [server] = servers;
    server.stop().unwrap();
}

/// Two hosts with one Redis let pass as many as one would; while Redis says nothing all pass, or none
/// where `on_error` wants that.
#[test]
fn hosts_with_one_redis_count_together() {
    if !deb::need("redis-server") {
        return;
    }
    let lines = "messages by address = 60/100h\nmessages by sender = 500/1h";
    let (one, other) = (config("", lines), config("", lines));
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(folder.path(), &[]);
    for config in [&one, &other] {
        config.write("store", &format!("redis redis://127.0.0.1:{}", redis.port));
        config.write("store_timeout", "1");
    }
    other.write("plugins", "limit on_error tempfail\nrcpt_ok\nqueue/discard");
    let servers = [Server::start(&one, Model::Prefork), Server::start(&other, Model::Forkserver)];
    assert_eq!(hammer(&servers, 12, 10).0, 60);
    // With time passing, no more than the rate of one host.
    let lines = "messages by address = 20/1s burst 10";
    [&one, &other].iter().for_each(|config| config.write("limit", lines));
    let is_read = |server: &Server| {
        let (passed, _) = hammer(std::slice::from_ref(server), 1, 1);
        (passed == 1).then_some(())
    };
    servers.iter().for_each(|server| assert!(poll(TIMEOUT, || is_read(server)).is_some()));
    let (passed, seconds) = hammer(&servers, 8, 25);
    assert!(passed >= 1 && passed as f64 <= 10.0 + 20.0 * seconds, "{passed} in {seconds} s");

    redis.process.signal(Signal::SIGSTOP);
    for (server, code) in servers.iter().zip(["354", "451"]) {
        for _ in 0..2 {
            let mut client = server.connect();
            client.hello();
            client.ask("MAIL FROM:<a@example.net>", "250");
            client.ask("RCPT TO:<b@example.com>", "250");
            client.ask("DATA", code);
            if code == "354" {
                client.ask("Subject: x\r\n\r\nx\r\n.", "250");
            }
            client.quit();
        }
        server.log().wait_for("limit: the store is not available: Redis 127.0.0.1");
    }
    redis.process.signal(Signal::SIGCONT);
    for server in servers {
        server.stop().unwrap();
    }
}
