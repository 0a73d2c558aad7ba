//! Dialogues whose end the record tells.

use std::time::Duration;

use super::people::{capture, explain, release, take_over};
use super::*;
use crate::hook::{Hook, NAUGHTY, WHITELISTHOST, WHITELISTSENDER};
use crate::testing::Trial;

const NOW: u64 = 1_800_000_000;

/// A connection from `ip`, of which nothing else in this process knows.
fn trial(line: &str, ip: &str) -> Trial {
    let files = [("karma_tlds", "work:-4\nfr:+1\nCO.UK:2\nnonsense\nx:y\n.biz: -2\n")];
    let trial = Trial::new(line, &files).from_ip(ip);
    trial.set_clock(NOW);
    trial
}

fn known(trial: &Trial, key: &str) -> Option<String> {
    trial.store("karma").get(key).unwrap()
}

/// A connection of that karma, with a message or without; the record after it.
fn connection(trial: &mut Trial, karma: i64, is_message: bool) -> String {
    trial.session.connection.notes.clear();
    trial.plain(Hook::Connect);
    trial.session.connection.notes.set(KARMA, karma);
    if is_message {
        trial.plain(Hook::QueuePost);
    }
    trial.plain(Hook::Disconnect);
    let key = trial.session.connection.remote_ip.to_string();
    known(trial, &key).unwrap_or_default()
}

fn is(verdict: &Verdict, code: Code, text: &str) {
    assert_eq!((verdict.code(), verdict.text()), (code, text));
}

#[test]
fn naughty_and_nice_connections_are_counted() {
    let mut trial = trial("karma", "192.0.2.10");
    assert_eq!(connection(&mut trial, 0, true), "");
    assert!(trial.take_log().contains("(connect) karma: pass, no record"));
    assert_eq!(connection(&mut trial, 2, true), "0:0:0:1");
    assert!(trial.take_log().contains("(disconnect) karma: neutral, (msg: 2, his: 0)"));
    assert_eq!(connection(&mut trial, 3, true), "0:0:1:2");
    assert!(trial.take_log().contains("(disconnect) karma: positive, (msg: 3, his: 1)"));
    assert_eq!(connection(&mut trial, 3, false), "0:0:1:3");
    assert_eq!(connection(&mut trial, -3, true), "0:1:1:4");
    let log = trial.take_log();
    assert!(log.contains("karma: pass, no penalty (0 naughty, 1 nice, 3 connects)"), "{log}");
    assert!(log.contains("(disconnect) karma: negative, (msg: -3, his: 0)"));
    assert_eq!(connection(&mut trial, -9, false), format!("{NOW}:2:1:5"));
    assert!(trial.take_log().contains("negative, sent to penalty box, (msg: -9, his: -1)"));
    assert_eq!(trial.session.connection.notes.get(KARMA_HISTORY), Some(0));
}

#[test]
fn strikes_say_what_is_naughty_and_nice() {
    let mut trial = trial("karma strikes 5 negative 2", "192.0.2.11");
    for (karma, record) in [(-4, "0:0:0:1"), (4, "0:0:0:2"), (5, "0:0:1:3"), (-5, "0:1:1:4")] {
        assert_eq!(connection(&mut trial, karma, true), record);
    }
    assert_eq!(connection(&mut trial, -5, true), "0:2:1:5");
    assert_eq!(connection(&mut trial, -5, true), format!("{NOW}:3:1:6"));
}

#[test]
fn who_was_naughty_is_refused_until_the_penalty_is_over() {
    let text = "You were naughty. You cannot connect for 0.75 more days.";
    for (line, ip, code) in [
        ("karma reject 1", "192.0.2.12", Code::DenyDisconnect),
        ("karma reject connect reject_type temp", "192.0.2.13", Code::DenySoft),
        ("karma", "192.0.2.14", Code::Declined),
        ("karma reject naughty penalty_box 1 db_dir /x nfslock 1", "192.0.2.15", Code::Declined),
        ("karma reject 0", "192.0.2.16", Code::Declined),
    ] {
        let mut trial = trial(line, ip);
        connection(&mut trial, -3, false);
        trial.set_clock(NOW + 86400 / 4);
        trial.session.connection.notes.clear();
        trial.take_log();
        let verdict = trial.plain(Hook::Connect);
        is(&verdict, code, if code.is_deny() { text } else { "" });
        let marked = trial.session.connection.notes.get(NAUGHTY);
        let is_marked = line == "karma" || line.contains("naughty");
        assert_eq!(marked.as_deref(), is_marked.then_some(text), "{line}");
        let log = trial.take_log();
        let words = match line {
            "karma reject 0" => "fail, tolerated, -1",
            _ if is_marked => "fail, NAUGHTY, -1",
            _ => "fail, -1",
        };
        assert!(log.contains(&format!("(connect) karma: {words}")), "{log}");
        // This connection is no further naughty one, however often it comes.
        trial.plain(Hook::Disconnect);
        assert_eq!(known(&trial, ip), Some(format!("{NOW}:1:0:2")));
        trial.set_clock(NOW + 86400);
        trial.session.connection.notes.clear();
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        assert!(trial.log().contains("pass, penalty expired (1 naughty, 0 nice, 2 connects)"));
    }
}

