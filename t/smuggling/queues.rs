//! What queue plugins hand on is what was accepted, octet by octet but for its line ends: CRLF for
//! those that speak SMTP, LF for programs of this machine.  The message has everything in it that
//! somebody may take for a line's end or the message's.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread::{JoinHandle, spawn};

use qpsmtpd::hook::{Code, Hook};

use super::matrix::neighbourhoods;
use super::octets::after_data;
use super::*;
use crate::chunks::cuts::{START, all, wanted};
use crate::harness::Config;
use crate::messages::stored;

/// Every dot with its neighbourhood in one message, in a long one, and messages that end oddly.
fn messages() -> Vec<Vec<u8>> {
    let mut dots = START.to_vec();
    for dot in neighbourhoods() {
        dots.extend_from_slice(&[b"x", &dot[..]].concat());
    }
    // Buffers have their borders everywhere in it.
    let long = [START, &dots[START.len()..].repeat(150)].concat();
    let ends = (0..=3).flat_map(|length| all(b"\r\n.", length));
    let ends = ends.map(|end| [START, b"x\r\n", &end].concat());
    [vec![], dots, long].into_iter().chain(ends).collect()
}

/// The message as those get it who want CRLF, and nothing else, at the ends of lines.
fn normal(message: &[u8]) -> Vec<u8> {
    let queued = wanted("normalize", message).expect("it takes everything");
    queued[b"Received: here\r\n".len()..].to_vec()
}

/// What this plugin answers to a message that was accepted as it is.
fn queue(trial: &mut Trial, message: &[u8]) {
    trial.mail("<a@example.net>");
    let body = &mut trial.session.transaction.body;
    body.clear();
    for piece in message.chunks(4093) {
        body.write(piece).unwrap();
    }
    body.finish().unwrap();
    let verdict = trial.plain(Hook::Queue);
    assert_eq!(verdict.code(), Code::Ok, "{verdict:?}\n{}", trial.log());
}

/// Loads the plugin, with messages in memory and in the spool.
fn trials(plugin: &str) -> Vec<Trial> {
    let trial = |threshold| {
        let mut trial = Trial::new(plugin, &[("size_threshold", threshold)]);
        trial.rcpt("<b@example.com>");
        trial
    };
    ["0", "100000000"].map(trial).into()
}

fn same(found: &[u8], want: &[u8]) {
    let at = found.iter().zip(want).position(|(one, other)| one != other);
    let at = at.unwrap_or(found.len().min(want.len()));
    let shown = |text: &[u8]| {
        text[at.saturating_sub(20).min(text.len())..(at + 60).min(text.len())]
            .escape_ascii()
            .to_string()
    };
    assert!(found == want, "from octet {at} on: {}, not {}", shown(found), shown(want));
}

/// Answers `count` clients in SMTP or LMTP; what each of them sent after DATA, up to the first end
/// of a message.  What follows that has to be QUIT.
fn smtp_server(count: usize) -> (u16, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || (0..count).map(|_| receive(listener.accept().unwrap().0)).collect();
    (port, spawn(serve))
}

fn receive(stream: TcpStream) -> Vec<u8> {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let say = |text: &str| (&stream).write_all(text.as_bytes()).unwrap();
    let mut line = move |until: &[u8]| {
        let mut text = vec![];
        while input.read_until(b'\n', &mut text).unwrap() > 0 && !text.ends_with(until) {}
        text
    };
    say("220 there\r\n");
    loop {
        let command = line(b"\n");
        match &command[..4] {
            b"DATA" => break,
            _ => say("250 yes\r\n"),
        }
    }
    say("354 go\r\n");
    let mut message = b"\r\n".to_vec();
    while !message.ends_with(b"\r\n.\r\n") {
        message.extend_from_slice(&line(b"\n"));
    }
    say("250 taken\r\n");
    assert_eq!(line(b"\n").escape_ascii().to_string(), "QUIT\\r\\n");
    say("221 bye\r\n");
    message.split_off(2)
}

#[test]
fn servers_that_speak_smtp_or_lmtp_get_one_message() {
    for plugin in ["queue/smtp-forward 127.0.0.1 {port}", "queue/lmtp 127.0.0.1:{port}"] {
        let messages = messages();
        let (port, server) = smtp_server(2 * messages.len());
        for mut trial in trials(&plugin.replace("{port}", &port.to_string())) {
            messages.iter().for_each(|message| queue(&mut trial, message));
        }
        let received = server.join().unwrap();
        for (message, received) in messages.iter().cycle().zip(received) {
            same(&received, &after_data(&normal(message)));
        }
    }
}

