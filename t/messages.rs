//! Messages as octets: what comes out of the queue is what went in, and what cannot be taken leaves
//! nothing behind.

use std::io::Write;
use std::net::Shutdown;

use crate::harness::{Client, Config, Model, Server, TIMEOUT, poll};

/// A message with every octet, long lines, dots and no regularity; CRLF line ends.
pub(crate) fn message(octets: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u32
    };
    let mut message = format!("Subject: octets {seed}\r\nX-Fold: a\r\n\t b\r\n\r\n").into_bytes();
    while message.len() < octets {
        let length = match next() % 10 {
            0 => 0,
            1 => 3000,
            _ => next() as usize % 200,
        };
        for _ in 0..length {
            message.push(match next() as u8 {
                b'\r' | b'\n' => b'.',
                octet => octet,
            });
        }
        message.extend_from_slice(b"\r\n");
    }
    message
}

/// As a client sends it: dots doubled, the end added.
pub(crate) fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = vec![];
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// As it lies in the Maildir, after the lines that we add in front: LF line ends.
pub(crate) fn stored(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    for (at, octet) in message.iter().enumerate() {
        if *octet != b'\r' || message.get(at + 1) != Some(&b'\n') {
            out.push(*octet);
        }
    }
    out
}

fn begin(server: &Server<'_>) -> Client {
    let mut client = server.connect();
    client.hello();
    client.envelope();
    client
}

#[test]
fn every_octet_arrives_through_memory_and_through_the_spool() {
    for model in Model::ALL {
        let config = Config::new().set("databytes", "0").set("size_threshold", "100000");
        let server = Server::start(&config, model);
        for (number, octets) in [100, 99_000, 101_000, 3_000_000].into_iter().enumerate() {
            let message = message(octets, number as u64);
            let mut client = begin(&server);
            client.send_raw(&stuffed(&message));
            client.expect("250");
            client.quit();
            let mails = config.take_mails();
            assert_eq!(mails.len(), 1, "{model} {octets}");
            assert!(mails[0].ends_with(&stored(&message)), "{model} {octets}: it was changed");
            let added = mails[0].len() - stored(&message).len();
            let added = String::from_utf8_lossy(&mails[0][..added]).into_owned();
            assert_eq!(added.matches("\nReceived: ").count(), 1, "{added}");
        }
        server.stop().unwrap();
    }
}

#[test]
fn the_pieces_in_which_it_comes_make_no_difference() {
    let config = Config::new().set("size_threshold", "10");
    let server = Server::start(&config, Model::Prefork);
    let message = b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\n\r\n";
    let wire = stuffed(message);
    for cut in 1..wire.len() {
        let mut client = begin(&server);
        client.send_raw(&wire[..cut]);
        client.has_input(std::time::Duration::from_millis(1));
        client.send_raw(&wire[cut..]);
        client.expect("250");
        client.quit();
        let mails = config.take_mails();
        assert!(mails.len() == 1 && mails[0].ends_with(&stored(message)), "{cut}: {mails:?}");
    }
    server.stop().unwrap();
}

/// Messages whose header section is odd, and what comes after the fields that we add.
const ODD: [(&[u8], &[u8]); 14] = [
    (
        b"From joe@x.test Sat Nov 28 10:00:00 2026\r\nSubject: x\r\n\r\ntext\r\n",
        b"X-Mailbox-Line: From joe@x.test Sat Nov 28 10:00:00 2026\nSubject: x\n\ntext\n",
    ),
    (
        b">From a b\r\n>>from c d\r\nTo: y\r\n\r\ntext\r\n",
        b"X-Mailbox-Line: >From a b\nX-Mailbox-Line: >>from c d\nTo: y\n\ntext\n",
    ),
    (b"From a b\r\n", b"X-Mailbox-Line: From a b\n"),
    (b"From : x\r\nSubject : y\r\n\r\n", b"From : x\nSubject : y\n\n"),
    (b" indented\r\nSubject: x\r\n\r\n", b"\n indented\nSubject: x\n\n"),
    (b"\tindented\r\n", b"\n\tindented\n"),
    (b": foo\r\nSubject: x\r\n\r\n", b": foo\nSubject: x\n\n"),
    (b"one line\r\n", b"one line\n"),
    (b"", b""),
    (b"\r\ntext\r\n", b"\ntext\n"),
    (b"Subject: x\r\n fold\r\n", b"Subject: x\n fold\n"),
    (
        b"Subject: x\r\nno field\r\nX-Spam-Flag: NO\r\n\r\ntext\r\n",
        b"Subject: x\nno field\nX-Spam-Flag: NO\n\ntext\n",
    ),
    (b"Sub\0ject: x\r\n\r\ntext\r\n", b"Sub\0ject: x\n\ntext\n"),
    (b"A: b\r\nFrom a b\r\n\r\n", b"A: b\nFrom a b\n\n"),
];

