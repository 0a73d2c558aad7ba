use std::io::Read;
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use super::*;
use crate::hook::{Code, Hook, KARMA};
use crate::testing::Trial;

/// An answer with this status and system.
fn answer(status: u32, name: &str, flavor: &str, link: &str) -> Vec<u8> {
    let mut octets = vec![];
    for number in [0x5030_4602, status, 1_700_000_000, 1_700_000_100, 3, 1390, 49, 0, 0] {
        octets.extend(u32::to_ne_bytes(number));
    }
    octets.extend(17i16.to_ne_bytes());
    octets.extend([0, 1]);
    for text in [name, flavor, "", "", link, ""] {
        let mut field = text.as_bytes().to_vec();
        field.resize(32, 0);
        octets.extend(field);
    }
    assert_eq!(octets.len(), LENGTH);
    octets
}

/// A socket in the trial's folder that gives this answer, once; what it was asked.
fn p0f(trial: &Trial, answer: Vec<u8>) -> JoinHandle<Vec<u8>> {
    let listener = UnixListener::bind(trial.dir().join("p0f")).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = vec![0; 21];
        stream.read_exact(&mut question).unwrap();
        stream.write_all(&answer).unwrap();
        question
    })
}

fn trial(arguments: &str, blocked: &str) -> Trial {
    let files = [("p0f_blocked_operating_systems", blocked)];
    Trial::new(&format!("ident/p0f {{dir}}/p0f {arguments}"), &files)
}

fn known(arguments: &str, blocked: &str) -> Trial {
    let mut trial = trial(arguments, blocked);
    let p0f = p0f(&trial, answer(0x10, "Windows", "XP", "Ethernet or modem"));
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    p0f.join().unwrap();
    trial
}

#[test]
fn what_p0f_says_is_in_the_note() {
    let mut trial = trial("", "");
    let asked = p0f(&trial, answer(0x10, "FreeBSD", "9.x or newer", "DSL"));
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    let mut question = 0x5030_4601u32.to_ne_bytes().to_vec();
    question.extend([4, 192, 0, 2, 1]);
    question.resize(21, 0);
    assert_eq!(asked.join().unwrap(), question);
    let note = trial.session.connection.notes.get(P0F).unwrap();
    for (name, value) in [
        ("genre", Value::Str("FreeBSD 9.x or newer".into())),
        ("os_name", Value::Str("FreeBSD".into())),
        ("link", Value::Str("DSL".into())),
        ("link_type", Value::Str("DSL".into())),
        ("uptime", Value::Int(1390)),
        ("distance", Value::Int(17)),
        ("first_seen", Value::Int(1_700_000_000)),
        ("os_match_q", Value::Int(1)),
        ("language", Value::Str(String::new())),
    ] {
        assert_eq!(note.get(name), Some(&value), "{name}");
    }
    assert!(trial.log().contains("ident/p0f: FreeBSD 9.x or newer"), "{}", trial.log());
    trial.message("Subject: x\nX-P0F-Genre: forged\n\n");
    trial.plain(Hook::DataPost);
    let header = String::from_utf8(trial.session.transaction.header.to_bytes()).unwrap();
    let wanted = "X-P0F-Link-Type: DSL\r\nX-P0F-Genre: FreeBSD 9.x or newer\r\nSubject: x\r\n";
    assert_eq!(header.replace("\r\n", "\n"), wanted.replace("\r\n", "\n"));
}

#[test]
fn addresses_of_ipv6_are_asked_about() {
    let mut trial = trial("", "").from_ip("2001:db8::1");
    let asked = p0f(&trial, answer(0x20, "", "", ""));
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    let question = asked.join().unwrap();
    assert_eq!((question[4], &question[5..9], question[20]), (6, &[0x20, 1, 0x0d, 0xb8][..], 1));
    assert!(trial.log().contains("skip, no match"));
    assert!(trial.session.connection.notes.get(P0F).is_none());
}

