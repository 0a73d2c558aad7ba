mod failing;
mod peer;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::thread;

use self::peer::{EVERYTHING, Peer, answer, proceed, read_packet};
use super::arguments::endpoint;
use super::*;
use crate::hook::{Call, Code, Hook};
use crate::testing::Trial;

fn trial(args: &str) -> Trial {
    let files = [("me", "mx.test"), ("size_threshold", "2000")];
    let mut trial =
        Trial::new(&format!("milter test unix:{{dir}}/m {args}\nqueue/discard"), &files);
    trial.session.connection.remote_port = 7;
    trial
}

fn hello(trial: &mut Trial) -> Verdict {
    let verdict = trial.plain(Hook::Connect);
    if verdict.code() != Code::Declined {
        return verdict;
    }
    let verdict = trial.call(Hook::Helo, &Call::Host("client.test"));
    trial.session.connection.hello = Some(crate::state::Hello::Helo);
    trial.session.connection.hello_host = "client.test".into();
    verdict
}

/// A session up to the message; the verdict about that.
fn deliver(trial: &mut Trial) -> Verdict {
    for verdict in [hello(trial), trial.mail("<a@example.net>"), trial.rcpt("<b@example.com>")] {
        assert_eq!(verdict, DECLINED);
    }
    message(trial)
}

fn message(trial: &mut Trial) -> Verdict {
    assert_eq!(trial.plain(Hook::Data), DECLINED);
    trial.message("Subject:  x\n y\nX-A: 1\nx-a: 2\n\ntext\n");
    trial.session.transaction.header.add_trace("from us");
    trial.plain(Hook::DataPost)
}

fn leave(trial: &mut Trial) {
    trial.session.reset_transaction();
    trial.plain(Hook::PostConnection);
}

