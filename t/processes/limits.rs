//! How many sessions there may be, and how many from one address.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::harness::{Config, Model, Server, TIMEOUT, deb, poll};
use crate::perl_host;

/// How long a client is looked at that has to hear nothing.
const SILENCE: Duration = Duration::from_millis(300);

#[test]
fn an_address_has_so_many_sessions() {
    for model in Model::PARENTS {
        let config = Config::new();
        let server = Server::start_with(&config, model, &model.limits("10", "2"));
        let mut first = server.connect();
        first.hello();
        let mut second = server.connect();
        second.hello();
        let mut third = server.connect();
        third.expect("451");
        third.closed();
        let mut neighbour = server.connect_from(Ipv4Addr::new(127, 0, 0, 2));
        neighbour.hello();
        neighbour.quit();

        first.quit();
        let served = || {
            let mut client = server.connect();
            (client.reply().code == "220").then_some(client)
        };
        let fourth = poll(TIMEOUT, served).unwrap_or_else(|| panic!("{model} does not forget"));
        fourth.quit();
        second.quit();
        server.stop().unwrap();
    }
}

/// The plugin karma allows a stranger one.
#[test]
fn a_history_says_how_many_sessions_an_address_has() {
    for model in Model::PARENTS {
        for (reject, code) in [("naughty", "451"), ("0", "220")] {
            let plugins = format!("karma reject {reject}\nrcpt_ok\nqueue/discard");
            let config = Config::new().set("plugins", &plugins);
            let config = config.set("store", "lmdb {work}/store 16M");
            let server = Server::start_with(&config, model, &model.limits("10", "3"));
            let mut first = server.connect();
            first.hello();
            server.connect().expect(code);
            first.quit();
            server.stop().unwrap();
        }
    }
}

/// Even if its process is not done yet.
#[test]
fn who_has_left_does_not_count() {
    if !deb::need("perl") {
        return;
    }
    let slow = "sub hook_post_connection { select undef, undef, undef, 0.5; DECLINED }\n";
    for model in Model::PARENTS {
        let config = perl_host::config("slow\nrcpt_ok\nqueue/discard", &[("slow", slow)]);
        let server = Server::start_with(&config, model, &model.limits("10", "1"));
        for _ in 0..5 {
            let mut client = server.connect();
            client.hello();
            client.quit();
        }
        // Nor who says nothing at the end.
        let mut client = server.connect();
        client.hello();
        client.say("MAIL");
        client.expect("501");
        drop(client);
        let serves = || server.connect().reply().code == "220";
        assert!(poll(TIMEOUT, || serves().then_some(())).is_some());
        server.stop().unwrap();
    }
}

#[test]
fn a_client_waits_for_a_free_slot() {
    for model in Model::PARENTS {
        let config = Config::new();
        let server = Server::start_with(&config, model, &model.limits("2", "100"));
        let mut first = server.connect();
        first.hello();
        let mut second = server.connect();
        second.hello();
        let mut third = server.connect();
        let mut fourth = server.connect();
        server.log().wait_for(FULL);
        assert!(!third.has_input(SILENCE), "{model} serves three");
        assert!(!fourth.has_input(SILENCE), "{model} serves three");

        first.quit();
        third.hello();
        second.quit();
        fourth.hello();
        third.quit();
        fourth.quit();
        let log = server.log().text();
        assert_eq!(log.matches(FULL).count(), 1, "{model}:\n{log}");
        server.stop().unwrap();
    }
}

/// What the parent says when every slot is taken.
const FULL: &str = "slots are busy";
