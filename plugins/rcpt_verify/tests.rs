use super::*;
use crate::forward::Peer;
use crate::hook::{Hook, KARMA};
use crate::testing::Trial;

const HELLO: &str = "+ 220 peer\n- LHLO mx.test\n+ 250 peer\n- MAIL FROM:<>\n+ 250 ok\n";

const FILES: [(&str, &str); 2] = [("me", "mx.test"), ("rcpthosts", "example.com\nexample.org")];

fn asking(recipient: &str, reply: &str) -> String {
    format!("{HELLO}- RCPT TO:{recipient}\n+ {reply}\n- QUIT\n+ 221 bye\nclose\n")
}

/// A session with a server that follows the script.
fn trial(script: &str, arguments: &str) -> (Trial, Peer) {
    let peer = Peer::start(script);
    let line = format!("rcpt_verify lmtp 127.0.0.1:{} {arguments}", peer.port);
    let mut trial = Trial::new(&line, &FILES);
    trial.set_clock(1_000_000);
    trial.mail("<a@example.net>");
    (trial, peer)
}

/// What comes of one reply to RCPT.
fn verdict(reply: &str, arguments: &str) -> Verdict {
    let (mut trial, peer) = trial(&asking("<b@example.com>", reply), arguments);
    let verdict = trial.rcpt("<b@example.com>");
    peer.end();
    verdict
}

#[test]
fn replies_say_who_is_there_and_who_is_not() {
    let unknown = Verdict::deny("No such user (#5.1.1)");
    let failure = |verdict: &Verdict| verdict.is_failure();
    for reply in ["250 ok", "250 2.1.5 ok", "251 will forward", "252 perhaps"] {
        assert_eq!(verdict(reply, ""), DECLINED, "{reply}");
    }
    for reply in [
        "550 who?",
        "551 not here",
        "553 no such name",
        "550 5.1.1 who?",
        "550-5.1.1 who\\n550 5.1.1 is that?",
        "554 5.1.6 moved",
        "550 5.1.10 null MX",
        "550 5.4.1 Access denied",
        "550 5.0.0 no",
    ] {
        assert_eq!(verdict(reply, ""), unknown, "{reply}");
    }
    for (reply, text, code) in [
        ("552 5.2.2 full", "full (#5.2.2)", 552),
        ("550 5.2.1 closed", "closed (#5.2.1)", 550),
        ("552 full", "full", 552),
    ] {
        assert_eq!(verdict(reply, ""), Verdict::deny(text).with_reply(code), "{reply}");
    }
    for reply in [
        "450 later",
        "451 4.1.1 later",
        "550 5.1.8 your domain",
        "550 5.7.1 not you",
        "554 no",
        "500 what?",
        "503 5.5.1 not now",
        "530 5.7.0 authenticate",
        "354 go ahead",
    ] {
        assert!(failure(&verdict(reply, "")), "{reply}");
        assert_eq!(verdict(reply, "on_error ignore"), DECLINED, "{reply}");
    }
}

#[test]
fn what_was_said_is_remembered_for_its_time() {
    let script = asking("<b@example.com>", "250 ok") + &asking("<c@example.com>", "550 5.1.1 c?");
    let (mut trial, peer) = trial(&script.repeat(2), "known 2h unknown 10m");
    let known = |trial: &mut Trial| trial.rcpt("<B@Example.COM>").code();
    let unknown = |trial: &mut Trial| trial.rcpt("<c@example.com>").code();
    let ask = |trial: &mut Trial| (trial.rcpt("<b@example.com>").code(), unknown(trial));
    assert_eq!(ask(&mut trial), (Code::Declined, Code::Deny));
    assert_eq!((known(&mut trial), unknown(&mut trial)), (Code::Declined, Code::Deny));
    assert_eq!(trial.session.connection.notes.get(KARMA), Some(-2));
    let kept: Vec<_> = trial.store(NAME).entries().unwrap().iter().map(memory::explain).collect();
    assert!(kept.contains(&"known; asked again after 7200 s".into()), "{kept:?}");
    let text = "unknown: 550 5.1.1 c?; asked again after 600 s";
    assert!(kept.contains(&text.into()), "{kept:?}");
    trial.set_clock(1_000_000 + 599);
    assert_eq!((known(&mut trial), unknown(&mut trial)), (Code::Declined, Code::Deny));
    trial.set_clock(1_000_000 + 7200);
    assert_eq!(ask(&mut trial), (Code::Declined, Code::Deny));
    peer.end();
}

