use super::*;

fn policy(mode: &str) -> Policy {
    let text = format!("version: STSv1\nmode: {mode}\nmx: good.test\nmax_age: 1");
    Policy::parse("1", text.as_bytes()).unwrap()
}

fn dane(authentic: bool, usage: u8) -> Answer {
    let record = Tlsa { usage, selector: 1, matching: 1, data: vec![0; 32] };
    Answer::Found { records: vec![Record::Tlsa(record)], authentic }
}

#[test]
fn dane_comes_before_a_policy() {
    let of = |host: &str, answer: Answer, mode: Option<&str>| {
        let policy = mode.map(policy);
        match proof("x.test", host, answer, policy.as_ref()) {
            Ok((Proof::Arguments, None)) => "arguments",
            Ok((Proof::Arguments, Some(_))) => "arguments, noted",
            Ok((Proof::Dane(..), _)) => "dane",
            Ok((Proof::Encrypted, _)) => "encrypted",
            Ok((Proof::Sts, _)) => "sts",
            Err(_) => "none",
        }
    };
    let failed = || Answer::Failed("no".into());
    for (host, answer, mode, want) in [
        ("good.test", Answer::Nothing, None, "arguments"),
        ("good.test", Answer::NoData, Some("enforce"), "sts"),
        ("bad.test", Answer::NoData, Some("enforce"), "none"),
        ("good.test", Answer::NoData, Some("testing"), "arguments"),
        ("bad.test", Answer::NoData, Some("testing"), "arguments, noted"),
        ("bad.test", Answer::NoData, Some("none"), "arguments"),
        ("bad.test", dane(true, 3), Some("enforce"), "dane"),
        ("bad.test", dane(true, 2), None, "dane"),
        ("good.test", dane(true, 1), Some("enforce"), "encrypted"),
        ("good.test", dane(false, 3), Some("enforce"), "sts"),
        ("good.test", dane(false, 3), None, "arguments"),
        ("good.test", failed(), Some("none"), "none"),
        ("good.test", failed(), None, "none"),
    ] {
        let shown = format!("{host} {answer:?} {mode:?}");
        assert_eq!(of(host, answer, mode), want, "{shown}");
    }
}

use crate::forward::Peer;
use crate::hook::{Code, Hook};
use crate::testing::Trial;

/// A session whose recipients are accepted, with these routes and this DNS.
fn trial(routes: &str, dns: &str) -> Trial {
    let plugins = "rcpt_ok\nqueue/smtp-forward smtproutes dane no mta_sts no";
    let files = [("me", "mx.test"), ("smtproutes", routes), ("relayclients", "192.0.2.1")];
    let mut trial = Trial::new(plugins, &files).with_dns(dns);
    trial.session.connection.relay_client = true;
    trial.mail("<a@example.net>");
    trial
}

#[test]
fn recipients_of_another_way_are_for_another_transaction() {
    let mut trial = trial("one.test:[192.0.2.7]\ntwo.test:[192.0.2.7]\n:[192.0.2.8]", "");
    assert_eq!(trial.rcpt("<a@one.test>").code(), Code::Ok);
    assert_eq!(trial.rcpt("<b@two.test>").code(), Code::Ok);
    let refused = trial.rcpt("<c@three.test>");
    assert_eq!((refused.code(), refused.reply()), (Code::DenySoft, Some(452)));
    assert!(refused.text().ends_with("(#4.5.3)"), "{}", refused.text());
    assert_eq!(trial.rcpt("<d@one.test>").code(), Code::Ok);
    assert_eq!(trial.session.transaction.recipients().len(), 3);
}

#[test]
fn what_the_domain_name_system_says_is_said_at_rcpt() {
    for (dns, code, reply) in [
        ("x.test MX 0 .", Code::Deny, Some(556)),
        ("", Code::Deny, Some(550)),
        ("x.test MX failed", Code::DenySoft, Some(451)),
        ("x.test MX 1 mx.test\nmx.test A 192.0.2.1", Code::Deny, Some(554)),
        ("x.test MX 1 a.test\na.test A 192.0.2.1", Code::Ok, None),
    ] {
        let found = trial("", dns).rcpt("<b@x.test>");
        assert_eq!((found.code(), found.reply()), (code, reply), "{dns}: {}", found.text());
    }
    // Nobody asks about what is not to be taken anyway.
    let mut trial = trial("", "x.test MX failed");
    trial.session.connection.relay_client = false;
    assert_eq!(trial.rcpt("<b@x.test>").text(), "Relaying denied (#5.7.1)");
}