#[test]
fn systems_are_blocked_by_name_and_by_pattern() {
    for (blocked, code) in [
        ("", Code::Declined),
        ("Windows XP", Code::Deny),
        ("windows xp", Code::Declined),
        ("Windows", Code::Declined),
        ("Linux\n/windows/", Code::Deny),
        ("/^xp/", Code::Declined),
    ] {
        let mut trial = known("", blocked);
        assert_eq!(trial.rcpt("<b@example.com>").code(), code, "{blocked}");
    }
    let mut trial = known("", "/windows/");
    trial.session.connection.relay_client = true;
    assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
    let mut trial = known("", "/(/\n/windows/");
    assert_eq!(trial.rcpt("<b@example.com>"), Verdict::deny("OS Blocked"));
    assert!(trial.log().contains("p0f_blocked_operating_systems:1: "), "{}", trial.log());
    assert_eq!(self::trial("", "/./").rcpt("<b@example.com>"), DECLINED);
}

#[test]
fn systems_have_a_karma_and_headers_can_be_left_out() {
    let trial = known("smite_os windows.xp", "");
    assert_eq!(trial.session.connection.notes.get(KARMA), Some(-1));
    let mut trial = known("smite_os linux add_headers false", "");
    assert_eq!(trial.session.connection.notes.get(KARMA), None);
    trial.message("Subject: x\n\n");
    trial.plain(Hook::DataPost);
    assert_eq!(trial.session.transaction.header.len(), 1);
}

#[test]
fn what_is_no_answer_is_skipped_or_fails() {
    let ok = answer(0x10, "Linux", "3.x", "");
    let mut magic = ok.clone();
    magic[0] ^= 1;
    for (octets, why) in [
        (ok[..231].to_vec(), ""),
        (vec![], ""),
        (magic, "bad response magic"),
        (answer(0, "", "", ""), "bad query"),
        (answer(0x30, "", "", ""), "bad status"),
    ] {
        let mut trial = trial("", "");
        let p0f = p0f(&trial, octets.clone());
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        p0f.join().unwrap();
        assert!(trial.log().contains(&format!("skip, {why}")), "{}", trial.log());
        let mut trial = self::trial("on_error tempfail", "");
        let p0f = self::p0f(&trial, octets);
        assert!(trial.plain(Hook::Connect).is_failure(), "{why}");
        p0f.join().unwrap();
    }
    // More than an answer is an answer; what is not text is shown as if it were.
    let mut trial = trial("", "");
    let mut octets = answer(0x10, "\u{1b}[2J\r\n", "\u{fffd}", "");
    octets[40 + 6] = 0xff;
    octets.extend([7; 1000]);
    let p0f = p0f(&trial, octets);
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    p0f.join().unwrap();
    let note = trial.session.connection.notes.get(P0F).unwrap();
    assert_eq!(note["os_name"], Value::Str("?[2J??\u{fffd}".into()));
}

#[test]
fn a_p0f_that_is_down_or_silent_costs_nothing_but_its_time() {
    let mut down = trial("", "");
    assert_eq!(down.plain(Hook::Connect), DECLINED);
    assert!(down.log().contains("/p0f: No such file or directory"), "{}", down.log());
    assert!(trial("on_error tempfail", "").plain(Hook::Connect).is_failure());
    let mut silent = trial("timeout 1", "");
    let _listener = UnixListener::bind(silent.dir().join("p0f")).unwrap();
    assert_eq!(silent.plain(Hook::Connect), DECLINED);
    assert!(silent.log().contains("skip, "), "{}", silent.log());
}

#[test]
fn wrong_arguments_stop_the_start() {
    for (arguments, why) in [
        ("", "argument missing: p0f's socket"),
        ("p0f", "no path of a socket: 'p0f'"),
        ("/run/p0f version 2", "only version 3 of p0f is supported"),
        ("/run/p0f smite_os (", "does not compile"),
        ("/run/p0f colour red", "unknown argument 'colour'"),
        ("/run/p0f version", "argument version has no value"),
    ] {
        let error = Trial::load(&format!("ident/p0f {arguments}"), &[]).err().unwrap();
        assert!(error.to_string().contains(why), "{arguments}: {error}");
    }
    Trial::new("ident/p0f /run/p0f version 3 local_ip 192.0.2.25 add_headers true", &[]);
}
