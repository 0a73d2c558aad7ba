//! queue/smtp-forward to Postfix's smtp-sink, and to qpsmtpd itself.

use std::fs;
use std::process::Command;

use super::{forwarding, send, send_in, sends_a_large_message, set_plugin, start};
use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Process, Server, deb, free_port};

/// Octets that a server might change: dots, blanks at the end, 8-bit ones, a long line, no text in
/// the last line.
const BODY: &str =
    "Subject: hi\r\nX-Long:  a\r\n\tb\r\n\r\n..\r\n...\r\n..dot \t\r\n\u{e4}\u{0}x\r\n\r\n";

/// Starts smtp-sink with `options`; it keeps what it gets in `folder`.
pub(super) fn sink(config: &Config, options: &[&str]) -> (Process, u16) {
    let port = free_port();
    let mut command = config.command(deb::program("smtp-sink").expect("was asked for"));
    command.args(["-h", "sink.test", "-d"]).arg(config.path("Maildir/new/sink."));
    if let Some(user) = unprivileged() {
        command.args(["-u", &user.name]);
    }
    command.args(options).args([&format!("127.0.0.1:{port}"), "10"]);
    (start(command, port), port)
}

/// The one message that smtp-sink got: lines about the envelope, its own Received field, and the
/// message, all with LF.
fn sunk(config: &Config) -> Vec<u8> {
    let mut mails = config.mails();
    assert_eq!(mails.len(), 1);
    let mut mail = mails.remove(0);
    // It writes an empty line after each message.
    assert_eq!(mail.pop(), Some(b'\n'));
    mail
}

#[test]
fn smtp_sink_gets_the_envelope_and_the_message() {
    if !deb::need("postfix") {
        return;
    }
    for (options, arguments, hello) in [
        (&[][..], "", "mail.test"),
        (&["-p"], "", "mail.test"),
        (&["-e"], "", "mail.test"),
        (&[], "xclient", "client.test"),
        (&["-f", "EHLO"], "", "mail.test"),
    ] {
        let keep = Config::new();
        let (_sink, port) = sink(&keep, options);
        let plugin = format!("queue/smtp-forward 127.0.0.1 1 127.0.0.1:{port} {arguments}");
        let config = forwarding(&plugin);
        let server = Server::start(&config, Model::Prefork);
        let reply = send(&server, &["b", "c"], BODY);
        assert_eq!(
            reply.lines,
            ["250 2.0.0 queued as Ok"],
            "{options:?}:\n{}",
            server.log().text()
        );
        let mail = String::from_utf8(sunk(&keep)).unwrap();
        let (envelope, message) = mail.split_once(" by mail.test").expect(&mail);
        for line in [
            format!("X-Helo-Args: {hello}\n"),
            "X-Rcpt-Args: <b@example.com>\nX-Rcpt-Args: <c@example.com>\n".into(),
            "X-Mail-Args: <a@example.net>\n".into(),
        ] {
            assert!(envelope.contains(&line), "{line}{mail}");
        }
        let unstuffed = BODY.replace("\r\n", "\n").replace("\n..", "\n.");
        assert_eq!(message.split_once('\n').unwrap().1, unstuffed);
        server.stop().unwrap();
    }
}

/// What the client hears when smtp-sink refuses a command: with 5xx, with 4xx, without a word.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("CONNECT", "451", "451", "451"),
    ("EHLO,HELO", "451", "451", "451"),
    ("MAIL", "554", "454", "451"),
    ("RCPT", "554", "454", "451"),
    ("DATA", "554", "454", "451"),
    (".", "554", "454", "451"),
    ("QUIT", "250", "250", "250"),
];

