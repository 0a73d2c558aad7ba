//! Who may relay, and who may not.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use crate::harness::{Client, Config, Model, Server};
use crate::processes::addresses::has_ipv6;

/// Addresses that lead elsewhere, by domain and by local part.
const ELSEWHERE: [&str; 8] = [
    "<u@elsewhere.test>",
    "<u%elsewhere.test@example.com>",
    "<elsewhere.test!u@example.com>",
    "<\"u@elsewhere.test\"@example.com>",
    "<\"u%elsewhere.test\"@example.com>",
    "<@example.com:u@elsewhere.test>",
    "<@example.com,@b.test:\"@elsewhere.test:u\"@example.com>",
    "<u%elsewhere.test@[127.0.0.1]>",
];

/// Nobody of these recipients is accepted, whoever claims to send; ours are.
fn is_no_relay(mut client: Client) {
    client.hello();
    for sender in ["<>", "<a@example.com>", "<root@localhost>", "<postmaster>"] {
        client.ask(&format!("MAIL FROM:{sender}"), "250");
        for recipient in ELSEWHERE {
            client.ask(&format!("RCPT TO:{recipient}"), "550");
        }
        for recipient in ["<b@example.com>", "<b@EXAMPLE.com>", "<postmaster>"] {
            client.ask(&format!("RCPT TO:{recipient}"), "250");
        }
    }
    client.quit();
}

/// A copy of the sample configuration, as it is but for the folders.
fn sample() -> Config {
    let config = Config::new();
    fs::remove_dir_all(config.path("config")).unwrap();
    fs::create_dir(config.path("config")).unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, config.path("config").join(path.file_name().unwrap())).unwrap();
    }
    config.set("spool_dir", "{work}/spool").set("logging", "logging/warn LOGINFO")
}

#[test]
fn nobody_may_with_the_sample_configuration() {
    let local: &[&str] = if has_ipv6() { &["127.0.0.1", "::1"] } else { &["127.0.0.1"] };
    for model in Model::PARENTS {
        let config = sample();
        let listen = if has_ipv6() { "[::]:0" } else { "127.0.0.1:0" };
        let server = Server::start_with(&config, model, &model.listen(listen));
        for ip in local {
            let address = SocketAddr::new(ip.parse::<IpAddr>().unwrap(), server.port());
            is_no_relay(server.connect_to(address));
        }
        server.stop().unwrap();
    }
}

/// What tcpserver says of clients on this machine, with an empty RELAYCLIENT.
#[test]
fn nobody_may_whatever_form_the_address_has() {
    for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1"] {
        let config = sample().env("RELAYCLIENT", "").env("TCPREMOTEIP", ip);
        let server = Server::start(&config, Model::Inetd);
        is_no_relay(server.connect());
        server.stop().unwrap();
    }
}

/// The core refuses what a plugin in Perl accepts.
#[test]
fn no_plugin_in_perl_can_take_a_route() {
    let plugins = [("generous", "sub hook_rcpt { return OK }\n")];
    let config = crate::perl_host::config("generous\nqueue/discard", &plugins);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<>", "250");
    for recipient in &ELSEWHERE[1..4] {
        client.ask(&format!("RCPT TO:{recipient}"), "550");
        server.log().wait_for(&format!("generous: fail, {recipient} could be a route"));
    }
    client.ask("RCPT TO:<b@example.com>", "250");
    client.quit();
    server.stop().unwrap();
}

/// Lists of hosts and addresses, each with a line that fits nothing.
const LISTS: [(&str, &str, &str); 13] = [
    ("rcpthosts", "*.wild.test", ".wild.test means all subdomains"),
    ("badmailfrom", "at.test", "@at.test means the host"),
    ("badrcptto", "at.test", "@at.test means the host"),
    ("badmailfromto", "@wild.test at.test", "not a pair of addresses"),
    ("badhelo", "@at.test", "at.test is one"),
    ("whitelistsenders", "@at.test", "at.test is one"),
    ("whitelistrcpt", ".wild.test", "each subdomain of wild.test needs its own line"),
    ("whitelisthelo", "bob@at.test", "at.test is one"),
    ("whitelisthosts", "wild.test", "not an address, the beginning of an address, or a network"),
    ("relayclients", "10.1", "not an address, the beginning of an address, or a network"),
    ("norelayclients", "localhost", "not an address, the beginning of an address, or a network"),
    ("rcpt_regexp", "@at.test OK", "not an address"),
    ("hosts_allow", "at.test DENY", "not an address or network"),
];

/// `--check` and the log of a start name the file and the line.
#[test]
fn a_line_that_fits_nothing_is_named() {
    let plugins = "hosts_allow\nwhitelist\nrelay\nhelo\nbadmailfrom\nbadmailfromto\nbadrcptto\n\
        rcpt_regexp\nrcpt_ok\nqueue/discard";
    let config = LISTS.iter().fold(Config::new().set("plugins", plugins), |config, list| {
        config.set(list.0, &format!("\u{feff}# one\n{}", list.1))
    });
    let check = Server::command(&config, Model::Prefork, &["--check"]).output().unwrap();
    let checked = String::from_utf8(check.stderr).unwrap();
    let server = Server::start(&config, Model::Prefork);
    for (file, line, text) in LISTS {
        let is_named = |said: &str| {
            let place = format!("/{file}:2: ");
            said.lines().any(|line| line.contains(&place) && line.contains(text))
        };
        assert!(is_named(&checked), "{file}: {line}\n{checked}");
        assert!(is_named(&server.log().text()), "{file}: {line}\n{}", server.log().text());
        assert!(!checked.contains(&format!("/{file}:1: ")), "{checked}");
    }
    server.stop().unwrap();
}