#[test]
fn exchangers_are_tried_until_one_takes_the_message() {
    let peer = Peer::start(
        "+ 220 p\n- EHLO mx.test\n+ 250 p\n- MAIL FROM:<a@example.net>\n+ 250 ok\n\
         - RCPT TO:<b@x.test>\n+ 250 ok\n- DATA\n+ 354 go\n*\n+ 250 4XYZ\n- QUIT\n+ 221 bye\n",
    );
    let dns = "x.test MX 20 good.test\nx.test MX 10 dead.test\nx.test MX 5 gone.test\n\
        good.test A 127.0.0.1\ndead.test A 127.0.0.2\ngone.test A failed";
    let mut trial = trial(&format!("x.test::{}", peer.port), dns);
    assert_eq!(trial.rcpt("<b@x.test>").code(), Code::Ok);
    trial.message("Subject: x\n\n");
    assert_eq!(trial.plain(Hook::Queue), Verdict::ok("queued as 4XYZ"), "{}", trial.log());
    peer.end();
    let (log, port) = (trial.log(), trial.session.config("smtproutes"));
    let port = port.first().unwrap().rsplit(':').next().unwrap().to_owned();
    assert!(log.contains(&format!("forwarding to dead.test[127.0.0.2]:{port}")), "{log}");
    let done = format!("finished queueing: 250 4XYZ (good.test[127.0.0.1]:{port}, in the clear)");
    assert!(log.contains(&done), "{log}");
}

#[test]
fn recipients_that_a_plugin_has_changed_are_not_lost() {
    let mut trial = trial("one.test:[192.0.2.7]\n:[192.0.2.8]", "");
    trial.rcpt("<a@one.test>");
    trial.session.transaction.add_recipient(Address::new("b", "two.test"));
    let verdict = trial.plain(Hook::Queue);
    assert_eq!((verdict.code(), verdict.reply()), (Code::DenySoft, Some(451)));
    assert!(trial.log().contains("recipients go to 192.0.2.7:25 and to 192.0.2.8:25"));
}

#[test]
fn wrong_lines_stop_the_start_and_later_leave_the_good_ones() {
    let line = "queue/smtp-forward smtproutes";
    let files = [("me", "mx.test"), ("smtproutes", "fine.test:mx.test\nx.test:a:b")];
    let error = Trial::load(line, &files).err().unwrap().to_string();
    let wrong = "smtproutes:2: queue/smtp-forward: not a port: 'b'";
    assert!(error.ends_with(wrong), "{error}");
    let mut trial = trial("x.test:[192.0.2.7]", "");
    trial.set_config("smtproutes", "x.test:[192.0.2.8]\ny.test");
    trial.rcpt("<a@x.test>");
    assert_eq!(trial.rcpt("<b@x.test>").code(), Code::Ok);
    trial.session.transaction.set_recipients(vec![]);
    assert_eq!(trial.rcpt("<b@y.test>").reply(), Some(550), "by MX, and there is none");
    let log = trial.log();
    assert!(log.contains("smtproutes:2: the routes of before stay in use: no colon"), "{log}");
}

#[test]
fn wrong_arguments_stop_the_start() {
    for (arguments, error) in [
        ("dane perhaps", "argument dane has the value 'perhaps' (expected: 0, 1)"),
        ("tls first", "'tls first' is for a named server, not for smtproutes"),
        ("127.0.0.1", "unexpected argument '127.0.0.1' with smtproutes"),
        ("xclient", "unexpected argument 'xclient' with smtproutes"),
        ("auth_user a auth_password_file b", "unexpected argument 'auth_user' with smtproutes"),
    ] {
        let line = format!("queue/smtp-forward smtproutes {arguments}");
        let found = Trial::load(&line, &[]).err().unwrap().to_string();
        assert!(found.ends_with(error), "{found}");
    }
}
