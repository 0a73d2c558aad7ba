use super::*;
use crate::hook::{Hook, KARMA};
use crate::testing::Trial;

const DNS: &str = "friend.example TXT v=spf1 ip4:192.0.2.1 -all\n\
    other.example TXT v=spf1 -all\nours.example TXT v=spf1 ip4:192.0.2.1 -all";

fn trial() -> Trial {
    let trial = Trial::new("penpals days 3", &[("rcpthosts", "ours.example")]).with_dns(DNS);
    trial.set_clock(1_000_000);
    trial
}

/// A message of one of our users.
fn send(trial: &mut Trial, sender: &str, recipients: &[&str], header: &str) {
    trial.session.connection.relay_client = true;
    trial.mail(sender);
    for recipient in recipients {
        trial.rcpt(recipient);
    }
    trial.message(&format!("{header}From: u@ours.example\n\nHello\n"));
    trial.plain(Hook::QueuePost);
    trial.session.transaction.clear();
    trial.session.connection.relay_client = false;
}

/// Is that sender known at MAIL?
fn is_known(trial: &mut Trial, sender: &str) -> bool {
    assert_eq!(trial.mail(sender), DECLINED);
    let is_known = trial.session.transaction.notes.is_true(PENPAL);
    let karma = trial.session.connection.notes.get(KARMA).unwrap_or(0);
    assert_eq!(karma, if is_known { 2 } else { 0 });
    trial.session.connection.notes.clear();
    trial.session.transaction.clear();
    is_known
}

#[test]
fn whom_our_users_write_to_is_known_for_a_while() {
    let mut trial = trial();
    assert!(!is_known(&mut trial, "<a@friend.example>"));
    send(&mut trial, "<u@ours.example>", &["<A@Friend.example>", "<v@ours.example>"], "");
    assert!(is_known(&mut trial, "<a@friend.example>"));
    assert!(!is_known(&mut trial, "<b@friend.example>"));
    assert!(!is_known(&mut trial, "<v@ours.example>"));
    trial.set_clock(1_000_000 + 3 * 86400);
    assert!(!is_known(&mut trial, "<a@friend.example>"));
}

#[test]
fn a_forged_sender_is_not_known() {
    let mut trial = trial();
    send(&mut trial, "<u@ours.example>", &["<a@friend.example>", "<a@other.example>"], "");
    assert!(!is_known(&mut trial, "<a@other.example>"));
    assert!(trial.take_log().contains("but it may be forged"));
    let mut trial = trial.from_ip("198.51.100.1");
    assert!(!is_known(&mut trial, "<a@friend.example>"));
}

#[test]
fn what_spf_says_of_another_sender_does_not_count() {
    let mut trial = trial();
    send(&mut trial, "<u@ours.example>", &["<a@other.example>"], "");
    let passing = Address::new("x", "friend.example");
    trial.session.check_spf_of(Some(&passing));
    assert!(!is_known(&mut trial, "<a@other.example>"));
}

#[test]
fn a_signature_is_as_good_once_the_message_is_there() {
    for (domain, outcome, is_known) in [
        ("other.example", dkim::Outcome::Pass, true),
        ("example", dkim::Outcome::Pass, true),
        ("other.example", dkim::Outcome::Fail, false),
        ("her.example", dkim::Outcome::Pass, false),
        ("mail.other.example", dkim::Outcome::Pass, false),
        ("", dkim::Outcome::Pass, false),
    ] {
        let mut trial = trial();
        send(&mut trial, "<u@ours.example>", &["<a@other.example>"], "");
        trial.mail("<a@other.example>");
        trial.message("From: a@other.example\n\nHello\n");
        let finding = dkim::Finding {
            outcome,
            domain: domain.into(),
            selector: String::new(),
            identity: String::new(),
            algorithm: None,
            beginning: String::new(),
            reason: String::new(),
            testing: false,
        };
        trial.session.transaction.results.dkim = Some(vec![finding]);
        assert_eq!(trial.plain(Hook::DataPost), DECLINED);
        let notes = &trial.session.transaction.notes;
        assert_eq!(notes.get(PENPAL), is_known.then_some(1), "{domain}");
    }
}

#[test]
fn only_letters_of_our_own_users_count() {
    let many: Vec<String> = (0..51).map(|n| format!("<a{n}@friend.example>")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let one = ["<a0@friend.example>"];
    for (sender, recipients, header, counts) in [
        ("<u@ours.example>", &one[..], "", true),
        ("<u@ours.example>", &one, "Auto-Submitted: no\n", true),
        ("<u@ours.example>", &one, "Auto-Submitted: auto-replied (away)\n", false),
        ("<u@ours.example>", &one, "Precedence: Bulk\n", false),
        ("<u@ours.example>", &many, "", false),
        ("<>", &one, "", false),
        ("<x@elsewhere.example>", &one, "", false),
    ] {
        let mut trial = trial();
        send(&mut trial, sender, recipients, header);
        assert_eq!(is_known(&mut trial, "<a0@friend.example>"), counts, "{sender} {header}");
    }
    let mut user = trial();
    user.session.connection.auth_user = Some("u".into());
    send(&mut user, "<x@elsewhere.example>", &one, "");
    assert!(is_known(&mut user, "<a0@friend.example>"));
    let mut stranger = trial();
    stranger.mail("<u@ours.example>");
    stranger.rcpt("<a@friend.example>");
    stranger.message("From: u@ours.example\n\nHello\n");
    stranger.plain(Hook::QueuePost);
    stranger.session.transaction.clear();
    assert!(!is_known(&mut stranger, "<a@friend.example>"));
}

#[test]
fn answers_are_not_put_off() {
    let files = [("rcpthosts", "ours.example")];
    let mut trial = Trial::new("penpals\ngreylisting", &files).with_dns(DNS);
    assert!(trial.mail("<a@friend.example>").code().is_deny());
    send(&mut trial, "<u@ours.example>", &["<a@friend.example>"], "");
    assert_eq!(trial.mail("<a@friend.example>"), DECLINED);
    assert!(trial.log().contains("greylisting: skip, our users have written to the sender"));
}

#[test]
fn without_the_store_nobody_is_known() {
    let mut trial = trial();
    send(&mut trial, "<u@ours.example>", &["<a@friend.example>"], "");
    trial.break_store();
    assert!(!is_known(&mut trial, "<a@friend.example>"));
    send(&mut trial, "<u@ours.example>", &["<a@friend.example>"], "");
    assert!(Trial::load("penpals days x", &[]).is_err());
}
