//! TERM lets sessions finish; HUP serves a new configuration, or keeps the old one.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Config, Model, Server, TIMEOUT, deb, poll};
use crate::perl_host;

/// A message is on its way and another client is idle.
#[test]
fn term_lets_a_message_finish() {
    for model in Model::PARENTS {
        let config = Config::new();
        let mut server = Server::start(&config, model);
        let mut busy = server.connect();
        busy.hello();
        busy.envelope();
        busy.send_raw(b"Subject: hi\r\n\r\nthe first half\r\n");
        let mut idle = server.connect();
        idle.hello();

        server.parent().signal(Signal::SIGTERM);
        idle.expect("421");
        idle.closed();
        busy.send_raw(b"the second half\r\n.\r\n");
        busy.expect("250");
        drop(busy);

        let status = server.parent().wait().unwrap();
        assert_eq!(status.code(), Some(0), "{model}: {status}");
        let mails = config.mails();
        assert_eq!(mails.len(), 1, "{model}");
        assert!(mails[0].ends_with(b"\n\nthe first half\nthe second half\n"), "{model}");
        config.nothing_left().unwrap();
    }
}

/// The message never comes to its end.
#[test]
fn term_waits_no_longer_than_the_time_of_grace() {
    for model in Model::PARENTS {
        let config = Config::new();
        let mut server = Server::start_with(&config, model, &["--grace", "1"]);
        let mut client = server.connect();
        client.hello();
        client.envelope();
        client.send_raw(b"Subject: hi\r\n\r\nthe first half\r\n");
        server.parent().signal(Signal::SIGTERM);
        let status = server.parent().wait().unwrap();
        assert_eq!(status.code(), Some(0), "{model}: {status}");
        client.expect("421");
        client.closed();
        assert!(config.mails().is_empty(), "{model}");
        config.nothing_left().unwrap();
    }
}

/// Without a parent a session ends at once, wherever it is, and says so.
#[test]
fn term_ends_a_session_of_its_own_with_421() {
    let config = Config::new().set("size_threshold", "0");
    let server = Server::start(&config, Model::Inetd);
    std::fs::write(config.path("spool/1:999999999:0"), "somebody was killed").unwrap();
    for stage in 0..3 {
        let mut client = server.connect();
        client.hello();
        if stage > 0 {
            client.envelope();
        }
        if stage > 1 {
            client.send_raw(b"Subject: hi\r\n\r\nthe first half\r\n");
        }
        server.signal_sessions(Signal::SIGTERM);
        client.expect("421");
        client.closed();
        server.log().wait_for("disconnect from 127.0.0.1");
    }
    server.stop().unwrap();
    assert!(config.mails().is_empty());
    config.nothing_left().unwrap();
}

/// More clients come than can be refused in the time.
#[test]
fn term_is_heard_in_a_flood() {
    if !deb::need("perl") {
        return;
    }
    let refuse = "sub hook_pre_connection { select undef, undef, undef, 0.02; DENY }\n";
    for model in Model::PARENTS {
        let config = perl_host::config("refuse\nrcpt_ok\nqueue/discard", &[("refuse", refuse)]);
        let mut server = Server::start(&config, model);
        let address = server.addresses(1)[0];
        let (came, many) = mpsc::channel();
        let flood = thread::spawn(move || {
            let end = Instant::now() + 2 * TIMEOUT;
            for count in 0.. {
                let client = TcpStream::connect_timeout(&address, Duration::from_millis(100));
                let is_over =
                    client.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
                if is_over || Instant::now() > end {
                    return;
                }
                if count == 500 {
                    came.send(()).unwrap();
                }
            }
        });
        many.recv().unwrap();
        server.parent().signal(Signal::SIGTERM);
        let status = server.parent().wait().unwrap();
        assert_eq!(status.code(), Some(0), "{model}: {status}");
        flood.join().unwrap();
    }
}

#[test]
fn hup_with_a_broken_configuration_keeps_the_old_one() {
    for model in Model::PARENTS {
        let config = Config::new();
        let mut server = Server::start(&config, model);
        config.write("plugins", "rcpt_ok\nthere_is_no_such_plugin");
        server.parent().signal(Signal::SIGHUP);
        server.log().wait_for("there_is_no_such_plugin");
        for _ in 0..5 {
            let mut client = server.connect();
            client.hello();
            client.envelope();
            client.ask("Subject: hi\r\n\r\nbody line\r\n.", "250");
            client.quit();
        }
        assert_eq!(config.mails().len(), 5, "{model}");
        assert!(server.parent().ended().is_none(), "{model} has ended");
        server.stop().unwrap();
    }
}

#[test]
fn hup_serves_the_new_configuration() {
    for model in Model::PARENTS {
        let config = Config::new();
        let mut server = Server::start(&config, model);
        let mut before = server.connect();
        before.hello();
        config.write("rcpthosts", "new.example");
        config.write(
            "plugins",
            "count_unrecognized_commands 1\nrcpt_ok\nqueue/maildir {work}/Maildir",
        );
        server.parent().signal(Signal::SIGHUP);

        let accepts = || {
            let mut client = server.connect();
            client.hello();
            client.ask("MAIL FROM:<a@example.net>", "250");
            client.say("RCPT TO:<b@new.example>");
            (client.reply().code == "250").then_some(client)
        };
        poll(TIMEOUT, accepts).unwrap_or_else(|| panic!("{model} does not see the new rcpthosts"));
        for _ in 0..10 {
            let mut client = accepts().expect("once new, always new");
            client.ask("RCPT TO:<b@example.com>", "550");
            client.ask("FOO", "521");
            client.closed();
        }
        // A session that was there before is served to its end.
        before.ask("NOOP", "250");
        before.quit();
        server.stop().unwrap();
    }
}
