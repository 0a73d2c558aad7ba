//! Clients that put what they should not into commands, AUTH, and the names of others.

use base64::prelude::{BASE64_STANDARD, Engine};
use qpsmtpd::testing::Trial;

use super::*;
use crate::harness::{Config, Model, Server, TIMEOUT, poll};
use crate::smuggling::{answers, codes};

const PLUGINS: &str =
    "rcpt_ok\nauth/auth_flat_file\nhelo policy lenient\nqueue/maildir {dir}/Maildir";

const FILES: &[(&str, &str)] = &[
    ("junk_commands", "0"),
    ("me", "mx.test"),
    ("rcpthosts", "x.test"),
    ("flat_auth_pw", "me@x.test:secret"),
    ("xclient_from", "192.0.2.1"),
];

/// All control characters but LF, which ends a command.
fn controls() -> Vec<String> {
    let ascii = (0..32u8).chain([127]).filter(|octet| *octet != b'\n' && *octet != b'\t');
    let others = 0x80..=0x9fu32;
    let chars = ascii.map(char::from).chain(others.filter_map(char::from_u32));
    chars.map(|c| format!("a{c}b")).collect()
}

/// The codes of the answers to a line after EHLO; log and replies are looked at.
fn said(trial: &Trial, line: &[u8]) -> String {
    let wire = [b"EHLO client.test\r\n", line, b"\r\nQUIT\r\n"].concat();
    let (client, server) = crate::smuggling::packet_socket();
    nix::unistd::write(&client, &wire).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    trial.serve(server);
    let answers = crate::smuggling::everything(client);
    check_replies(&answers);
    check_log(&trial.take_log());
    codes(&answers)
}

#[test]
fn control_characters_are_in_no_command() {
    let trial = Trial::new(PLUGINS, FILES);
    for text in controls() {
        for command in [
            "HELO {}",
            "EHLO {}",
            "MAIL FROM:<{}@x.test>",
            "MAIL FROM:<\"{}\"@x.test>",
            "MAIL FROM:<\"\\{}\"@x.test>",
            "MAIL FROM:<a@{}.test>",
            "MAIL FROM:<a@x.test> X={}",
            "MAIL FROM:<a@x.test> {}=X",
            "RCPT TO:<{}@x.test>",
            "VRFY {}",
            "NOOP {}",
            "HELP {}",
            "QUIT {}",
            "RSET {}",
            "DATA {}",
            "STARTTLS {}",
            "AUTH {}",
            "AUTH PLAIN {}",
            "XCLIENT HELO={}",
        ] {
            let line = command.replace("{}", &text);
            assert_eq!(said(&trial, line.as_bytes()), "220 250 501 221", "{line:?}");
        }
        // What is no command is not looked at any further.
        assert_eq!(said(&trial, text.as_bytes()), "220 250 500 221", "{text:?}");
        // Nobody can tell what follows.
        assert_eq!(said(&trial, format!("BDAT {text}").as_bytes()), "220 250 501", "{text:?}");
    }
}

#[test]
fn octets_that_are_no_text_are_harmless() {
    let trial = Trial::new(PLUGINS, FILES);
    for octet in 0x80..=0xffu8 {
        for (start, end, code) in [
            ("HELO a", "b", "250"),
            ("MAIL FROM:<a", "@x.test>", "501"),
            ("MAIL FROM:<a@", ".test>", "501"),
            ("NOOP ", "", "250"),
            ("VRFY ", "", "501"),
            ("XCLIENT HELO=", "", "501"),
            ("AUTH PLAIN ", "", "501"),
            ("FOO", "", "500"),
        ] {
            let line = [start.as_bytes(), &[octet], end.as_bytes()].concat();
            let want = format!("220 250 {code} 221");
            assert_eq!(said(&trial, &line), want, "{}", line.escape_ascii());
        }
    }
}

#[test]
fn user_names_have_no_control_characters() {
    let trial = Trial::new(PLUGINS, FILES);
    let encoded = |text: String| BASE64_STANDARD.encode(text);
    for text in controls().into_iter().chain(["a\nb".into(), "a\tb".into()]) {
        // A NUL ends the name in PLAIN.
        if !text.contains('\0') {
            let both = encoded(format!("\0{text}\0secret"));
            assert_eq!(said(&trial, format!("AUTH PLAIN {both}").as_bytes()), "220 250 535 221");
            let other = encoded(format!("other\0{text}\0secret"));
            assert_eq!(said(&trial, format!("AUTH PLAIN {other}").as_bytes()), "220 250 535 221");
        }
        let name = encoded(text.clone());
        let login = format!("AUTH LOGIN {name}\r\n{}", encoded("secret".into()));
        assert_eq!(said(&trial, login.as_bytes()), "220 250 334 535 221", "{text:?}");
        let digest = encoded(format!("{text} 0123456789abcdef0123456789abcdef"));
        let cram = format!("AUTH CRAM-MD5\r\n{digest}");
        assert_eq!(said(&trial, cram.as_bytes()), "220 250 334 535 221", "{text:?}");
        let scram = encoded(format!("n,,n={text},r=nonce"));
        let line = format!("AUTH SCRAM-SHA-256 {scram}");
        assert_eq!(said(&trial, line.as_bytes()), "220 250 501 221", "{text:?}");
    }
}