fn header(trial: &Trial) -> String {
    String::from_utf8(trial.session.transaction.header.to_bytes()).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_session_is_told_as_it_goes() {
    let mut trial = trial("protocol 4");
    let peer = Peer { asks: [4, 0x3f, 0], script: proceed, most: 1 }.start(&trial);
    assert_eq!(deliver(&mut trial), DECLINED);
    trial.session.reset_transaction();
    trial.mail("<>");
    leave(&mut trial);
    let version = env!("CARGO_PKG_VERSION");
    let want = [
        "O",
        &format!(
            "DCj|mx.test|{{daemon_name}}|mx.test|{{daemon_addr}}|192.0.2.25|v|qpsmtpd {version}|_|unknown \
             [192.0.2.1]|{{client_addr}}|192.0.2.1|{{client_name}}|unknown|{{client_port}}|7|{{client_ptr}}|unknown|"
        ),
        "Cunknown|4|\u{7}192.0.2.1|",
        "DH",
        "Hclient.test|",
        "DMi|trial.1|{mail_addr}|a@example.net|{mail_host}|example.net|{mail_mailer}|smtp|",
        "M<a@example.net>|",
        "DRi|trial.1|{rcpt_addr}|b@example.com|{rcpt_host}|example.com|{rcpt_mailer}|smtp|",
        "R<b@example.com>|",
        "DTi|trial.1|",
        "T",
        "LSubject| x\n y|",
        "LX-A|1|",
        "Lx-a|2|",
        "DNi|trial.1|",
        "N",
        "Btext\r\n",
        "DEi|trial.1|",
        "E",
        "DMi|trial.1|{mail_addr}||{mail_mailer}|smtp|",
        "M<>|",
        "A",
        "Q",
    ];
    assert_eq!(peer.join().unwrap(), [want]);
}

#[test]
fn everything_is_changed_in_its_place() {
    fn script(letter: u8, _: &[u8]) -> Option<Vec<u8>> {
        if letter != b'E' {
            return proceed(letter, b"");
        }
        let changes: [(u8, &[u8]); 15] = [
            (b'h', b"X-End\0 last\0"),
            (b'i', b"\0\0\0\0X-Top\0 first\0"),
            (b'i', b"\0\0\0\x03X-Second\0 2\0"),
            (b'i', b"\0\0\0\x63X-Far\0 far\n\tfold\0"),
            (b'm', b"\0\0\0\x02X-A\0changed\0"),
            (b'm', b"\0\0\0\x01X-A\0\0"),
            (b'm', b"\0\0\0\x09X-B\0 new\0"),
            (b'm', b"\0\0\0\x01Received\0\0"),
            (b'p', b""),
            (b'+', b"c@example.com\0"),
            (b'-', b"<b@EXAMPLE.com>\0"),
            (b'e', b"<new@example.net>\0RET=HDRS\0"),
            (b'b', b"one\ntwo\r"),
            (b'b', b"\nthree\r\n"),
            (b'q', b"smells\0"),
        ];
        let all = changes.iter().flat_map(|(letter, data)| answer(*letter, data));
        Some(all.chain(answer(b'c', b"")).collect())
    }
    let mut trial = trial("");
    let asks = [6, 0x1ff, 0x10_0000];
    let peer = Peer { asks, script, most: 1 }.start(&trial);
    assert_eq!(deliver(&mut trial), DECLINED, "{}", trial.log());
    let want = "X-Quarantine: milter: smells\nX-Top: first\nReceived: from us\nSubject:  x\n y\nX-Second: 2\nX-A:changed\nX-End: last\n\
                X-Far: far\n\tfold\nX-B: new\n";
    assert_eq!(header(&trial), want);
    let transaction = &trial.session.transaction;
    assert_eq!(transaction.sender().unwrap().address(), "new@example.net");
    assert_eq!(transaction.recipients()[0].address(), "c@example.com");
    assert_eq!(transaction.recipients().len(), 1);
    let mut text = vec![];
    transaction.body.copy_from(transaction.body.start(), &mut text).unwrap();
    assert_eq!(text, b"\r\none\r\ntwo\r\nthree\r\n");
    leave(&mut trial);
    drop(trial);
    let told = peer.join().unwrap();
    assert!(told[0].contains(&"LSubject|  x\n y|".into()), "{told:?}");
}

#[test]
fn what_a_filter_decides_is_decided() {
    type Row = (u8, &'static [u8], Code, &'static str);
    const ROWS: [Row; 5] = [
        (b'r', b"", Code::Deny, "Command rejected (#5.7.1)"),
        (b't', b"", Code::DenySoft, "Service unavailable - try again later (#4.7.1)"),
        (b'4', b"", Code::DenySoftDisconnect, "Server closing connection (#4.7.0)"),
        (b'y', b"554 5.6.0 odd\0", Code::Deny, "odd (#5.6.0)"),
        (b'y', b"451-4.2.0 a\r\n451 4.2.0 b\0", Code::DenySoft, "a\nb (#4.2.0)"),
    ];
    for place in *b"CHMRTLNBE" {
        for row in ROWS {
            let mut trial = trial("");
            let listener = UnixListener::bind(trial.dir().join("m")).unwrap();
            let peer = thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let mut is_over = false;
                while let Some(packet) = read_packet(&mut stream) {
                    let reply = match packet[0] {
                        b'O' => answer(b'O', &EVERYTHING.map(u32::to_be_bytes).concat()),
                        b'K' | b'Q' => break,
                        b'D' => continue,
                        // A recipient that is refused is not the end of the message.
                        b'A' if place == b'R' => continue,
                        letter => {
                            assert!(!is_over, "{letter} after the verdict");
                            is_over = letter == place;
                            if is_over { answer(row.0, row.1) } else { answer(b'c', b"") }
                        }
                    };
                    stream.write_all(&reply).unwrap();
                }
            });
            let verdict = 'found: {
                for run in [
                    hello,
                    |t: &mut Trial| t.mail("<a@b>"),
                    |t: &mut Trial| t.rcpt("<b@b>"),
                    message,
                ] {
                    if place == b'T' && !trial.session.transaction.recipients().is_empty() {
                        break 'found trial.plain(Hook::Data);
                    }
                    let verdict = run(&mut trial);
                    if verdict != DECLINED {
                        break 'found verdict;
                    }
                }
                panic!("{place} {row:?}: nothing was decided");
            };
            assert_eq!((verdict.code(), verdict.text()), (row.2, row.3), "{place} {row:?}");
            leave(&mut trial);
            peer.join().unwrap();
        }
    }
}

/// After ACCEPT and DISCARD the filter hears nothing more of the message.
#[test]
fn who_has_accepted_or_discarded_is_not_asked_again() {
    for (letter, verdict) in [(b'a', DECLINED), (b'd', DONE)] {
        for place in *b"MRTLNBE" {
            let mut trial = trial("");
            let listener = UnixListener::bind(trial.dir().join("m")).unwrap();
            let peer = thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let (mut is_over, mut told) = (false, String::new());
                while let Some(packet) = read_packet(&mut stream) {
                    if packet[0] == b'Q' {
                        break;
                    }
                    if matches!(packet[0], b'D' | b'A') {
                        continue;
                    }
                    told.push(char::from(packet[0]));
                    assert!(!is_over, "{told}");
                    is_over = packet[0] == place;
                    let reply = match packet[0] {
                        b'O' => answer(b'O', &EVERYTHING.map(u32::to_be_bytes).concat()),
                        _ if is_over => answer(letter, b""),
                        _ => answer(b'c', b""),
                    };
                    stream.write_all(&reply).unwrap();
                }
            });
            assert_eq!(deliver(&mut trial), verdict, "{place}");
            let said = trial.session.responses().to_vec();
            assert_eq!(
                said,
                if letter == b'd' { vec![(250, "Queued! ".to_owned())] } else { vec![] }
            );
            leave(&mut trial);
            drop(trial);
            peer.join().unwrap();
        }
    }
}