#[test]
fn no_time_is_no_memory() {
    let script = asking("<b@example.com>", "250 ok").repeat(2);
    let (mut trial, peer) = trial(&script, "known 0 unknown 0");
    for _ in 0..2 {
        assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
    }
    peer.end();
}

#[test]
fn a_full_mailbox_is_asked_about_again() {
    let script = asking("<b@example.com>", "552 5.2.2 full") + &asking("<b@example.com>", "250 ok");
    let (mut trial, peer) = trial(&script, "");
    assert_eq!(trial.rcpt("<b@example.com>").reply(), Some(552));
    assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
    peer.end();
}

#[test]
fn only_recipients_of_these_domains_are_asked_about() {
    let (mut trial, peer) = trial(&asking("<b@example.com>", "250 ok"), "domain example.com");
    for path in ["<b@example.net>", "<b@example.org>", "<postmaster>", "<b@sub.example.com>"] {
        assert_eq!(trial.rcpt(path), DECLINED, "{path}");
    }
    // A recipient that a server could take for a way past it.
    assert_eq!(trial.rcpt("<b%example.net@example.com>").text(), "Relaying denied (#5.7.1)");
    assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
    peer.end();
}

#[test]
fn guessing_has_a_limit_for_each_client_and_for_all() {
    let script: String =
        ["b", "c"].map(|user| asking(&format!("<{user}@example.com>"), "550 no")).concat();
    let (mut trial, peer) = trial(&script, "probes_by_client 2/1h");
    let later = Verdict::denysoft(LATER).with_reply(450);
    for (user, code) in [("b", Code::Deny), ("c", Code::Deny), ("d", Code::DenySoft)] {
        assert_eq!(trial.rcpt(&format!("<{user}@example.com>")).code(), code, "{user}");
    }
    assert_eq!(trial.rcpt("<d@example.com>"), later);
    assert_eq!(trial.rcpt("<b@example.com>").code(), Code::Deny);
    assert!(trial.log().contains("skip, too many questions of 192.0.2.1"), "{}", trial.log());
    peer.end();

    let (mut trial, peer) =
        self::trial(&asking("<b@example.com>", "550 no"), "probes 1/1h over_limit pass");
    assert_eq!(trial.rcpt("<b@example.com>").code(), Code::Deny);
    trial = trial.from_ip("192.0.2.2");
    assert_eq!(trial.rcpt("<c@example.com>"), DECLINED);
    assert!(trial.log().contains("skip, too many questions in all"), "{}", trial.log());
    peer.end();
}

#[test]
fn those_who_may_relay_have_no_limit() {
    let script: String =
        ["b", "c"].map(|user| asking(&format!("<{user}@example.com>"), "550 no")).concat();
    let (mut trial, peer) = trial(&script, "probes 1/1h");
    trial.session.connection.relay_client = true;
    for path in ["<b@example.com>", "<c@example.com>"] {
        assert_eq!(trial.rcpt(path).code(), Code::Deny);
    }
    peer.end();
}

#[test]
fn servers_that_cannot_be_used_are_passed_over_and_left_alone_for_a_moment() {
    let (one, other) =
        (Peer::start("+ 421 not now\nclose\n"), Peer::start(&asking("<b@example.com>", "250 ok")));
    let servers = format!("127.0.0.1:{} 127.0.0.1:{}", one.port, other.port);
    let mut trial = Trial::new(&format!("rcpt_verify lmtp {servers}"), &FILES);
    assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
    one.end();
    other.end();
    assert!(trial.rcpt("<c@example.com>").is_failure());
    trial.take_log();
    assert!(trial.rcpt("<c@example.com>").is_failure());
    assert!(!trial.log().contains("127.0.0.1"), "{}", trial.log());
    let kept = trial.store(NAME).entries_from("@outage ").unwrap();
    let wanted = format!("the back end cannot be reached; {servers} not asked for ");
    assert!(memory::explain(&kept[0]).starts_with(&wanted), "{kept:?}");
    assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
}