#[test]
fn refusals_of_smtp_sink_reach_the_client() {
    if !deb::need("postfix") {
        return;
    }
    let config = forwarding("queue/discard");
    let keep = Config::new();
    let server = Server::start(&config, Model::Inetd);
    for (command, hard, soft, drop) in REFUSED {
        for (option, code) in [("-f", *hard), ("-r", *soft), ("-q", *drop), ("-Q", *drop)] {
            let replies = ["-B", "554 5.7.9 never", "-b", "454 4.7.9 not now"];
            let (_sink, port) = sink(&keep, &[&replies[..], &[option, command]].concat());
            set_plugin(&config, &format!("queue/smtp-forward 127.0.0.1 {port}"));
            let reply = send(&server, &["b", "c"], BODY);
            assert_eq!(reply.code, code, "{option} {command}:\n{}", server.log().tail());
            let text = &reply.lines[0];
            let want = match code {
                "554" => "554 5.7.9 never",
                "454" => "454 4.7.9 not now",
                "451" => "451 4.",
                _ => "250 2.0.0 queued as Ok",
            };
            assert!(text.starts_with(want), "{option} {command}: {text}");
        }
    }
    server.stop().unwrap();
}

#[test]
fn two_daemons_in_a_row_keep_every_octet() {
    let back = Config::new().set("databytes", "0");
    let behind = Server::start(&back, Model::Prefork);
    let front = forwarding(&format!("queue/smtp-forward 127.0.0.1 {}", behind.port()));
    let server = Server::start(&front, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    for number in 0..20 {
        let message = format!("Message-Id: <{number}@a.test>\r\n{BODY}");
        let reply = send_in(&mut client, &["b", "c"], message.as_bytes());
        assert_eq!(reply.lines, [format!("250 2.0.0 queued as <{number}@a.test>")]);
        let mails = back.take_mails();
        let [mail] = &mails[..] else { panic!("{} messages", mails.len()) };
        let mail = String::from_utf8(mail.clone()).unwrap();
        assert!(
            mail.contains("Delivered-To: c@example.com\nDelivered-To: b@example.com\n"),
            "{mail}"
        );
        assert_eq!(mail.matches("\nReceived: from ").count(), 2, "{mail}");
        let text = message.replace("\r\n", "\n").replace("\n..", "\n.");
        assert!(mail.ends_with(&text), "{mail}");
    }
    client.quit();
    server.stop().unwrap();

    // The one behind does not know this domain, so it refuses one recipient, then all of them.
    front.write("rcpthosts", "example.com\nunknown.example");
    for (recipients, want) in [
        (&["<b@example.com>", "<c@unknown.example>"][..], "451 4.3.0 Unable to queue message"),
        (&["<b@unknown.example>", "<c@unknown.example>"], "550 5.7.1 Relaying denied"),
    ] {
        let server = Server::start(&front, Model::Prefork);
        let mut client = server.connect();
        client.hello();
        client.ask("MAIL FROM:<a@example.net>", "250");
        for recipient in recipients {
            client.ask(&format!("RCPT TO:{recipient}"), "250");
        }
        client.ask("DATA", "354");
        client.say("Subject: x\r\n\r\n.");
        let reply = client.reply();
        assert!(reply.lines[0].starts_with(want), "{reply:?}");
        client.quit();
        server.stop().unwrap();
    }
    assert!(back.mails().is_empty());
    behind.stop().unwrap();
}

#[test]
fn smtp_source_through_two_daemons() {
    if !deb::need("postfix") {
        return;
    }
    let back = Config::new();
    let behind = Server::start(&back, Model::Prefork);
    let front = forwarding(&format!("queue/smtp-forward 127.0.0.1 {}", behind.port()));
    let server = Server::start(&front, Model::Prefork);
    let mut source = Command::new(deb::program("smtp-source").expect("was asked for"));
    source.args(["-s", "5", "-m", "300", "-l", "5000", "-M", "client.test"]);
    source.args(["-f", "a@example.net", "-t", "b@example.com"]);
    let output = source.arg(format!("127.0.0.1:{}", server.port())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(back.mails().len(), 300);
    server.stop().unwrap();
    behind.stop().unwrap();
}

#[test]
fn a_large_message_needs_no_memory() {
    if !deb::need("postfix") {
        return;
    }
    let keep = Config::new();
    let (_sink, port) = sink(&keep, &[]);
    let plugin = format!("queue/smtp-forward 127.0.0.1 {port}");
    let (reply, message) = sends_a_large_message(&plugin);
    assert_eq!(reply.lines, ["250 2.0.0 queued as Ok"]);
    let text: Vec<u8> = message.into_iter().filter(|octet| *octet != b'\r').collect();
    assert!(sunk(&keep).ends_with(&text));
}

#[test]
fn bare_line_ends_that_were_let_in_do_not_get_out() {
    let back = Config::new();
    let behind = Server::start(&back, Model::Prefork);
    let front = forwarding(&format!("queue/smtp-forward 127.0.0.1 {}", behind.port()))
        .set("bare_newline", "accept");
    let server = Server::start(&front, Model::Prefork);
    let smuggled =
        "Subject: x\r\n\r\none\n.\nMAIL FROM:<x@example.com>\r\n\r.\rtwo\n.\r\nthree\r\n";
    let reply = send(&server, &["b"], smuggled);
    assert_eq!(reply.code, "250", "{reply:?}");
    let mails = back.mails();
    assert_eq!(mails.len(), 1);
    let text = "\n\none\n.\nMAIL FROM:<x@example.com>\n\n.\ntwo\n.\nthree\n";
    let mail = String::from_utf8_lossy(&mails[0]);
    assert!(mail.ends_with(text), "{mail}");
    server.stop().unwrap();
    behind.stop().unwrap();
}

#[test]
fn a_message_goes_to_the_next_plugin_while_nobody_is_there() {
    let config = forwarding(
        "queue/smtp-forward 127.0.0.1 1\nqueue/lmtp {work}/no\nqueue/maildir {work}/Maildir",
    );
    let server = Server::start(&config, Model::Prefork);
    assert_eq!(send(&server, &["b"], BODY).code, "250");
    assert_eq!(fs::read_dir(config.path("Maildir/new")).unwrap().count(), 1);
    server.stop().unwrap();
}

/// The one behind offers DSN with the first plugin and does not with the second.
#[test]
fn what_is_asked_about_notifications_reaches_the_back_end() {
    for (queue, is_told) in [("queue/discard", true), ("queue/maildir {work}/Maildir", false)] {
        let back = forwarding(queue);
        let behind = Server::start(&back, Model::Prefork);
        let front = forwarding(&format!("queue/smtp-forward 127.0.0.1 {} dsn", behind.port()));
        let server = Server::start(&front, Model::Prefork);
        let mut client = server.connect();
        assert!(client.hello().lines.iter().any(|line| &line[4..] == "DSN"));
        client.ask("MAIL FROM:<a@example.net> RET=HDRS ENVID=QQ+2B314159", "250");
        client.ask("RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bx@y.test", "250");
        client.ask("RCPT TO:<c@example.com>", "250");
        client.ask("DATA", "354");
        client.say("Subject: x\r\n\r\n.");
        client.expect("250");
        client.quit();
        let heard = behind.log().text();
        let (mail, rcpt) = match is_told {
            true => {
                (" RET=HDRS ENVID=QQ+2B314159", " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bx@y.test")
            }
            false => ("", ""),
        };
        for line in [
            format!("MAIL FROM:<a@example.net> SIZE={}{mail}\n", size(&heard)),
            format!("RCPT TO:<b@example.com>{rcpt}\n"),
            "RCPT TO:<c@example.com>\n".into(),
        ] {
            assert!(heard.contains(&format!(" dispatching {line}")), "{line}{heard}");
        }
        let left_out = "what the client asks for is not handed on";
        assert_eq!(server.log().text().contains(left_out), !is_told);
        server.stop().unwrap();
        behind.stop().unwrap();
    }
}

/// The size that a server was told of.
fn size(log: &str) -> &str {
    let (_, rest) = log.split_once(" SIZE=").unwrap();
    rest.split_whitespace().next().unwrap()
}
