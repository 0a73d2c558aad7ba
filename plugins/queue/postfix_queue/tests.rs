use super::*;
use crate::hook::Hook;
use crate::testing::Trial;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread::{JoinHandle, spawn};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::mail::Address;
use crate::state::Params;

const MESSAGE: &str = "Subject: hi\nMessage-Id: <1@a.test>\n\nline\n.\n\nend\n";
const OLD: &str = "queue_id|123ABC||";
/// Since Postfix 3.6.
const NEW: &str = "protocol|cleanup_protocol|queue_id|123ABC||";
const DONE: &str = "status|0|reason|||";

/// What a cleanup was sent: its flags, and the records.
type Sent = (String, Vec<(char, Vec<u8>)>);

/// A list of attributes in which | stands for NUL.
fn list(text: &str) -> Vec<u8> {
    text.replace('|', "\0").into_bytes()
}

/// Plays cleanup for one message: says `first`, reads a message, says `last`.
fn play(stream: impl Read + Write, first: &str, last: &str) -> Sent {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(&list(first)).unwrap();
    let mut word = || {
        let mut word = vec![];
        stream.read_until(0, &mut word).unwrap();
        word.pop();
        String::from_utf8(word).unwrap()
    };
    assert_eq!(word(), "flags");
    let flags = word();
    assert_eq!(word(), "");
    let mut records = vec![];
    while records.last().is_none_or(|(kind, _)| *kind != 'E') {
        let mut octet = || {
            let mut octet = [0];
            stream.read_exact(&mut octet).unwrap();
            octet[0]
        };
        let kind = octet();
        let (mut length, mut shift) = (0, 0);
        loop {
            let digit = octet();
            length |= usize::from(digit & 0x7f) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let mut content = vec![0; length];
        stream.read_exact(&mut content).unwrap();
        records.push((kind.into(), content));
    }
    stream.get_mut().write_all(&list(last)).unwrap();
    (flags, records)
}

/// A cleanup for one message, at `socket` in the trial's folder.
fn cleanup(trial: &Trial, first: &'static str, last: &'static str) -> JoinHandle<Sent> {
    let listener = UnixListener::bind(trial.dir().join("socket")).unwrap();
    spawn(move || play(listener.accept().unwrap().0, first, last))
}

/// A transaction for a cleanup at `socket`.
fn trial(args: &str) -> Trial {
    let line = format!("queue/postfix-queue {{dir}}/socket {args}");
    let mut trial = Trial::new(&line, &[]);
    trial.mail("<a@example.net>");
    trial.rcpt("<b@example.com>");
    trial.rcpt("<\"c d\"@example.com>");
    trial.message(MESSAGE);
    trial
}

fn answer(trial: &mut Trial) -> (Code, String) {
    let verdict = trial.plain(Hook::Queue);
    assert!(!verdict.is_failure(), "{}", trial.log());
    (verdict.code(), verdict.text().to_owned())
}

fn queued() -> (Code, String) {
    (Code::Ok, "Queued! <1@a.test> (Queue-Id: 123ABC)".to_owned())
}

#[test]
fn cleanup_gets_the_envelope_and_the_lines() {
    for greeting in [OLD, NEW] {
        let mut trial = trial("");
        let cleanup = cleanup(&trial, greeting, DONE);
        assert_eq!(answer(&mut trial), queued());
        let (flags, mut records) = cleanup.join().unwrap();
        assert_eq!(flags, "0");
        let (kind, time) = records.remove(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let time: u64 = String::from_utf8(time).unwrap().parse().unwrap();
        assert!(kind == 'T' && (now - 600..=now).contains(&time));
        let want = [
            ('S', "a@example.net"),
            ('R', "b@example.com"),
            ('R', "c d@example.com"),
            ('M', ""),
            ('N', "Subject: hi"),
            ('N', "Message-Id: <1@a.test>"),
            ('N', ""),
            ('N', "line"),
            ('N', "."),
            ('N', ""),
            ('N', "end"),
            ('X', ""),
            ('E', ""),
        ];
        let want: Vec<_> = want.map(|(kind, text)| (kind, text.as_bytes().to_vec())).into();
        assert_eq!(records, want);
    }
}

#[test]
fn messages_in_quarantine_are_put_on_hold() {
    for (args, flags) in [("", 4), ("FLAG_FILTER FLAG_HOLD", 6), ("FLAG_MAP_OK", 36)] {
        let mut trial = trial(args);
        trial.session.quarantine("looks odd");
        let cleanup = cleanup(&trial, NEW, DONE);
        assert_eq!(answer(&mut trial), queued());
        let (found, records) = cleanup.join().unwrap();
        assert_eq!(found, flags.to_string());
        assert_eq!(trial.session.transaction.notes.get(FLAGS), Some(flags));
        assert!(records.contains(&('N', b"X-Quarantine: : looks odd".to_vec())));
    }
}

#[test]
fn flags_are_words_that_add_up() {
    for (args, flags) in [
        ("FLAG_NONE", 0),
        ("FLAG_FILTER FLAG_HOLD", 6),
        ("FLAG_MASK_EXTERNAL", 0b111_0010),
        ("FLAG_MAP_OK FLAG_MASK_INTERNAL timeout 60", 32),
        ("FLAG_MASK_EXTRA FLAG_FILTER_ALL FLAG_BOUNCE", 0b100_1111),
        ("FLAG_AUTOUTF8 flag_hold FLAG_WAVE", 512),
    ] {
        let mut trial = trial(args);
        let cleanup = cleanup(&trial, NEW, DONE);
        assert_eq!(answer(&mut trial), queued());
        assert_eq!(cleanup.join().unwrap().0, flags.to_string(), "{args}");
        assert_eq!(trial.session.transaction.notes.get(FLAGS), Some(flags));
        let is_told = trial.log().contains("Ignoring unknown cleanup flag FLAG_WAVE");
        assert_eq!(is_told, args.contains("WAVE"));
    }
}

#[test]
fn statuses_are_for_good_or_for_now() {
    for (status, code, text) in [
        ("status|64||", Code::Deny, "no recipients specified (#5.1.0)"),
        ("status|16|reason|||", Code::Deny, "too many hops (#5.4.0)"),
        ("status|4||", Code::Deny, "message file too big (#5.3.4)"),
        ("reason||status|8||", Code::Deny, "message content rejected (#5.7.1)"),
        ("status|512||", Code::Deny, "service denied (#5.7.1)"),
        ("status|256||", Code::DenySoft, "service unavailable (#4.7.1)"),
        ("status|128||", Code::DenySoft, "queue file write error (#4.3.0)"),
        ("status|2||", Code::DenySoft, "queue file write error (#4.3.0)"),
        ("status|1||", Code::DenySoft, "internal protocol error (#4.3.0)"),
        ("status|6||", Code::DenySoft, "queue file write error (#4.3.0)"),
        ("status|8|reason|5.7.9 no thanks||", Code::Deny, "no thanks (#5.7.9)"),
        ("status|8|reason|no thanks||", Code::Deny, "no thanks"),
        ("status|8|reason|550 5.7.9 no||", Code::Deny, "no (#5.7.9)"),
        ("status|256|reason|4.7.9 later||", Code::DenySoft, "later (#4.7.9)"),
        ("status|32|reason|odd||", Code::Declined, "Unable to queue message (32, odd)"),
    ] {
        let mut trial = trial("");
        let cleanup = cleanup(&trial, NEW, status);
        assert_eq!(answer(&mut trial), (code, text.to_owned()));
        cleanup.join().unwrap();
        assert!(trial.log().contains("123ABC: status "), "{}", trial.log());
    }
}

#[test]
fn the_first_place_that_works_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let list = format!("{{dir}}/none\nnonsense\n{{dir}}/other\n127.0.0.1:{port}\n{{dir}}/x\n");
    let line = "queue/postfix-queue {dir}/socket";
    let mut trial = Trial::new(line, &[("cleanup_sockets", &list)]);
    trial.mail("<>");
    trial.rcpt("<b@example.com>");
    trial.message(MESSAGE);
    let other = UnixListener::bind(trial.dir().join("other")).unwrap();
    let other = spawn(move || other.accept().unwrap().0.write_all(b"220 mx.test\r\n\0\0"));
    let cleanup = spawn(move || play(listener.accept().unwrap().0, NEW, DONE));
    assert_eq!(answer(&mut trial), queued());
    other.join().unwrap().unwrap();
    assert_eq!(cleanup.join().unwrap().1[1], ('S', vec![]));
    let log = trial.log();
    for endpoint in ["/none", "nonsense", "/other"] {
        assert!(log.contains(&format!("{endpoint}\": ")), "{log}");
    }
    assert!(!log.contains("/x\": ") && !log.contains("/socket\": "), "{log}");
    let tried = trial.session.transaction.notes.get(SOCKETS).unwrap();
    assert!(tried.len() == 5 && tried[1] == "nonsense");
}

#[test]
fn nobody_there_is_for_the_next_plugin() {
    let mut trial = trial("");
    assert_eq!(trial.plain(Hook::Queue), DECLINED);
    assert!(trial.log().contains("Unable to open any cleanup sockets!"), "{}", trial.log());
}

#[test]
fn the_environment_comes_first_and_the_argument_last() {
    let mut trial = Trial::new("", &[("cleanup_sockets", "/list\n")]);
    assert_eq!(endpoints(Some("/env"), &mut trial.session, "/arg"), ["/env"]);
    assert_eq!(endpoints(None, &mut trial.session, "/arg"), ["/list"]);
    let mut trial = Trial::new("", &[]);
    assert_eq!(endpoints(None, &mut trial.session, "/arg"), ["/arg"]);
}

#[test]
fn what_may_have_been_queued_is_a_failure() {
    for last in ["", "status|0", "reason|||", "status|good||"] {
        let mut trial = trial("");
        let cleanup = cleanup(&trial, NEW, last);
        assert!(trial.plain(Hook::Queue).is_failure(), "{last:?}");
        cleanup.join().unwrap();
    }
}

#[test]
fn silence_is_not_waited_for_longer_than_the_handler_may_take() {
    let mut trial = trial("timeout 1");
    let listener = UnixListener::bind(trial.dir().join("socket")).unwrap();
    assert_eq!(trial.plain(Hook::Queue), DECLINED);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&list(NEW)).unwrap_err();
    let silent = spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(&list(NEW)).unwrap();
        let mut sent = vec![];
        stream.read_to_end(&mut sent).unwrap();
        sent
    });
    assert!(trial.plain(Hook::Queue).is_failure());
    assert!(silent.join().unwrap().ends_with(b"X\0E\0"));
}

#[test]
fn cleanup_is_told_of_notifications() {
    let mut trial = trial("");
    trial.session.transaction.mail_params = Params::from_words(["ENVID=7"]);
    let (b, c) = ("<b@example.com>".parse().unwrap(), Address::new("x", "example.com"));
    trial.session.transaction.replace_recipient(&b, &[]);
    trial.session.transaction.accept_recipient(b, Params::from_words(["NOTIFY=NEVER"]));
    trial.session.transaction.add_recipient(c);
    let cleanup = cleanup(&trial, NEW, DONE);
    assert_eq!(answer(&mut trial), queued());
    let (_, records) = cleanup.join().unwrap();
    let text =
        |(kind, content): &(char, Vec<u8>)| format!("{kind} {}", String::from_utf8_lossy(content));
    let found: Vec<_> = records.iter().skip(1).take_while(|r| r.0 != 'M').map(text).collect();
    let want = [
        "A envelope_id=7",
        "S a@example.net",
        "R c d@example.com",
        "A notify_flags=1",
        "R b@example.com",
        "R x@example.com",
    ];
    assert_eq!(found, want);
}
