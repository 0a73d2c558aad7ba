//! karma, from one connection to the next, in the real daemons.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::greylisting::{original, session};
use crate::harness::config::unprivileged;
use crate::harness::{Client, Config, Model, Server, deb};

fn config(plugins: &str) -> Config {
    let plugins = plugins.to_owned() + "\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = Config::new().set("plugins", &plugins);
    config.set("store", "lmdb {work}/store 16M").set("karma_tlds", "naughty:-3\nnice:+3")
}

/// What the tool says, or why it does not.
fn tool(config: &Config, words: &[&str]) -> String {
    let mut tool = config.command(Model::Prefork.program());
    tool.arg("--store").args(words);
    tool.args(unprivileged().map(|user| format!("--user={}", user.name)));
    let output = tool.output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn send(mut client: Client, sender: &str) {
    client.hello();
    deliver(&mut client, sender);
    client.quit();
}

fn deliver(client: &mut Client, sender: &str) {
    client.ask(&format!("MAIL FROM:<a@{sender}>"), "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.say("Subject: hi\r\n\r\nHello\r\n.");
    client.expect("250");
}

#[test]
fn good_karma_is_given_for_messages_and_not_for_commands() {
    for model in Model::ALL {
        let config = config("karma").set("loglevel", "LOGINFO");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        let mail = |client: &mut Client| drop(client.ask("MAIL FROM:<a@example.nice>", "250"));
        for _ in 0..3 {
            mail(&mut client);
            client.ask("RSET", "250");
        }
        deliver(&mut client, "example.nice");
        mail(&mut client);
        client.ask("RSET", "250");
        mail(&mut client);
        client.quit();
        let log = server.log().clone();
        server.stop().unwrap();
        let log = log.text();
        assert_eq!(log.matches("karma 3 was given already").count(), 4, "{log}");
        assert!(log.contains("karma 3 (6)") && !log.contains("karma 3 (9)"), "{log}");
    }
}

#[test]
fn naughty_clients_are_refused_until_somebody_releases_them() {
    for model in Model::PARENTS {
        let config = config("karma reject 1");
        let server = Server::start(&config, model);
        let refused = || {
            let mut client = server.connect();
            let reply = client.expect("550");
            assert!(reply.lines[0].contains("You were naughty. You cannot connect for 1.00 more"));
            client.closed();
        };
        send(server.connect(), "example.nice");
        send(server.connect(), "example.naughty");
        send(server.connect(), "example.naughty");
        for _ in 0..2 {
            refused();
        }
        let explained = tool(&config, &["explain", "karma"]);
        let wanted = "127.0.0.1: refused for 1.00 more days; 2 naughty, 1 nice, 5 connects; ";
        assert!(explained.starts_with(wanted), "{model}: {explained}");
        let released = tool(&config, &["release", "karma", "127.0.0.1"]);
        assert_eq!(released, "127.0.0.1: not refused; 0 naughty, 1 nice, 5 connects\n");
        send(server.connect(), "example.nice");
        tool(&config, &["capture", "karma", "127.0.0.1"]);
        refused();
        let unknown = tool(&config, &["pardon", "karma", "127.0.0.1"]);
        assert!(unknown.starts_with("qpsmtpd-prefork: no plugin has 'pardon karma'"), "{unknown}");
        server.stop().unwrap();
        config.nothing_left().unwrap();
    }
}

#[test]
fn many_sessions_at_once_are_all_counted() {
    for model in Model::PARENTS {
        let config = config("karma reject 0");
        let server = Server::start(&config, model);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        send(server.connect(), "example.nice");
                    }
                });
            }
        });
        let explained = tool(&config, &["explain", "karma", "127.0.0.1"]);
        assert!(explained.contains("; 0 naughty, 40 nice, 40 connects; "), "{model}: {explained}");
        server.stop().unwrap();
    }
}

/// Debian's plugin finds a sender of example.pw naughty.
#[test]
fn a_database_of_perl_qpsmtpd_is_taken_over() {
    if !["qpsmtpd", "libnet-ip-perl", "perl"].iter().all(|package| deb::need(package)) {
        return;
    }
    let config = config("karma")
        .set("plugins", "karma db_dir {work}/db\nrcpt_ok")
        .set("plugin_dirs", "/usr/share/qpsmtpd/plugins")
        .env("TCPREMOTEIP", "127.0.0.1")
        .env("TCPREMOTEHOST", "client.example")
        .env("TCPLOCALIP", "127.0.0.1")
        .env("TCPLOCALPORT", "25")
        .env("TCPREMOTEPORT", "4711")
        .env("PROTO", "TCP");
    // The plugin knows the folder of its database by other means than its argument.
    let folder = config.path("config");
    session(original(&config), &["<a@example.pw>"], "250");
    let file = folder.join("karma.dbm");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();

    config.write("plugin_dirs", "");
    config.write("plugins", "karma reject 1\nrcpt_ok\nqueue/discard");
    let server = Server::start(&config, Model::Prefork);
    let import = ["import", "karma", file.to_str().unwrap()];
    let said = "1 entries imported, 0 existed already, 0 were expired or not understood\n";
    assert_eq!(tool(&config, &import), said);
    let explained = tool(&config, &["explain", "karma", "127.0.0.1"]);
    assert!(explained.contains("more days; 0 naughty, 0 nice, "), "{explained}");
    server.connect().expect("550");
    server.stop().unwrap();
}
