//! Ports, IPv6, pid files.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Config, Log, Model, Process, Server, say};

#[test]
fn port_0_is_a_free_port_and_is_told() {
    for model in Model::PARENTS {
        let config = Config::new();
        let server = Server::start_with(&config, model, &model.listen("127.0.0.1:0"));
        let address = server.addresses(1)[0];
        assert!(address.port() != 0 && address.ip().is_loopback(), "{model}: {address}");
        let mut client = server.connect_to(address);
        client.hello();
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn ipv6() {
    if !has_ipv6() {
        return;
    }
    for model in Model::PARENTS {
        let config = Config::new();
        let server = Server::start_with(&config, model, &model.listen("[::1]:0"));
        let address = server.addresses(1)[0];
        assert!(server.log().text().contains(&format!("listening on [::1]:{}", address.port())));
        let mut client = server.connect_to(address);
        let hello = client.hello();
        assert!(hello.lines[0].contains("[::1]"), "{model}: {hello:?}");
        client.quit();
        server.stop().unwrap();
    }
}

/// A client that comes by IPv4 to a socket for both has an IPv4 address.
#[test]
fn dual_stack() {
    if !has_ipv6() {
        return;
    }
    for model in Model::PARENTS {
        let config = Config::new();
        let server = Server::start_with(&config, model, &model.listen("[::]:0"));
        for ip in ["127.0.0.1", "::1"] {
            let address = SocketAddr::new(ip.parse().unwrap(), server.port());
            let mut client = server.connect_to(address);
            let hello = client.hello();
            assert!(hello.lines[0].contains(&format!("[{ip}]")), "{model}: {hello:?}");
            client.quit();
        }
        server.stop().unwrap();
    }
}

#[test]
fn forkserver_has_several_listeners() {
    let config = Config::new();
    let arguments = ["-l", "127.0.0.1:0", "-l", "127.0.0.2:0"];
    let server = Server::start_with(&config, Model::Forkserver, &arguments);
    let addresses = server.addresses(2);
    assert_ne!(addresses[0].ip(), addresses[1].ip());
    for address in addresses {
        let mut client = server.connect_to(address);
        client.hello();
        client.quit();
    }
    server.stop().unwrap();
}

#[test]
fn a_pid_file_is_for_one_parent() {
    for model in Model::PARENTS {
        let config = Config::new();
        let file = config.path("pid");
        let arguments = ["--pid-file", file.to_str().unwrap()];
        let mut server = Server::start_with(&config, model, &arguments);
        let pid = || fs::read_to_string(&file).unwrap().trim().to_string();
        assert_eq!(pid(), server.parent().pid().to_string(), "{model}");

        let log = Log::default();
        let second = Server::command(&config, model, &arguments);
        let status = Process::spawn(second, &log).wait().unwrap();
        assert!(!status.success(), "{model}: a second parent starts:\n{}", log.tail());
        assert!(log.wait_until(|text| text.contains(arguments[1]).then_some(())).is_some());

        assert_eq!(pid(), server.parent().pid().to_string(), "{model}");
        let mut client = server.connect();
        client.hello();
        client.quit();
        server.stop().unwrap();
        assert_eq!(pid(), "", "{model}: the file stays, and names nobody");
    }
}

#[test]
fn a_pid_file_of_a_process_that_is_gone_is_replaced() {
    for model in Model::PARENTS {
        let config = Config::new();
        let file = config.path("pid");
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        fs::write(&file, format!("{}\n", gone.id())).unwrap();
        let arguments = ["--pid-file", file.to_str().unwrap()];
        let mut server = Server::start_with(&config, model, &arguments);
        let pid = fs::read_to_string(&file).unwrap();
        assert_eq!(pid.trim(), server.parent().pid().to_string(), "{model}");
        server.stop().unwrap();
    }
}

/// A worker goes on with its client after the parent's end; it has nothing of the pid file.
#[test]
fn a_pid_file_of_a_parent_that_was_killed_is_free_at_once() {
    for model in Model::PARENTS {
        let config = Config::new();
        let file = config.path("pid");
        let arguments = ["--pid-file", file.to_str().unwrap()];
        let mut server = Server::start_with(&config, model, &arguments);
        let mut client = server.connect();
        client.hello();
        client.envelope();
        server.parent().signal(Signal::SIGKILL);
        server.parent().wait().unwrap();
        let mut next = Server::start_with(&config, model, &arguments);
        let pid = fs::read_to_string(&file).unwrap();
        assert_eq!(pid.trim(), next.parent().pid().to_string(), "{model}");
        client.ask("Subject: hi\r\n\r\nbody\r\n.", "250");
        drop(client);
        next.stop().unwrap();
    }
}

pub(crate) fn has_ipv6() -> bool {
    let has = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        say("skipped: needs IPv6");
    }
    has
}
