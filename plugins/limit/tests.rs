use super::*;
use crate::hook::Code::{Declined, Deny, DenySoft, DenySoftDisconnect};
use crate::hook::{Call, Hook, KARMA, NAUGHTY};
use crate::hook::{Verdict, WHITELISTSENDER};
use crate::mail::Address;
use crate::testing::Trial;

const DNS: &str = "1.2.0.192.in-addr.arpa PTR mx.example.net\nmx.example.net A 192.0.2.1";

fn trial(lines: &str) -> Trial {
    with("limit", lines)
}

fn with(plugins: &str, lines: &str) -> Trial {
    let trial = Trial::new(plugins, &[("limit", lines)]).with_dns(DNS);
    trial.set_clock(1_000_000);
    trial
}

/// How many of ten pass.
fn passing(trial: &mut Trial, mut event: impl FnMut(&mut Trial) -> Verdict) -> usize {
    (0..10).filter(|_| event(trial).code() == Declined).count()
}

fn data(trial: &mut Trial) -> Verdict {
    trial.plain(Hook::Data)
}

#[test]
fn what_is_more_is_told_when_to_come_again() {
    let mut trial = trial("messages by user = 60/1h burst 3\n");
    trial.session.connection.auth_user = Some("Bob@Example.com".into());
    assert_eq!(passing(&mut trial, data), 3);
    let verdict = data(&mut trial);
    let text = "too many messages from bob@example.com, try again later";
    assert_eq!((verdict.code(), verdict.text()), (DenySoft, text));
    let line = "(data) limit: fail, messages by user bob@example.com: 60/1h burst 3, \
        free again in 60 s";
    assert!(trial.log().contains(line), "{}", trial.log());
    trial.set_clock(1_000_059);
    assert!(data(&mut trial).code().is_deny());
    trial.set_clock(1_000_060);
    assert_eq!(passing(&mut trial, data), 1);
    trial.set_clock(1_009_999);
    assert_eq!(passing(&mut trial, data), 3);
    trial.session.connection.auth_user = Some("eve@example.com".into());
    assert_eq!(passing(&mut trial, data), 3);
    trial.session.connection.auth_user = None;
    assert_eq!(passing(&mut trial, data), 10);
}

#[test]
fn each_kind_is_counted_at_its_moment_by_its_keys() {
    let helo = |trial: &mut Trial| trial.call(Hook::Ehlo, &Call::Host("x"));
    let mail = |trial: &mut Trial| trial.mail("<a@sender.example>");
    let bounce = |trial: &mut Trial| trial.mail("<>");
    let rcpt = |trial: &mut Trial| trial.rcpt("<B@Example.com>");
    let connect = |trial: &mut Trial| trial.plain(Hook::Connect);
    let message = |trial: &mut Trial| {
        trial.message("Subject: x\n\n1234567890\n");
        trial.plain(Hook::DataPost)
    };
    type Event = fn(&mut Trial) -> Verdict;
    let events: [(&str, Event); 7] = [
        ("helo", helo),
        ("connect", connect),
        ("mail", mail),
        ("bounce", bounce),
        ("rcpt", rcpt),
        ("data", data),
        ("message", message),
    ];
    for (line, counted) in [
        ("connections by address = 3/1h", "connect"),
        ("connections by network = 3/1h", "connect"),
        ("connections by name = 3/1h", "connect"),
        ("connections by organization = 3/1h", "connect"),
        ("messages by address/8/32 = 3/1h", "data"),
        ("messages by sender = 3/1h", "data"),
        ("messages by sender_domain = 3/1h", "data"),
        ("recipients by sender = 3/1h", "rcpt"),
        ("recipients by user = 3/1h", "rcpt"),
        ("recipients by recipient = 3/1h", "rcpt"),
        ("recipients by recipient_domain=3/1h", "rcpt"),
        ("null_senders by address = 3/1h", "bounce"),
        ("octets by name = 90/1h", "message"),
    ] {
        for (event, run) in events {
            let suffixes =
                [("suffixes", "// ===BEGIN ICANN DOMAINS===\nnet\n// ===END ICANN DOMAINS===\n")];
            let files: Vec<_> = [("limit", line)].into_iter().chain(suffixes).collect();
            let mut trial =
                Trial::new("limit suffixes {dir}/config/suffixes", &files).with_dns(DNS);
            trial.set_clock(1_000_000);
            trial.session.connection.auth_user = Some("bob".into());
            trial.session.transaction.set_sender(Address::new("a", "sender.example"));
            let expected = if event == counted { 3 } else { 10 };
            assert_eq!(passing(&mut trial, run), expected, "{line}: {event}");
        }
    }
}