/// What we add neither ends the header section for those who read the message next, nor is it
/// continued by a line of the text.  Everything else stays.
#[test]
fn odd_header_sections_keep_their_octets_below_ours() {
    let config = Config::new().set("size_threshold", "20");
    let server = Server::start(&config, Model::Prefork);
    for (message, stored) in ODD {
        let shown = message.escape_ascii();
        let chunk = |octets: &[u8], last: &str| {
            [format!("BDAT {}{last}\r\n", octets.len()).as_bytes(), octets].concat()
        };
        let half = message.len() / 2;
        let chunks = [chunk(&message[..half], ""), chunk(&message[half..], " LAST")].concat();
        for (wire, replies) in [(stuffed(message), 1), (chunks, 2)] {
            let mut client = match replies {
                1 => begin(&server),
                _ => {
                    let mut client = server.connect();
                    client.hello();
                    client.ask("MAIL FROM:<a@example.net>", "250");
                    client.ask("RCPT TO:<b@example.com>", "250");
                    client
                }
            };
            client.send_raw(&wire);
            (0..replies).for_each(|_| drop(client.expect("250")));
            client.quit();
            let mails = config.take_mails();
            assert!(mails[0].ends_with(stored), "{shown}: {}", mails[0].escape_ascii());
            let ours = &mails[0][..mails[0].len() - stored.len()];
            let ours = String::from_utf8_lossy(ours).into_owned();
            let last = ours.lines().rfind(|line| !line.starts_with([' ', '\t'])).unwrap();
            assert!(last.starts_with("Received: ") && !ours.contains("\n\n"), "{shown}: {ours}");
        }
    }
    server.stop().unwrap();
}

/// There is a limit for header sections, not for messages that have next to none.
#[test]
fn a_large_message_without_an_empty_line_is_taken() {
    let config = Config::new().set("databytes", "0");
    let server = Server::start(&config, Model::Prefork);
    let text = b"text and no field\r\n".repeat(110_000);
    for start in [&b""[..], b"Subject: x\r\n"] {
        let message = [start, &text].concat();
        let mut client = begin(&server);
        client.send_raw(&stuffed(&message));
        client.expect("250");
        client.quit();
        let mails = config.take_mails();
        assert!(mails[0].ends_with(&stored(&message)));
    }
    let mut client = begin(&server);
    client.send_raw(&stuffed(&b"X-Field: value\r\n".repeat(110_000)));
    client.expect("552");
    client.quit();
    server.stop().unwrap();
}

/// A connection that dies in DATA, in any model, in memory or in the spool.
#[test]
fn a_client_that_dies_in_data_leaves_nothing_behind() {
    for model in Model::ALL {
        let config = Config::new().set("databytes", "0").set("size_threshold", "1000");
        let server = Server::start(&config, model);
        for octets in [500, 500_000] {
            let mut client = begin(&server);
            let wire = stuffed(&message(octets, 7));
            client.send_raw(&wire[..wire.len() - 3]);
            drop(client);
        }
        let mut client = begin(&server);
        client.send_raw(b"Subject: after\r\n\r\n.\r\n");
        client.expect("250");
        client.quit();
        assert_eq!(config.mails().len(), 1, "{model}");
        server.stop().unwrap();
    }
}

/// Bare line ends, by policy: one message in, one message out, or a refusal.
#[test]
fn bare_line_ends_never_make_two_messages_of_one() {
    let odd: [&[u8]; 8] = [
        b"a\n.\r\nMAIL FROM:<evil@x.test>\r\n",
        b"a\r\n.\rMAIL FROM:<evil@x.test>\r\n",
        b"a\r.\r\nMAIL FROM:<evil@x.test>\r\n",
        b"a\r\n.\0\r\nMAIL FROM:<evil@x.test>\r\n",
        b"a\r.\rMAIL FROM:<evil@x.test>\r\n",
        b"a\r\r\n.x\r\nMAIL FROM:<evil@x.test>\r\n",
        b"a\n\r\n.x\r\nMAIL FROM:<evil@x.test>\r\n",
        b"a\r\n\n.x\r\nMAIL FROM:<evil@x.test>\r\n",
    ];
    for (policy, code) in [("reject", "550"), ("normalize", "250"), ("accept", "250")] {
        let config = Config::new().set("bare_newline", policy);
        let server = Server::start(&config, Model::Prefork);
        for odd in odd {
            let has_bare = odd != b"a\r\n.\0\r\nMAIL FROM:<evil@x.test>\r\n";
            let mut client = begin(&server);
            let mut wire = b"Subject: odd\r\n\r\n".to_vec();
            wire.extend_from_slice(odd);
            wire.extend_from_slice(b"\r\n.\r\nNOOP\r\n");
            client.send_raw(&wire);
            let shown = String::from_utf8_lossy(odd).into_owned();
            let reply = client.reply();
            assert_eq!(reply.code, if has_bare { code } else { "250" }, "{policy} {shown:?}");
            assert!(client.expect("250").lines[0].ends_with("OK"), "{policy} {shown:?}");
            client.quit();
            let count = usize::from(reply.code == "250");
            let mails = config.take_mails();
            assert_eq!(mails.len(), count, "{policy} {shown:?}");
            if count == 1 {
                let text = String::from_utf8_lossy(&mails[0]).into_owned();
                assert!(text.contains("MAIL FROM:<evil@x.test>"), "{policy}: {text}");
            }
        }
        server.stop().unwrap();
    }
}

