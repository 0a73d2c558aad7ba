//! Queue plugins that hand messages to other servers: real ones where Debian has them.

// Postfix's smtp-sink, and qpsmtpd itself.
mod smtp;

// queue/smtp-forward by domain.
mod by_domain;

// Dovecot.
mod lmtp;

// mailfront under tcpserver.
mod qmqp;

// Whether they know a recipient.
mod recipients;

// TLS and AUTH on the way there.
pub(crate) mod tls;
pub(crate) use tls::make_certificate;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use crate::harness::client::Reply;
use crate::harness::{Client, Config, Log, Model, Process, Server, TIMEOUT, poll};

/// How much memory a worker may have needed at most, in KiB, after a message of [`LARGE`] octets.
const MEMORY: u64 = 32 * 1024;

/// The size of a large message, in octets.
const LARGE: usize = 50_000_000;

/// Starts a server, and waits until it listens on `port`.
pub(crate) fn start(command: Command, port: u16) -> Process {
    let log = Log::default();
    let mut process = Process::spawn(command, &log);
    let listens = || {
        assert!(process.ended().is_none(), "the server has ended:\n{}", log.tail());
        TcpStream::connect(("127.0.0.1", port)).ok()
    };
    assert!(poll(TIMEOUT, listens).is_some(), "nobody listens:\n{}", log.tail());
    process
}

/// A configuration that hands messages on with `plugin`.
fn forwarding(plugin: &str) -> Config {
    let config = Config::new().set("databytes", "0");
    set_plugin(&config, plugin);
    config
}

fn set_plugin(config: &Config, plugin: &str) {
    config.write("plugins", &format!("rcpt_ok\n{plugin}"));
}

/// Sends a message to these users of example.com in a session of its own; the last reply.
fn send(server: &Server, users: &[&str], message: &str) -> Reply {
    let mut client = server.connect();
    client.hello();
    let reply = send_in(&mut client, users, message.as_bytes());
    client.quit();
    reply
}

/// The same in a session that is open.
fn send_in(client: &mut Client, users: &[&str], message: &[u8]) -> Reply {
    client.ask("MAIL FROM:<a@example.net>", "250");
    for user in users {
        client.ask(&format!("RCPT TO:<{user}@example.com>"), "250");
    }
    client.ask("DATA", "354");
    client.send_raw(message);
    client.send_raw(b".\r\n");
    client.reply()
}

/// A message of 50 MB, and the parts that it is made of: its beginning, and the end of each line.
fn large_message() -> Vec<u8> {
    let line = b"All work and no play makes Jack a dull boy.  ...  All work and no play.\r\n";
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    while message.len() < LARGE {
        message.extend_from_slice(line);
    }
    message
}

/// A large message in constant memory: sends it, and looks at what the worker needed.
fn sends_a_large_message(plugin: &str) -> (Reply, Vec<u8>) {
    let config = forwarding(plugin);
    let mut server = Server::start(&config, Model::Prefork);
    let message = large_message();
    let mut client = server.connect();
    client.hello();
    let reply = send_in(&mut client, &["b"], &message);
    let most =
        server.parent().children().into_iter().map(|pid| high_water_mark(pid.as_raw())).max();
    assert!(most.is_some_and(|most| (1..=MEMORY).contains(&most)), "{most:?} KiB");
    client.quit();
    server.stop().unwrap();
    (reply, message)
}

/// The most memory that a process had so far, in KiB; see proc_pid_status(5).
fn high_water_mark(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Answers one client, after it has sent `end`, with `answer`.  Returns the port.
fn answering(end: &'static [u8], answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut octet = [0];
        let mut heard = vec![];
        while !heard.ends_with(end) && matches!(stream.read(&mut octet), Ok(1)) {
            heard.push(octet[0]);
        }
        stream.write_all(answer).ok();
    });
    port
}

#[test]
fn a_back_end_that_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for plugin in [
        format!("queue/smtp-forward 127.0.0.1 {port} timeout 1"),
        format!("queue/lmtp 127.0.0.1:{port} timeout 1"),
        format!("queue/qmqp-forward 127.0.0.1 {port} timeout 1"),
    ] {
        let config = forwarding(&plugin);
        let server = Server::start(&config, Model::Prefork);
        let reply = send(&server, &["b"], "Subject: x\r\n\r\n");
        assert_eq!(reply.code, "451", "{plugin}");
        assert!(reply.lines[0].contains("Unable to queue message"), "{reply:?}");
        server.stop().unwrap();
    }
}