#[test]
fn large_texts_go_and_come_in_pieces() {
    fn script(letter: u8, _: &[u8]) -> Option<Vec<u8>> {
        match letter {
            b'E' => {
                let pieces = (0..10).flat_map(|_| answer(b'b', &[b'x'; 65_535]));
                Some(pieces.chain(answer(b'c', b"")).collect())
            }
            b'B' => None,
            _ => proceed(letter, b""),
        }
    }
    let mut trial = trial("");
    let peer = Peer { asks: [6, 0x1ff, 0x8_0000], script, most: 1 }.start(&trial);
    for verdict in [hello(&mut trial), trial.mail("<a@example.net>"), trial.rcpt("<b@example.com>")]
    {
        assert_eq!(verdict, DECLINED);
    }
    let text = "0123456789abcdef".repeat(3 * 65_535 / 18);
    trial.message(&format!("Subject: x\n\n{text}\n"));
    assert_eq!(trial.plain(Hook::DataPost), DECLINED, "{}", trial.log());
    let body = &trial.session.transaction.body;
    assert_eq!(body.len() - body.start(), 2 + 10 * 65_535 + 2);
    assert!(body.in_memory().is_none());
    leave(&mut trial);
    drop(trial);
    let told = peer.join().unwrap().concat();
    let pieces: Vec<_> = told.iter().filter(|packet| packet.starts_with('B')).collect();
    let rest = text.len() + 2 - 2 * 65_535;
    assert_eq!(pieces, ["B65535 octets", "B65535 octets", &format!("B{rest} octets")]);
}

/// The line stands behind the plugins that decided.
#[test]
fn what_a_filter_has_not_heard_it_hears_at_data() {
    let mut trial = trial("");
    let peer = Peer { asks: EVERYTHING, script: proceed, most: 1 }.start(&trial);
    assert_eq!(hello(&mut trial), DECLINED);
    let address = crate::mail::Address::new("a", "example.net");
    trial.session.transaction.set_sender(address.clone());
    trial.session.transaction.add_recipient(address);
    assert_eq!(message(&mut trial), DECLINED);
    leave(&mut trial);
    drop(trial);
    let told = peer.join().unwrap().concat();
    let letters: String = told.iter().filter(|p| !p.starts_with('D')).map(|p| &p[..1]).collect();
    assert_eq!(letters, "OCHMRTLLLNBEQ");
}

#[test]
fn refusals_can_be_tolerated_or_put_off() {
    fn script(letter: u8, data: &[u8]) -> Option<Vec<u8>> {
        if letter == b'M' { Some(answer(b'r', b"")) } else { proceed(letter, data) }
    }
    for (args, naughty) in [("reject 0", false), ("reject naughty", true)] {
        let mut trial = trial(args);
        let peer = Peer { asks: EVERYTHING, script, most: 1 }.start(&trial);
        assert_eq!(deliver(&mut trial), DECLINED);
        assert_eq!(trial.session.connection.notes.is_true(crate::hook::NAUGHTY), naughty);
        leave(&mut trial);
        drop(trial);
        assert!(!peer.join().unwrap().concat().iter().any(|packet| packet.starts_with('R')));
    }
}

#[test]
fn addresses_of_all_kinds_are_read() {
    for (word, want) in [
        ("inet:localhost:8891", "localhost:8891"),
        ("inet:8891@localhost", "localhost:8891"),
        ("inet6:8891@[::1]", "[::1]:8891"),
        ("inet:8891@::1", "[::1]:8891"),
        ("bmcluster:5513", "bmcluster:5513"),
        ("5513", "127.0.0.1:5513"),
        ("inet:5513", "127.0.0.1:5513"),
        ("unix:/run/m", "/run/m"),
        ("local:/run/m", "/run/m"),
        ("/run/m", "/run/m"),
    ] {
        assert_eq!(endpoint(word).unwrap().to_string(), want, "{word}");
    }
    for (line, why) in [
        ("", "argument missing: a name for the filter"),
        ("x", "argument missing: where the filter listens"),
        ("x unix:m", "not a path that begins with /: 'm'"),
        ("x host", "no port in 'host'"),
        ("x 0", "not a port: '0'"),
        ("x inet:x@host", "not a port: 'x'"),
        ("x 1 2", "unexpected argument '2'"),
        ("x 1 protocol 5", "argument protocol has the value '5' (expected: 2, 3, 4, 6)"),
        ("x 1 command_timeout 0", "argument command_timeout has the value '0' (expected: a number"),
        ("x 1 macro x", "argument macro has the value 'x' (expected: not NAME=VALUE"),
    ] {
        let error = arguments::read(&Args::new(line.split_whitespace())).err().unwrap().to_string();
        assert!(error.starts_with(why), "{line}: {error}");
    }
}