#[test]
fn names_of_others_have_no_control_characters() {
    let trial = Trial::new(PLUGINS, FILES);
    for octet in (0..32u8).chain([127]) {
        for name in ["NAME", "HELO", "LOGIN", "ADDR", "PORT", "PROTO", "DESTADDR", "DESTPORT"] {
            let line = format!("XCLIENT {name}=1+{octet:02X}2");
            assert_eq!(said(&trial, line.as_bytes()), "220 250 501 221", "{line}");
        }
    }
    let trial = Trial::new("rcpt_ok", &[("proxy_from", "192.0.2.1"), ("me", "mx.test")]);
    for text in controls() {
        for line in [
            format!("PROXY TCP4 192.0.2.7{text} 192.0.2.25 1 2\r\n"),
            format!("PROXY TCP4 192.0.2.7 192.0.2.25 1{text} 2\r\n"),
            format!("PROXY UNKNOWN {text}\r\n"),
        ] {
            assert_eq!(answers(&trial, [line.as_bytes()].into_iter()), "", "{line:?}");
        }
    }
}

/// A name outside ASCII makes no field of ours something that only SMTPUTF8 may bring.
#[test]
fn fields_are_in_ascii_whatever_the_client_is_called() {
    let trial = Trial::new(PLUGINS, FILES);
    let envelope = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n";
    let message = "DATA\r\nSubject: x\r\n\r\ntext\r\n.";
    for name in ["m\u{fc}.test", "a\u{202e}b", "\u{1f4a3}"] {
        let wire = format!("HELO {name}\r\n{envelope}{message}");
        assert_eq!(said(&trial, wire.as_bytes()), "220 250 250 250 250 354 250 221");
        let folder = std::fs::read_dir(trial.dir().join("Maildir/new")).unwrap();
        for file in folder.map(|file| file.unwrap().path()) {
            let mail = std::fs::read(&file).unwrap();
            assert!(mail.is_ascii(), "{}", mail.escape_ascii());
            std::fs::remove_file(file).unwrap();
        }
    }
}

/// The log of a daemon, in each form, and the titles of its processes.
#[test]
fn what_clients_say_is_harmless_in_logs_and_titles() {
    let logging = "logging/warn LOGDEBUG\n\
        logging/file:1 loglevel LOGDEBUG {work}/spool/text\n\
        logging/file:2 loglevel LOGDEBUG format json {work}/spool/json";
    let config = Config::new().set("junk_commands", "0").set("logging", logging);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    let lines = controls().into_iter().chain(["\u{2028}forged".into(), "\u{202e}x".into()]);
    for text in lines {
        client.send_raw(format!("{text} {text}\r\nHELO {text}\r\n").as_bytes());
        client.expect("500");
        client.reply();
        for process in config.processes() {
            let title = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            assert!(title.iter().all(|octet| matches!(octet, 0 | b' '..=b'~')), "{title:?}");
        }
    }
    client.quit();
    server.log().wait_for("disconnect from");
    check_log(&server.log().text());
    // Standard error has a line before the files have it.
    for file in ["spool/text", "spool/json"] {
        let is_whole = || {
            let text = std::fs::read_to_string(config.path(file)).unwrap();
            let (_, last) = text.rsplit_once("disconnect from")?;
            last.ends_with('\n').then_some(())
        };
        poll(TIMEOUT, is_whole).expect("the file has the end of the session");
    }
    let text = std::fs::read_to_string(config.path("spool/text")).unwrap();
    check_log(&text);
    let json = std::fs::read_to_string(config.path("spool/json")).unwrap();
    check_log(&json);
    assert!(json.lines().count() > 60);
    for line in json.lines() {
        let record = serde_json::from_str::<serde_json::Value>(line);
        assert!(line.starts_with("{\"time\":") && record.is_ok(), "{line}");
    }
    for file in ["spool/text", "spool/json"] {
        std::fs::remove_file(config.path(file)).unwrap();
    }
    server.stop().unwrap();
}

/// What an ident server says of its client is a word of the client's own in Received.
#[test]
fn an_ident_server_cannot_name_another_address() {
    let config = Config::new()
        .env("TCPREMOTEINFO", "x@trusted (HELO good.example) (192.0.2.200)")
        .set("plugins", "rcpt_ok\nqueue/maildir {work}/Maildir");
    let server = Server::start(&config, Model::Inetd);
    let mut client = server.connect();
    let name = "x?trusted??HELO?good.example???192.0.2.200?@localhost";
    let reply = client.hello();
    assert_eq!(reply.lines[0], format!("250-mail.test Hi {name} [127.0.0.1]"));
    client.envelope();
    client.ask("Subject: x\r\n\r\n.", "250");
    client.quit();
    let mail = String::from_utf8(config.mails().remove(0)).unwrap();
    let received = format!("Received: from {name} (HELO client.test) (127.0.0.1)\n");
    assert!(mail.contains(&received), "{mail}");
    server.stop().unwrap();
}
