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
