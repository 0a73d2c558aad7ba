//! Every row of the table of waits: a client that trickles in that state has an end, and one that
//! was asked to leave leaves.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use qpsmtpd::smtp::waits::{State, WAITS};

use crate::harness::client::connect_from;
use crate::harness::{Client, Config, Model, Server};
use crate::tls;

/// Where the clients that dawdle come from.
const SLOW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// How often they say something.
const PAUSE: Duration = Duration::from_millis(20);

/// A daemon in which clients can get into `state`.
fn config(state: State) -> Config {
    let queue = "rcpt_ok\nqueue/maildir {work}/Maildir";
    let config = match state {
        State::Handshake => tls::config(),
        State::Greeting => Config::new().set("plugins", &format!("earlytalker wait 2\n{queue}")),
        State::Auth => {
            let config = Config::new().set("flat_auth_pw", "me:secret");
            config.set("plugins", &format!("auth/auth_flat_file\n{queue}"))
        }
        State::Proxy => Config::new().set("proxy_from", &SLOW.to_string()),
        _ => Config::new(),
    };
    config.set("junk_commands", "0")
}

/// Brings a client into `state`; what it says again and again in it.
fn enter(client: &mut Client, state: State) -> &'static [u8] {
    if !matches!(state, State::Proxy | State::Greeting) {
        client.hello();
    }
    if matches!(state, State::Transaction | State::Data | State::Bdat) {
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<postmaster@example.com>", "250");
    }
    match state {
        State::Proxy => client.send_raw(b"PROXY UNKNOWN "),
        State::Handshake => {
            client.ask("STARTTLS", "220");
            client.send_raw(b"\x16\x03\x01\x3f\xff");
        }
        State::Auth => drop(client.ask("AUTH LOGIN", "334")),
        State::Data => drop(client.ask("DATA", "354")),
        State::Bdat => client.send_raw(b"BDAT 100000\r\n"),
        State::Refused => client.send_raw(b"BDAT 100000000\r\n"),
        State::Command | State::Greeting | State::Reply => {}
        State::Transaction => return b"NOOP\r\n",
    }
    match state {
        State::Greeting => b"",
        State::Reply => b"HELP\r\nHELP\r\nHELP\r\nHELP\r\nHELP\r\nHELP\r\nHELP\r\nHELP\r\n",
        _ => b"x",
    }
}

/// Says something now and then until the server hangs up; the last reply's code.
fn dawdle(client: &mut Client, what: &[u8]) -> String {
    let mut last = String::new();
    for _ in 0..2000 {
        client.send_raw(what);
        while client.has_input(PAUSE) {
            match client.try_reply().unwrap() {
                Some(reply) => last = reply.code,
                None => return last,
            }
        }
    }
    panic!("{}", client.story("the server never has enough"));
}

/// Asks for replies and takes none until the server hangs up.
fn take_nothing(mut stream: TcpStream, what: &[u8]) {
    stream.set_write_timeout(Some(PAUSE)).unwrap();
    loop {
        match stream.write(what) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

/// Gets into `state` and stays until it is sent away; the last reply's code, where one is to be.
fn stay(stream: TcpStream, server: &Server<'_>, state: State) -> Option<String> {
    let mut client = Client::new(stream.try_clone().unwrap(), server.log());
    let what = enter(&mut client, state);
    if state == State::Reply {
        take_nothing(stream, what);
        return None;
    }
    let last = dawdle(&mut client, what);
    // In the middle of TLS, and before SMTP, there is nobody to talk to.
    (!matches!(state, State::Handshake | State::Proxy)).then_some(last)
}

fn connect(server: &Server<'_>) -> TcpStream {
    connect_from(SLOW, server.addresses(1)[0])
}

fn every_state(run: impl Fn(State) + Sync) {
    thread::scope(|scope| {
        for row in &WAITS {
            let run = &run;
            thread::Builder::new()
                .name(row.name.into())
                .spawn_scoped(scope, move || run(row.state))
                .unwrap();
        }
    });
}

#[test]
fn in_every_state_a_client_that_trickles_has_an_end() {
    every_state(|state| {
        let config = config(state).set("timeout", "1").set("timeout_first_recipient", "2");
        let config = config.set("proxy_timeout", "1");
        let server = Server::start(&config, Model::Prefork);
        if state == State::Greeting {
            let mut client = server.connect_from(SLOW);
            client.expect("220");
            drop(client);
        } else if let Some(last) = stay(connect(&server), &server, state) {
            assert_eq!(last, "421", "{state:?}");
        }
        server.stop().unwrap();
    });
}

#[test]
fn in_every_state_a_client_that_was_asked_to_leave_leaves() {
    every_state(|state| {
        let config = config(state).set("timeout", "1000").set("timeout_overload", "1");
        let config = config.set("timeout_first_recipient", "1000").set("proxy_timeout", "1000");
        for model in Model::PARENTS {
            let server = Server::start_with(&config, model, &model.limits("1", "100"));
            // It comes first, and then nobody else can.
            let stream = connect(&server);
            thread::scope(|scope| {
                let slow = scope.spawn(|| stay(stream, &server, state));
                let mut other = server.connect();
                other.hello();
                other.quit();
                if let Some(last) = slow.join().unwrap() {
                    assert_eq!(last, "421", "{state:?} {model}");
                }
            });
            server.stop().unwrap();
        }
    });
}

/// A message that comes at a decent rate is left to arrive, whoever waits.
#[test]
fn a_message_that_gets_on_arrives() {
    for model in Model::PARENTS {
        let config = Config::new().set("timeout_overload", "3").set("databytes", "0");
        let server = Server::start_with(&config, model, &model.limits("1", "100"));
        let mut first = server.connect_from(SLOW);
        first.hello();
        first.envelope();
        first.send_raw(b"Subject: long\r\n\r\n");
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut other = server.connect();
                other.hello();
                other.quit();
            });
            // Until it is asked, and for longer after that than it would be waited for.
            let mut rest = 100;
            while rest > 0 {
                first.send_raw(&b"a line of text\r\n".repeat(1000));
                thread::sleep(PAUSE * 2);
                if server.log().text().contains("is asked to leave") {
                    rest -= 1;
                }
            }
            first.send_raw(b".\r\n");
            first.expect("250");
            drop(first);
        });
        assert_eq!(config.mails().len(), 1, "{model}");
        server.stop().unwrap();
    }
}