#[test]
fn bounces_to_a_recipient_are_recipients_of_nobody() {
    let mut trial = trial("null_senders by recipient = 2/1h\nmessages by sender = 1/1h");
    assert_eq!(passing(&mut trial, |trial| trial.mail("<>")), 10);
    assert_eq!(passing(&mut trial, |trial| trial.rcpt("<b@example.com>")), 2);
    assert_eq!(
        trial.rcpt("<b@example.com>").text(),
        "too many bounces to b@example.com, try again later"
    );
    assert_eq!(passing(&mut trial, |trial| trial.rcpt("<c@example.com>")), 2);
    assert_eq!(passing(&mut trial, data), 10);
    trial.mail("<a@example.net>");
    assert_eq!(passing(&mut trial, |trial| trial.rcpt("<b@example.com>")), 10);
}

#[test]
fn failed_attempts_are_counted_and_the_next_is_refused_before() {
    let mut trial = trial("failed_auth by address = 3/1h disconnect\nfailed_auth by user = 2/1h");
    let attempt = |trial: &mut Trial, user: &str| trial.call(Hook::AuthAttempt, &Call::User(user));
    let fail = |trial: &mut Trial, user: &str| trial.call(Hook::AuthFailed, &Call::User(user));
    assert_eq!(passing(&mut trial, |trial| attempt(trial, "bob")), 10);
    assert_eq!(fail(&mut trial, "bob"), DECLINED);
    assert_eq!(fail(&mut trial, "Bob"), DECLINED);
    let verdict = attempt(&mut trial, "bob");
    assert_eq!(
        (verdict.code(), verdict.text()),
        (DenySoft, "too many failed attempts to authenticate as bob, try again later")
    );
    // What was refused before counts for nobody.
    fail(&mut trial, "bob");
    assert_eq!(attempt(&mut trial, "eve"), DECLINED);
    fail(&mut trial, "");
    let verdict = attempt(&mut trial, "eve");
    assert_eq!(verdict.code(), DenySoftDisconnect);
    assert!(verdict.text().contains("from 192.0.2.1"), "{verdict:?}");
    assert_eq!(trial.session.connection.notes.get(KARMA), Some(-2));
    assert!(!trial.log().contains("(auth-failed) limit: fail"));
}

#[test]
fn unknown_recipients_are_what_others_refuse_for_good() {
    let files =
        [("limit", "unknown_recipients by address = 2/1h refuse"), ("badrcptto", "no@example.com")];
    let mut trial = Trial::new("limit\nbadrcptto", &files);
    trial.set_clock(1_000_000);
    trial.mail("<a@example.net>");
    for _ in 0..2 {
        assert_eq!(trial.rcpt("<yes@example.com>").code(), Declined);
        assert!(!trial.rcpt("<no@example.com>").text().starts_with("too many"));
    }
    for recipient in ["<yes@example.com>", "<no@example.com>"] {
        let verdict = trial.rcpt(recipient);
        assert_eq!(
            (verdict.code(), verdict.text()),
            (Deny, "too many unknown recipients from 192.0.2.1")
        );
    }
    trial.set_clock(1_001_800);
    assert_eq!(trial.rcpt("<yes@example.com>").code(), Declined);
}

#[test]
fn a_line_for_somebody_stands_in_the_place_of_those_for_all() {
    let lines = "messages by user = 2/1h\nmessages by user = 3/1d\n\
        messages by user = 5/1h for news@example.com other\n\
        messages by user = unlimited for @staff.example.com\n";
    for (user, most) in [
        ("bob@example.com", 2),
        ("NEWS@example.com", 5),
        ("other", 5),
        ("x@staff.example.com", 10),
        ("x@example.com", 2),
    ] {
        let mut trial = trial(lines);
        trial.session.connection.auth_user = Some(user.into());
        assert_eq!(passing(&mut trial, data), most, "{user}");
    }
    for (only, most) in [
        ("name = 3/1h for mx.example.net", 3),
        ("name = 3/1h for .example.net", 3),
        ("name = 3/1h for example.net .net", 3),
        ("name = 3/1h for .mx.example.net example.net", 10),
        ("address = 3/1h for 192.0.2.0/24", 3),
        ("address = 3/1h for 198.51.100.1 2001:db8::/32", 10),
        ("sender = 3/1h for @sender.example", 3),
        ("sender = 3/1h for b@sender.example", 10),
    ] {
        let mut trial = trial(&format!("messages by {only}"));
        trial.session.transaction.set_sender(Address::new("a", "sender.example"));
        assert_eq!(passing(&mut trial, data), most, "{only}");
    }
}