/// A line with nothing but a dot that ends in a bare LF: the client, or somebody behind it, takes
/// it for the end.
#[test]
fn a_dot_before_a_bare_lf_ends_the_session() {
    for model in Model::ALL {
        let config = Config::new();
        let server = Server::start(&config, model);
        for odd in [&b"a\r\n.\nMAIL FROM:<x@y.test>\r\n"[..], b"Subject: all LF\n\na\n.\n"] {
            let mut client = begin(&server);
            client.send_raw(odd);
            client.expect("421");
            client.closed();
        }
        assert!(config.mails().is_empty());
        server.stop().unwrap();
    }
}

#[test]
fn silence_is_answered_with_421() {
    for model in Model::ALL {
        let config = Config::new().set("timeoutsmtpd", "4").set("timeout", "4");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        assert_eq!(client.expect("421").lines, ["421 4.4.2 Connection Timed Out"]);
        client.closed();
        let mut client = begin(&server);
        client.send_raw(b"Subject: half");
        client.expect("421");
        client.closed();
        assert!(config.mails().is_empty());
        server.stop().unwrap();
    }
}

#[test]
fn limits_are_kept() {
    let config = Config::new().set("databytes", "5000").set("max_recipients", "100");
    let config = config.set("max_line_length", "2000");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net> SIZE=5001", "552");
    client.ask("MAIL FROM:<a@example.net> SIZE=x", "501");
    client.ask("MAIL FROM:<a@example.net> BODY=BINARYMIME", "501");
    client.ask("MAIL FROM:<a@example.net> SIZE=5000 BODY=8BITMIME", "250");
    for number in 0..100 {
        client.ask(&format!("RCPT TO:<u{number}@example.com>"), "250");
    }
    let reply = client.ask("RCPT TO:<one-too-many@example.com>", "452");
    assert_eq!(reply.lines, ["452 4.5.3 Too many recipients"]);
    client.ask("DATA", "354");
    let mut long = vec![b'x'; 2001];
    long.extend_from_slice(b"\r\n.\r\n");
    client.send_raw(&long);
    client.expect("552");
    client.ask(&format!("NOOP {}", "x".repeat(600)), "500");
    client.ask(&format!("MAIL FROM:<{}@example.net>", "y".repeat(3000)), "501");
    client.ask("NOOP \x07bell", "501");
    client.ask("RSET", "250");
    client.quit();
    assert!(config.mails().is_empty());
    server.stop().unwrap();
}

/// The log cannot be forged or made to steer a terminal.
#[test]
fn what_clients_say_is_harmless_in_the_log() {
    let config = Config::new();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.say("HELO FOO\x1b[2J\x07 injected\rline");
    client.reply();
    client.quit();
    server.log().wait_for("disconnect from");
    let log = server.log().text();
    assert!(log.contains("FOO\\x1b[2J\\x07 injected\\rline"), "{log}");
    assert!(!log.contains('\x1b') && !log.contains('\r'), "{log:?}");
    server.stop().unwrap();
}

/// A configuration file that changes is seen without a restart, by workers that have read it.
#[test]
fn configuration_is_seen_when_it_changes() {
    for model in Model::ALL {
        let config = Config::new();
        let server = Server::start(&config, model);
        let code = || {
            let mut client = server.connect();
            client.hello();
            client.ask("MAIL FROM:<a@example.net>", "250");
            client.say("RCPT TO:<b@new.test>");
            let code = client.reply().code;
            client.quit();
            code
        };
        assert_eq!(code(), "550", "{model}");
        config.write("rcpthosts", "new.test");
        assert!(poll(TIMEOUT, || (code() == "250").then_some(())).is_some(), "{model}");
        server.stop().unwrap();
    }
}

/// A client that closes only its sending half still gets its answers.
#[test]
fn a_half_closed_connection_is_answered() {
    let config = Config::new();
    let server = Server::start(&config, Model::Prefork);
    let stream = std::net::TcpStream::connect(server.addresses(1)[0]).unwrap();
    (&stream).write_all(b"EHLO x\r\nQUIT\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut client = Client::new(stream, server.log());
    client.expect("220");
    client.expect("250");
    client.expect("221");
    client.closed();
    server.stop().unwrap();
}