#[test]
fn the_plugin_naughty_refuses_who_was_naughty() {
    let mut trial = trial("karma\nnaughty reject rcpt reject_type temp", "192.0.2.17");
    connection(&mut trial, -3, false);
    trial.plain(Hook::Connect);
    let verdict = trial.rcpt("<b@example.com>");
    let text = "You were naughty. You cannot connect for 1.00 more days.";
    is(&verdict, Code::DenyDisconnect, text);
}

#[test]
fn who_another_plugin_marks_is_naughty() {
    let mut trial = trial("karma", "192.0.2.18");
    trial.plain(Hook::Connect);
    trial.session.connection.notes.set(NAUGHTY, "in a list".into());
    trial.plain(Hook::Disconnect);
    assert_eq!(known(&trial, "192.0.2.18"), Some(format!("{NOW}:1:0:1")));
}

#[test]
fn what_plugins_before_have_given_counts() {
    let mut trial = trial("karma", "192.0.2.19");
    trial.session.connection.notes.set(KARMA, -1);
    trial.plain(Hook::Connect);
    assert_eq!(trial.session.connection.notes.get(KARMA), Some(-1));
    assert_eq!(trial.session.connection.notes.get(KARMA_HISTORY), Some(0));
}

#[test]
fn what_counts_against_a_client_outlives_starttls() {
    for (karma, after) in [(-4, -4), (3, 0)] {
        let mut trial = trial("karma", "192.0.2.34");
        trial.plain(Hook::Connect);
        trial.session.remember_greeted();
        trial.session.connection.notes.set(KARMA, karma);
        trial.session.forget_client();
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(after));
    }
}

#[test]
fn a_very_good_history_is_a_good_start() {
    for (nice, karma) in [(10, 0), (11, 1)] {
        let mut trial = trial("karma", "192.0.2.20");
        let record = format!("0:0:{nice}:12");
        trial.store("karma").put("192.0.2.20", record, Duration::from_secs(60)).unwrap();
        trial.plain(Hook::Connect);
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(karma));
        assert_eq!(trial.session.connection.notes.get(KARMA_HISTORY), Some(nice));
    }
}

#[test]
fn our_own_clients_are_neither_counted_nor_refused() {
    let immunities: [fn(&mut Session); 3] = [
        |session| session.connection.relay_client = true,
        |session| session.connection.notes.set(WHITELISTHOST, "1".into()),
        |session| session.transaction.notes.set(WHITELISTSENDER, "1".into()),
    ];
    for immunity in immunities {
        let mut trial = trial("karma reject 1", "192.0.2.21");
        connection(&mut trial, -3, false);
        let before = known(&trial, "192.0.2.21");
        trial.session.connection.notes.clear();
        immunity(&mut trial.session);
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        trial.session.connection.notes.set(KARMA, -9);
        for path in ["<b@example.com>", "<c@example.com>"] {
            assert_eq!(trial.rcpt(path), DECLINED);
        }
        assert_eq!(trial.plain(Hook::Data), DECLINED);
        trial.plain(Hook::Disconnect);
        assert_eq!(known(&trial, "192.0.2.21"), before);
    }
}

#[test]
fn a_network_of_ipv6_is_one_client() {
    let mut trial = trial("karma reject 1", "2001:db8:1:2:3::4");
    connection(&mut trial, -3, false);
    assert_eq!(known(&trial, "2001:db8:1:2::"), Some(format!("{NOW}:1:0:1")));
    trial = trial.from_ip("2001:db8:1:2:ffff::1");
    trial.session.connection.notes.clear();
    assert!(trial.plain(Hook::Connect).code().is_deny());
    trial = trial.from_ip("2001:db8:1:3::4");
    trial.session.connection.notes.clear();
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
}