#[test]
fn exceptions_come_first() {
    type Is = fn(&mut Session);
    let relays: Is = |session| session.connection.relay_client = true;
    let user: Is = |session| {
        session.connection.relay_client = true;
        session.connection.auth_user = Some("bob".into());
    };
    let white: Is = |session| session.transaction.notes.set(WHITELISTSENDER, "1".into());
    let by_path: Is = |session| session.connection.by_path = true;
    for (except, is, most) in [
        ("ours", relays, 10),
        ("ours", user, 10),
        ("ours", white, 1),
        ("relay_clients", relays, 10),
        ("relay_clients", user, 1),
        ("users", user, 10),
        ("users", relays, 1),
        ("whitelisted", white, 10),
        ("user bob", user, 10),
        ("user eve", user, 1),
        ("user bob", relays, 1),
        ("address 192.0.2.0/24", white, 10),
        ("address 192.0.3.0/24 2001:db8::1", white, 1),
        ("name .example.net", white, 10),
        ("name .example.com", white, 1),
        ("user nobody", by_path, 10),
    ] {
        let mut trial = trial(&format!("except {except}\nmessages by address = 1/1h\n"));
        is(&mut trial.session);
        assert_eq!(passing(&mut trial, data), most, "{except}");
    }
}

#[test]
fn what_one_line_refuses_no_other_counts() {
    let mut trial =
        trial("messages by address = 9/1h\nmessages by user = 2/1h\nmessages by name = 5/1h warn");
    trial.session.connection.auth_user = Some("bob".into());
    assert_eq!(passing(&mut trial, data), 2);
    trial.session.connection.auth_user = None;
    assert_eq!(passing(&mut trial, data), 7);
    assert_eq!(trial.log().matches("fail, tolerated, messages by name mx.example.net").count(), 4);
    trial.session.connection.auth_user = Some("eve".into());
    assert_eq!(passing(&mut trial, data), 0);
}

#[test]
fn a_dry_run_only_says_so_and_naughty_marks() {
    let mut dry =
        with("limit reject 0", "messages by address = 1/1h refuse\nconnections by address = 1/1h");
    assert_eq!(passing(&mut dry, data), 10);
    let text =
        "(data) limit: fail, tolerated, messages by address 192.0.2.1: 1/1h, free again in 3600 s";
    assert_eq!(dry.log().matches(text).count(), 9, "{}", dry.log());
    assert_eq!(passing(&mut dry, |trial| trial.pre_connection("192.0.2.9", &[], 0)), 10);
    let text =
        "limit: fail, tolerated, connections by address 192.0.2.9: 1/1h, free again in 3600 s";
    assert_eq!(dry.log().matches(text).count(), 9, "{}", dry.log());
    let mut naughty = with("limit reject naughty", "messages by address = 1/1h");
    assert_eq!(passing(&mut naughty, data), 10);
    assert!(naughty.session.connection.notes.is_true(NAUGHTY));
}

#[test]
fn the_parent_counts_connections_by_address() {
    let lines = "except address 192.0.2.7\nexcept user bob\nconnections by address = 2/1h\n\
        connections by address/16 = 5/1h refuse\nconnections by name = 9/1h\n";
    let mut trial = trial(lines);
    let at = |ip: &'static str| move |trial: &mut Trial| trial.pre_connection(ip, &[], 5);
    assert_eq!(passing(&mut trial, at("192.0.2.2")), 2);
    let verdict = trial.pre_connection("192.0.2.2", &[], 5);
    let text = "too many connections from 192.0.2.2, try again later";
    assert_eq!((verdict.code(), verdict.text()), (DenySoft, text));
    let line = "(pre-connection) limit: fail, connections by address 192.0.2.2: 2/1h, \
        free again in 1800 s";
    assert!(trial.log().contains(line), "{}", trial.log());
    assert_eq!(passing(&mut trial, at("192.0.2.7")), 10);
    assert_eq!(passing(&mut trial, at("2001:db8::1")), 2);
    assert_eq!(passing(&mut trial, at("2001:db8::ffff:1")), 0);
    assert_eq!(passing(&mut trial, at("192.0.2.3")), 2);
    // The network has one left, and then says so for good.
    assert_eq!(passing(&mut trial, at("192.0.2.4")), 1);
    assert_eq!(trial.pre_connection("192.0.2.5", &[], 5).code(), Deny);
    // The session counts by address only what the parent has not seen.
    assert_eq!(passing(&mut trial, |trial| trial.plain(Hook::Connect)), 2);
    trial.session.connection.passed_parent = true;
    assert_eq!(passing(&mut trial, |trial| trial.plain(Hook::Connect)), 7);
    // Whom a session finds to be exempt the parent does not count from then on.
    let own = |trial: &mut Trial| trial.pre_connection("192.0.2.1", &[], 5);
    assert_eq!(passing(&mut trial, own), 0);
    trial.session.connection.auth_user = Some("bob".into());
    trial.plain(Hook::Connect);
    assert_eq!(passing(&mut trial, own), 10);
}

