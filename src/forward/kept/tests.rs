use super::*;
use crate::forward::{Peer, unable};
use crate::hook::{Hook, Verdict};
use crate::testing::Trial;

const HELLO: &str = "+ 220 p\n- EHLO mx.test\n+ 250 p\n";
const MAIL: &str = "- MAIL FROM:<a@example.net>\n+ 250 ok\n- RCPT TO:<b@example.com>\n+ 250 ok\n";
const DATA: &str = "- DATA\n+ 354 go\n*\n";
const ANEW: &str = "- RSET\n+ 250 ok\n";
const QUIT: &str = "- QUIT\n+ 221 bye\n";

/// What comes of so many messages, one after the other, with a back end that follows `script`, and
/// the text that it has kept.
fn forward(count: usize, arguments: &str, script: &str) -> (Vec<Verdict>, String, String) {
    let peer = Peer::start(script);
    let line = format!("queue/smtp-forward 127.0.0.1 {} {arguments}", peer.port);
    let mut trial = Trial::new(&line, &[("me", "mx.test")]);
    let mut send = |number| {
        trial.mail("<a@example.net>");
        trial.session.transaction.set_recipients(vec![]);
        trial.rcpt("<b@example.com>");
        trial.message(&format!("Subject: {number}\n\n"));
        trial.plain(Hook::Queue)
    };
    let verdicts = (1..=count).map(&mut send).collect();
    let kept = String::from_utf8(peer.end()).unwrap();
    let subjects = kept.lines().filter_map(|line| line.strip_prefix("Subject: "));
    (verdicts, subjects.collect::<Vec<_>>().join(" "), trial.log())
}

fn all(count: usize) -> Vec<Verdict> {
    vec![Verdict::ok("queued as ok"); count]
}

#[test]
fn so_many_messages_go_over_one_connection() {
    let one = format!("{MAIL}{DATA}+ 250 ok\n");
    let script = format!("{HELLO}{one}{ANEW}{one}{ANEW}{one}{QUIT}close\n{HELLO}{one}");
    let (verdicts, subjects, log) = forward(4, "keep 3 idle 1000", &script);
    assert_eq!((verdicts, &*subjects), (all(4), "1 2 3 4"), "{log}");
    assert_eq!(log.matches("over an open connection").count(), 2, "{log}");
    // Without the argument none is kept.
    let (verdicts, ..) = forward(1, "", &format!("{HELLO}{one}{QUIT}"));
    assert_eq!(verdicts, all(1));
}

#[test]
fn a_connection_that_has_ended_is_noticed_before_the_message_is_sent() {
    let one = format!("{MAIL}{DATA}+ 250 ok\n");
    for between in [
        "close\n".to_owned(),
        "- RSET\nclose\n".into(),
        "- RSET\n+ 421 too long\nclose\n".into(),
        "- RSET\n+ 500 what?\nclose\n".into(),
        format!("{ANEW}- MAIL FROM:<a@example.net>\nclose\n"),
        format!("{ANEW}- MAIL FROM:<a@example.net>\n+ 421 too long\nclose\n"),
        format!("{ANEW}{MAIL}- DATA\nclose\n"),
        format!("{ANEW}{MAIL}- DATA\n+ 421 too long\nclose\n"),
        // What was said meanwhile: the reply is none to RSET.
        "+ 421 too long\nclose\n".into(),
    ] {
        let script = format!("{HELLO}{one}{between}{HELLO}{one}");
        let (verdicts, subjects, log) = forward(2, "keep 9", &script);
        assert_eq!((verdicts, &*subjects), (all(2), "1 2"), "{between}: {log}");
    }
}

/// The replies of such a server would be one behind.
#[test]
fn a_server_that_says_more_than_it_was_asked_is_left() {
    let twice = format!("{MAIL}{DATA}+ 250 ok\\n250 ok\n");
    let one = format!("{MAIL}{DATA}+ 250 ok\n");
    let odd = format!("{MAIL}{DATA}+ 354 ok\n{QUIT}");
    let script = format!("{HELLO}{twice}close\n{HELLO}{one}");
    let (verdicts, subjects, log) = forward(2, "keep 9", &script);
    assert_eq!((verdicts, &*subjects), (all(2), "1 2"), "{log}");
    let script = format!("{HELLO}{odd}close\n{HELLO}{one}");
    let (verdicts, _, log) = forward(2, "keep 9", &script);
    assert_eq!(verdicts[1], all(1)[0], "{log}");
    assert_eq!(verdicts[0], unable("the back end gave a wrong answer", "4.5.0"));
}