#[test]
fn a_message_has_one_recipient_unless_karma_or_history_are_good() {
    let text = "too many recipients for karma 0 (h: 0) (#4.5.3)";
    let mut trial = trial("karma", "192.0.2.22");
    trial.plain(Hook::Connect);
    assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
    let verdict = trial.rcpt("<c@example.com>");
    is(&verdict, Code::DenySoft, text);
    assert_eq!(verdict.reply(), Some(452));
    assert!(trial.take_log().contains("recipients c: 2 (<c@example.com>)"));
    assert_eq!(trial.session.connection.notes.get(RECIPIENT_COUNT), Some(2));
    trial.session.connection.notes.set(KARMA, 1);
    assert_eq!(trial.rcpt("<c@example.com>"), DECLINED);
    trial.session.connection.notes.set(KARMA, -7);
    assert!(trial.rcpt("<c@example.com>").code().is_deny());
    trial.session.connection.notes.set(KARMA_HISTORY, 1);
    assert_eq!(trial.rcpt("<c@example.com>"), DECLINED);
    let log = trial.take_log();
    assert!(log.contains("info, good connection") && log.contains("info, good history"));

    let mut trial = self::trial("karma reject 0", "192.0.2.23");
    trial.plain(Hook::Connect);
    for path in ["<b@example.com>", "<c@example.com>"] {
        assert_eq!(trial.rcpt(path), DECLINED);
    }
    assert!(trial.log().contains("fail, tolerated, too many recipients for karma 0 (h: 0)"));
}

#[test]
fn very_bad_connections_are_not_heard_to_the_end() {
    for hook in [Hook::Data, Hook::DataPost] {
        let mut trial = trial("karma reject 1", "192.0.2.24");
        trial.plain(Hook::Connect);
        trial.session.connection.notes.set(KARMA, -4);
        assert_eq!(trial.plain(hook), DECLINED);
        trial.session.connection.notes.set(KARMA, -5);
        is(&trial.plain(hook), Code::DenyDisconnect, "very bad karma: -5");
        trial.session.connection.notes.set(NAUGHTY, "in a list".into());
        assert_eq!(trial.plain(hook), DECLINED);
    }
}

#[test]
fn domains_of_senders_count() {
    for (sender, karma) in [
        ("<a@example.work>", -4),
        ("<a@EXAMPLE.Work>", -4),
        ("<a@work>", 0),
        ("<a@homework>", 0),
        ("<a@x.co.uk>", 2),
        ("<a@x.fr>", 1),
        ("<a@x.biz>", -2),
        ("<>", 0),
    ] {
        let mut trial = trial("karma", "192.0.2.25");
        trial.plain(Hook::Connect);
        assert_eq!(trial.mail(sender), DECLINED);
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(karma), "{sender}");
        let log = trial.log();
        assert!(log.contains("karma_tlds:4: no DOMAIN:NUMBER"), "{log}");
        assert!(log.contains("karma_tlds:5: not a number: 'y'"), "{log}");
        let line = "adjusting karma for .work envelope sender";
        assert_eq!(log.contains(line), karma == -4);
    }
}

#[test]
fn addresses_stand_right_behind_the_colon() {
    for (argument, karma) in [
        ("FROM:<a@example.com>", 0),
        ("from:<a@example.com> SIZE=9", 0),
        ("FROM: <a@example.com>", -2),
        ("FROM:a@example.com", -2),
        ("FR\u{d6}M:", -2),
    ] {
        let mut trial = trial("karma", "192.0.2.26");
        trial.plain(Hook::Connect);
        trial.session.connection.notes.set(ENVELOPE_FROM, argument.into());
        trial.mail("<a@example.com>");
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(karma), "{argument}");
        let argument = argument.replace("FROM", "TO").replace("from", "To");
        trial.session.connection.notes.set(ENVELOPE_RCPT, argument.clone());
        trial.rcpt("<a@example.com>");
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(karma * 2), "{argument}");
    }
}

#[test]
fn the_parent_knows_how_many_connections_are_allowed() {
    let mut trial = trial("karma", "192.0.2.27");
    let max = |trial: &Trial, max| {
        trial.session.plugins().max_from_ip(trial.session.connection.remote_ip, max)
    };
    assert_eq!(max(&trial, 5), 5);
    connection(&mut trial, 0, true);
    assert_eq!(max(&trial, 5), 1);
    for _ in 0..6 {
        assert!(max(&trial, 5) <= 5);
        connection(&mut trial, 3, true);
    }
    assert_eq!(max(&trial, 5), 8);
    // The users of an address that is not known share it.
    trial = trial.from_ip("192.0.2.28");
    trial.plain(Hook::Connect);
    assert_eq!(max(&trial, 5), 1);
    trial.session.connection.relay_client = true;
    trial.session.connection.auth_user = Some("me".into());
    trial.plain(Hook::Disconnect);
    trial.session.connection.relay_client = false;
    trial.plain(Hook::Connect);
    assert_eq!(max(&trial, 5), 5);
    // Who only tries it out limits nothing.
    let mut trial = self::trial("karma reject 0", "192.0.2.29");
    connection(&mut trial, -3, true);
    assert_eq!(max(&trial, 5), 5);
}