#[test]
fn without_the_store_nothing_is_known() {
    for (arguments, code) in
        [("", Declined), ("on_error ignore", Declined), ("on_error tempfail", DenySoft)]
    {
        let mut trial = with(&format!("limit {arguments}"), "messages by address = 1/1h");
        trial.break_store();
        data(&mut trial);
        assert_eq!(data(&mut trial).code(), code, "{arguments}");
        assert!(trial.log().contains("the store is not available"));
    }
}

#[test]
fn after_the_clock_was_set_back_all_begin_anew() {
    let mut trial = trial("messages by address = 2/1h");
    assert_eq!(passing(&mut trial, data), 2);
    trial.set_clock(1_000_000 - 30);
    assert_eq!(passing(&mut trial, data), 0);
    trial.set_clock(500_000);
    assert_eq!(passing(&mut trial, data), 2);
    let line = "the clock was set back: messages:address:2/1h:192.0.2.1 is counted anew";
    assert_eq!(trial.log().matches(line).count(), 1, "{}", trial.log());
}

#[test]
fn entries_are_explained() {
    let mut trial = with("limit", "messages by address/24/56 = 60/1h burst 3 warn");
    data(&mut trial);
    let said = |trial: &Trial| {
        let kept = trial.store(NAME).entries().unwrap();
        assert_eq!(kept.len(), 1);
        explain(&kept[0])
    };
    let text = "messages by address/24/56 192.0.2.0/24: 60/1h burst 3, ";
    assert_eq!(said(&trial), format!("{text}1 of 3 used"));
    passing(&mut trial, data);
    trial.set_clock(1_000_010);
    assert_eq!(said(&trial), format!("{text}no more, free again in 50 s"));
    let kept = Kept { key: "x".into(), ..trial.store(NAME).entries().unwrap().remove(0) };
    assert_eq!(explain(&kept), "none of this version");
}

#[test]
fn a_line_that_cannot_be_read_stops_the_start_and_is_left_out_later() {
    for (line, why) in [
        ("messages by user", "not a limit (expected: WHAT by KEY"),
        ("messages = 1/1h", "not a limit (expected: WHAT by KEY"),
        ("mails by user = 1/1h", "unknown counter 'mails' (known: connections, messages"),
        ("messages by client = 1/1h", "'client' is not known: messages are counted by address, "),
        ("messages by recipient = 1/1h", "not by 'recipient': messages are counted by address, "),
        ("connections by sender = 1/1h", "not by 'sender': connections are counted by"),
        ("messages by address/33 = 1/1h", "'33' is not the length of a network (0 to 32)"),
        ("messages by sender/3 = 1/1h", "'sender/3' is not known"),
        ("messages by network/24 = 1/1h", "'network/24' is not known"),
        ("messages by user = 1", "'1' is not a rate such as 100/1h"),
        ("messages by user = 1/1h burst", "burst '' is not a number"),
        (
            "messages by user = 1/1h defer burst 3",
            "unexpected 'burst' (expected: burst N, warn, defer",
        ),
        ("messages by user = 1/1h for", "nobody is named"),
        ("messages by address = 1/1h for bob", "not an address or network: 'bob'"),
        ("messages by name = 1/1h for *.example.com", ".example.com means all subdomains"),
        ("except", "'' is not known: ours, relay_clients"),
        ("except bob", "'bob' is not known: ours, relay_clients"),
        ("except user", "nobody is named"),
    ] {
        let text = format!("# a comment\nmessages by user = 1/1h # another\n{line}\n");
        let error = Trial::load("limit", &[("limit", &text)]).err().unwrap().to_string();
        assert!(error.contains("limit:3: ") && error.contains(why), "{line}: {error}");
    }
    let error = Trial::load(
        "limit suffixes /nonexistent",
        &[("limit", "connections by organization = 1/1h")],
    );
    assert!(error.err().unwrap().to_string().contains("/nonexistent"));
    assert!(Trial::load("limit whatever 1", &[]).is_err());
    assert!(trial("").log().contains("config/limit has no lines"));
    let mut later = trial("messages by address = 9/1h");
    later.set_config("limit", "messages by address = 2/1h\nmessages by nobody = 1/1h");
    assert_eq!(passing(&mut later, data), 2);
    assert!(later.log().contains("limit:2: 'nobody' is not known"), "{}", later.log());
}