#[test]
fn servers_that_speak_qmqp_get_one_message() {
    let messages = messages();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = 2 * messages.len();
    let server = spawn(move || {
        let receive = |mut stream: TcpStream| {
            let mut length = vec![];
            while !length.ends_with(b":") {
                let mut octet = [0];
                stream.read_exact(&mut octet).unwrap();
                length.push(octet[0]);
            }
            let length: usize =
                str::from_utf8(&length[..length.len() - 1]).unwrap().parse().unwrap();
            let mut package = vec![0; length + 1];
            stream.read_exact(&mut package).unwrap();
            stream.write_all(b"6:Ktaken,").unwrap();
            let mut rest = vec![];
            stream.read_to_end(&mut rest).unwrap();
            assert!(rest.is_empty(), "{}", rest.escape_ascii());
            package
        };
        (0..count).map(|_| receive(listener.accept().unwrap().0)).collect::<Vec<_>>()
    });
    for mut trial in trials(&format!("queue/qmqp-forward 127.0.0.1 {port}")) {
        messages.iter().for_each(|message| queue(&mut trial, message));
    }
    for (message, received) in messages.iter().cycle().zip(server.join().unwrap()) {
        let message = stored(&normal(message));
        let start = format!("{}:", message.len());
        let end = b",13:a@example.net,13:b@example.com,,";
        same(&received, &[start.as_bytes(), &message, end].concat());
    }
}

#[test]
fn qmail_queue_reads_what_was_accepted() {
    let config = Config::new();
    let keep = config
        .program("qmail-queue", "#!/bin/sh\ncd ${0%/*} && cat >message && cat <&1 >envelope\n");
    for mut trial in trials(&format!("queue/qmail-queue {}", keep.display())) {
        for message in messages() {
            queue(&mut trial, &message);
            same(&fs::read(config.path("message")).unwrap(), &stored(&message));
            let envelope = b"Fa@example.net\0Tb@example.com\0\0";
            same(&fs::read(config.path("envelope")).unwrap(), envelope);
        }
    }
}

#[test]
fn exim_reads_one_message() {
    let config = Config::new();
    let keep = config.program("rsmtp", "#!/bin/sh\ncat >${0%/*}/batch\n");
    for mut trial in trials(&format!("queue/exim-bsmtp exim_path {}", keep.display())) {
        for message in messages() {
            queue(&mut trial, &message);
            let batch = fs::read(config.path("batch")).unwrap();
            let envelope = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
            let hello = batch.iter().position(|octet| *octet == b'\n').unwrap() + 1;
            assert!(batch.starts_with(b"HELO "));
            let want = [envelope, &after_data(&normal(&message))[..], b"QUIT\r\n"].concat();
            same(&batch[hello..], &want);
        }
    }
}

#[test]
fn a_maildir_has_what_was_accepted() {
    let config = Config::new();
    for mut trial in trials(&format!("queue/maildir {}", config.path("Maildir").display())) {
        for message in messages() {
            queue(&mut trial, &message);
            let mails = config.take_mails();
            let [mail] = &mails[..] else { panic!("{} messages", mails.len()) };
            let added = b"Return-Path: <a@example.net>\nDelivered-To: b@example.com\n";
            same(mail, &[added, &stored(&message)[..]].concat());
        }
    }
}

/// What cleanup makes of the records of a message: its lines, each with an LF.
fn cleanup(mut stream: impl Read + Write) -> Vec<u8> {
    stream.write_all(b"queue_id\x00123ABC\x00\x00").unwrap();
    let mut octets = BufReader::new(&mut stream).bytes().map(|octet| octet.unwrap());
    let mut word = || octets.by_ref().take_while(|octet| *octet != 0).collect::<Vec<_>>();
    assert_eq!([word(), word(), word()], [&b"flags"[..], b"0", b""]);
    let (mut kinds, mut message) = (vec![], vec![]);
    while kinds.last() != Some(&b'E') {
        kinds.push(octets.next().unwrap());
        let (mut length, mut shift) = (0, 0);
        loop {
            let digit = octets.next().unwrap();
            length |= usize::from(digit & 0x7f) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let content: Vec<u8> = octets.by_ref().take(length).collect();
        assert_eq!(content.len(), length);
        match kinds.last() {
            Some(b'N') => message.extend_from_slice(&[&content[..], b"\n"].concat()),
            Some(b'L') => message.extend_from_slice(&content),
            _ => assert!(!content.contains(&b'\n')),
        }
        assert!(!content.contains(&b'\n'));
    }
    kinds.retain(|kind| !b"NL".contains(kind));
    assert_eq!(String::from_utf8(kinds).unwrap(), "TSRMXE");
    drop(octets);
    stream.write_all(b"status\x000\x00reason\x00\x00\x00").unwrap();
    message
}

#[test]
fn postfix_reads_one_message() {
    let config = Config::new();
    let messages = messages();
    let listener = UnixListener::bind(config.path("cleanup")).unwrap();
    let count = 2 * messages.len();
    let server = spawn(move || {
        (0..count).map(|_| cleanup(listener.accept().unwrap().0)).collect::<Vec<_>>()
    });
    for mut trial in trials(&format!("queue/postfix-queue {}", config.path("cleanup").display())) {
        messages.iter().for_each(|message| queue(&mut trial, message));
    }
    for (message, received) in messages.iter().cycle().zip(server.join().unwrap()) {
        let mut want = stored(message);
        if !want.is_empty() && !want.ends_with(b"\n") {
            want.push(b'\n');
        }
        same(&received, &want);
    }
}