#[test]
fn without_the_store_nothing_is_known_of_anybody() {
    let mut trial = trial("karma reject 1", "192.0.2.30");
    connection(&mut trial, -3, false);
    trial.break_store();
    trial.session.connection.notes.clear();
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    trial.session.connection.notes.set(KARMA, -3);
    assert_eq!(trial.plain(Hook::Disconnect), DECLINED);
    assert_eq!(trial.log().matches("the store is not available").count(), 1);
}

#[test]
fn a_record_is_forgotten_in_the_end() {
    let mut trial = trial("karma keep_days 2", "192.0.2.31");
    connection(&mut trial, -3, false);
    for (days, is_known) in [(2, true), (3, false)] {
        trial.set_clock(NOW + days * 86400);
        assert_eq!(known(&trial, "192.0.2.31").is_some(), is_known);
    }
}

#[test]
fn a_record_is_explained() {
    let mut trial = trial("karma", "192.0.2.32");
    connection(&mut trial, -3, false);
    let kept = trial.store("karma").entries().unwrap();
    let rules = Rules { negative: 1, penalty_days: 1.5, keep_days: 60 };
    let wanted = "refused for 1.50 more days; 1 naughty, 0 nice, 1 connects; \
        forgotten in 61 days if it does not come back";
    assert_eq!(explain(&kept[0], &rules), wanted);
}

#[test]
fn people_capture_and_release_addresses() {
    let trial = trial("karma penalty_days 2", "192.0.2.33");
    let rules = Rules { negative: 1, penalty_days: 2.0, keep_days: 60 };
    let table = trial.store("karma");
    let commands = trial.session.plugins().commands();
    let names: Vec<&str> = commands.iter().map(|(_, name, _)| *name).collect();
    assert_eq!(names, ["capture", "release", "import"]);
    let none = release(&table, "192.0.2.33", &rules).unwrap_err().to_string();
    assert_eq!(none, "nothing is known of 192.0.2.33");
    assert_eq!(capture(&table, "me", &rules).unwrap_err().to_string(), "not an IP: me");
    table.put("192.0.2.33", "0:0:4:5", Duration::from_secs(86400)).unwrap();
    let said = capture(&table, "192.0.2.33", &rules).unwrap();
    assert_eq!(said, "192.0.2.33: refused for 2.00 more days; 1 naughty, 4 nice, 5 connects");
    assert_eq!(known(&trial, "192.0.2.33"), Some(format!("{NOW}:1:4:5")));
    let said = release(&table, "192.0.2.33", &rules).unwrap();
    assert_eq!(said, "192.0.2.33: not refused; 0 naughty, 4 nice, 5 connects");
    assert!(capture(&table, "2001:db8::1:2:3:4", &rules).unwrap().starts_with("2001:db8::: "));
    assert_eq!(known(&trial, "2001:db8::"), Some(format!("{NOW}:1:0:0")));
}

#[test]
fn records_of_perl_qpsmtpd_are_taken_over() {
    let rules = Rules { negative: 1, penalty_days: 1.0, keep_days: 60 };
    let now = Duration::from_secs(NOW);
    for (key, value, taken) in [
        ("3221225985", "1799990000:0:2:9", Some(("192.0.2.1", "1799990000:0:2:9"))),
        ("3221225985", "0::1:2", Some(("192.0.2.1", "0:0:1:2"))),
        ("42540766411282592856903984951653826564", "0:1:0:1", Some(("2001:db8::", "0:1:0:1"))),
        ("3221225985", "", None),
        ("3221225985", "nonsense", None),
        ("nonsense", "0:0:1:2", None),
    ] {
        let found = take_over(key, value, now, &rules);
        let found = found.as_ref().map(|taken| (&*taken.key, &*taken.value));
        assert_eq!(found, taken, "{key} {value}");
    }
}

#[test]
fn arguments_that_mean_nothing_stop_the_start() {
    for line in [
        "karma negative x",
        "karma strikes -1",
        "karma penalty_days -1",
        "karma penalty_days NaN",
        "karma keep_days",
        "karma limit 3",
    ] {
        assert!(Trial::load(line, &[]).is_err(), "{line}");
    }
    assert!(Trial::load("karma negative 0 strikes 0 penalty_days 0.5 loglevel 4", &[]).is_ok());
}