/// A recipient at which a server ends the connection says nothing of the others.
#[test]
fn a_server_that_fails_at_one_recipient_is_asked_about_others() {
    for end in
        ["close\n", "+ 421 4.3.0 bye\nclose\n", "+ rubbish\nclose\n", "+ 250-a\\n550 b\nclose\n"]
    {
        let script = format!("{HELLO}- RCPT TO:<b@example.com>\n{end}");
        let (mut trial, peer) = trial(&(script + &asking("<c@example.com>", "250 ok")), "");
        assert!(trial.rcpt("<b@example.com>").is_failure(), "{end}");
        assert_eq!(trial.rcpt("<c@example.com>"), DECLINED, "{end}");
        peer.end();
    }
}

#[test]
fn a_server_that_says_nothing_costs_its_time_and_no_more() {
    let (mut trial, peer) = trial("hang\n", "timeout 1");
    assert!(trial.rcpt("<b@example.com>").is_failure());
    drop(trial);
    peer.end();
}

#[test]
fn a_refused_sender_says_nothing_of_recipients() {
    let script =
        "+ 220 peer\n- EHLO mx.test\n+ 250 peer\n- MAIL FROM:<us@example.com>\n+ 550 no\nclose\n";
    let peer = Peer::start(script);
    let line = format!("rcpt_verify smtp 127.0.0.1:{} from us@example.com", peer.port);
    let mut trial = Trial::new(&line, &FILES);
    assert!(trial.rcpt("<b@example.com>").is_failure());
    peer.end();
}

#[test]
fn addresses_beyond_ascii_go_where_they_are_taken() {
    let (mut trial, peer) = trial("+ 220 peer\n- LHLO mx.test\n+ 250 peer\n- QUIT\nclose\n", "");
    assert_eq!(trial.rcpt("<b\u{f6}b@example.com>"), DECLINED);
    peer.end();
    let script = "+ 220 peer\n- LHLO mx.test\n+ 250-peer\n+ 250 SMTPUTF8\n\
        - MAIL FROM:<> SMTPUTF8\n+ 250 ok\n- RCPT TO:<b\\xc3\\xb6b@example.com>\n+ 550 no\n- QUIT\nclose\n";
    let (mut trial, peer) = self::trial(script, "");
    assert_eq!(trial.rcpt("<b\u{f6}b@example.com>").code(), Code::Deny);
    peer.end();
}

#[test]
fn without_the_store_the_server_is_asked_each_time() {
    let script = asking("<b@example.com>", "250 ok").repeat(2);
    let (mut trial, peer) = trial(&script, "probes 1/1h");
    trial.break_store();
    for _ in 0..2 {
        assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
    }
    peer.end();
}

#[test]
fn a_dry_run_refuses_nobody() {
    assert_eq!(verdict("550 5.1.1 who?", "reject 0"), DECLINED);
    assert_eq!(verdict("552 5.2.2 full", "reject 0"), DECLINED);
    assert_eq!(verdict("550 5.1.1 who?", "reject_type temp").code(), Code::DenySoft);
}

#[test]
fn wrong_arguments_stop_the_start() {
    for (arguments, why) in [
        ("", "argument missing: lmtp or smtp, and the server"),
        ("127.0.0.1:24", "unknown protocol '127.0.0.1:24' (known: lmtp, smtp)"),
        ("lmtp", "argument missing: the server"),
        ("lmtp localhost", "no port in 'localhost'"),
        ("smtp mx.test known soon", "known"),
        ("smtp mx.test known", "argument known has no value"),
        ("smtp mx.test probes many", "argument probes: 'many' is not a rate such as 100/1h"),
        ("smtp mx.test over_limit refuse", "tempfail, pass"),
        ("smtp mx.test domain *.example.com", ".example.com means all subdomains"),
        ("smtp mx.test from a@@b", "from"),
    ] {
        let error = Trial::load(&format!("rcpt_verify {arguments}"), &FILES).err().unwrap();
        assert!(error.to_string().contains(why), "{arguments}: {error}");
    }
    let good = "rcpt_verify smtp mx.test [::1]:26 /run/smtp domain .example.com domain example.org \
        from <> known 0 unknown 5m probes unlimited probes_by_client 9/s timeout 5";
    Trial::new(good, &FILES).plain(Hook::Quit);
}