#[test]
fn a_message_of_which_the_text_was_sent_is_not_sent_twice() {
    let one = format!("{MAIL}{DATA}+ 250 ok\n");
    let script = format!("{HELLO}{one}{ANEW}{MAIL}{DATA}close\n");
    let (verdicts, subjects, _) = forward(2, "keep 9", &script);
    let lost = unable("the back end closed the connection", "4.4.2");
    assert_eq!((&verdicts[1], &*subjects), (&lost, "1 2"));
}

#[test]
fn refusals_leave_the_connection_and_breaks_do_not() {
    let one = format!("{MAIL}{DATA}+ 250 ok\n");
    let refused = "- MAIL FROM:<a@example.net>\n+ 550 no\n";
    let nobody = "- MAIL FROM:<a@example.net>\n+ 250 ok\n- RCPT TO:<b@example.com>\n+ 550 no\n";
    let spam = format!("{MAIL}{DATA}+ 554 no\n");
    for first in [refused, nobody, &spam] {
        let script = format!("{HELLO}{first}{ANEW}{one}");
        let (verdicts, _, log) = forward(2, "keep 9", &script);
        assert!(verdicts[0].code().is_deny() && verdicts[1] == all(1)[0], "{first}: {log}");
    }
    let leaves = format!("{MAIL}{DATA}+ 421 bye\n{QUIT}close\n");
    let (verdicts, ..) = forward(2, "keep 9", &format!("{HELLO}{leaves}{HELLO}{one}"));
    assert!(verdicts[0].code().is_deny() && verdicts[1] == all(1)[0]);
}

#[test]
fn it_is_closed_when_its_time_is_over_or_the_process_ends() {
    for (idle, rest) in [(0, Rest::Waits), (1000, Rest::Ends)] {
        let peer = Peer::start(&format!("{HELLO}{QUIT}"));
        let endpoint = crate::net::Endpoint::Tcp { host: "127.0.0.1".into(), port: peer.port };
        let until = Instant::now() + Duration::from_secs(60);
        let wire = crate::net::Wire::connect(&endpoint, until).unwrap();
        let mut client = Client::new(wire, crate::forward::Protocol::Smtp, String::new());
        client.reply().unwrap();
        client.hello("mx.test").unwrap();
        let idle = Duration::from_secs(idle);
        let kept = Kept { messages: 9, idle, open: RefCell::default() };
        let target = Target::named(endpoint);
        kept.put(client, &target, 1);
        if !idle.is_zero() {
            assert!(kept.rest(Rest::Waits).is_some());
        }
        assert_eq!(kept.rest(rest), None);
        peer.end();
        assert!(kept.get(&[target], until).is_none());
    }
}

#[test]
fn one_that_leads_elsewhere_is_closed() {
    let one = format!("{MAIL}{DATA}+ 250 ok\n");
    let first = Peer::start(&format!("{HELLO}{one}{QUIT}"));
    let second = Peer::start(&format!("{HELLO}{one}"));
    let routes = |port| format!("example.com:[127.0.0.1]:{port}");
    let files = [("me", "mx.test"), ("smtproutes", &*routes(first.port))];
    let mut trial = Trial::new("queue/smtp-forward smtproutes dane no mta_sts no keep 9", &files);
    for port in [first.port, second.port] {
        trial.set_config("smtproutes", &routes(port));
        trial.mail("<a@example.net>");
        trial.session.transaction.set_recipients(vec![]);
        trial.rcpt("<b@example.com>");
        trial.message("Subject: x\n\n");
        assert_eq!(trial.plain(Hook::Queue), all(1)[0], "{}", trial.log());
    }
    first.end();
    second.end();
}

#[test]
fn wrong_arguments_stop_the_start() {
    for (arguments, error) in [
        ("keep 0", "argument keep has the value '0' (expected: 1 or more)"),
        ("keep many", "argument keep has the value 'many' (expected: 1 or more)"),
        ("keep 5 idle 0", "argument idle has the value '0' (expected: 1 or more)"),
        ("idle 5", "argument idle is only for connections that are kept: 'keep'"),
        ("keep 5 xclient", "with xclient a connection is for one client, and cannot be kept"),
    ] {
        let line = format!("queue/smtp-forward 127.0.0.1 {arguments}");
        let found = Trial::load(&line, &[]).err().unwrap().to_string();
        assert!(found.ends_with(error), "{found}");
    }
}
