use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;
use crate::hook::{Hook, KARMA};
use crate::testing::Trial;

const SPAM: &str = "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.2 / 5.0\r\n\r\n\
    X-Spam-Flag: YES\r\nX-Spam-Report: long\r\n\
    X-Spam-Status: Yes, score=15.2 required=5.0 tests=A,\r\n\tB autolearn=no\r\n\
    X-Spam-Prev-Subject: x\r\n\r\n";

const HAM: &str = "SPAMD/1.1 0 EX_OK\r\nSpam: False ; -1.5 / 5.0\r\n\r\n\
    X-Spam-Status: No, score=-1.5 required=5.0 autolearn=ham\r\n\r\n";

const MESSAGE: &str = "Subject: an offer\nX-Spam-Flag: NO\n\ntext\n";

/// A trial whose spamd answers once, and what that hears.
fn trial(args: &str, answer: &str) -> (Trial, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.to_owned();
    let spamd = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = vec![];
        let mut octet = [0];
        while !heard.ends_with(b"\r\ntext\r\n") && stream.read(&mut octet).unwrap_or(0) == 1 {
            heard.push(octet[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(heard).unwrap()
    });
    let mut trial = Trial::new(&format!("spamassassin spamd_socket 127.0.0.1:{port} {args}"), &[]);
    trial.mail("<a@example.net>");
    trial.rcpt("<b@example.com>");
    trial.message(MESSAGE);
    (trial, spamd)
}

fn header(trial: &Trial) -> String {
    let header = trial.session.transaction.header.to_bytes();
    String::from_utf8(header).unwrap().replace("\r\n", "\n")
}

#[test]
fn scores_refuse_from_the_limit_on() {
    let denied = Verdict::deny("spam score exceeded threshold");
    let later = Verdict::denysoft("spam score exceeded threshold");
    for (args, answer, verdict, log) in [
        ("", SPAM, DECLINED, "reject disabled (Spam, 15.2, learn=no)"),
        ("reject 0", SPAM, DECLINED, "reject disabled (Spam, 15.2, learn=no)"),
        ("reject 12", SPAM, denied.clone(), "fail, Spam, 15.2, > 12, learn=no"),
        ("reject 15.2", SPAM, denied.clone(), "fail, Spam, 15.2, > 15.2, learn=no"),
        ("reject_threshold 12", SPAM, denied.clone(), "fail, Spam, 15.2, > 12"),
        ("reject 12 reject_type temp", SPAM, later, "fail, Spam, 15.2, > 12"),
        ("reject 20", SPAM, DECLINED, "fail, tolerated, Spam, 15.2 < 20, learn=no"),
        ("reject userprefs", SPAM, denied, "fail, Spam, 15.2, > 5, learn=no"),
        ("reject userprefs", HAM, DECLINED, "pass, Ham, -1.5 < 5, learn=ham"),
        ("reject 12", HAM, DECLINED, "pass, Ham, -1.5 < 12, learn=ham"),
    ] {
        let (mut trial, spamd) = trial(args, answer);
        assert_eq!(trial.plain(Hook::DataPost), verdict, "{args}");
        assert!(trial.log().contains(log), "{args}: {}", trial.log());
        let karma = if answer == SPAM { -1 } else { 1 };
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(karma));
        let note = trial.session.transaction.notes.get(SPAMASSASSIN).unwrap();
        assert_eq!(note["score"], if answer == SPAM { "15.2" } else { "-1.5" });
        spamd.join().unwrap();
    }
}

#[test]
fn spamd_is_told_the_envelope_and_the_user() {
    for (args, user) in [
        ("spamd_user joe", "joe"),
        ("spamd_user vpopmail", "b@example.com"),
        ("spamd_user %l", "b"),
        ("spamd_user x-%u.%d", "x-b@example.com.example.com"),
    ] {
        let (mut trial, spamd) = trial(args, HAM);
        trial.plain(Hook::DataPost);
        let heard = spamd.join().unwrap();
        let message = format!("X-Envelope-From: <a@example.net>\n{MESSAGE}").replace('\n', "\r\n");
        let length = message.len();
        let want = format!(
            "HEADERS SPAMC/1.4\r\nContent-length: {length}\r\nUser: {user}\r\n\r\n{message}"
        );
        assert_eq!(heard, want);
    }
}

/// Too large, from somebody who is not asked about, or without a spamd.
#[test]
fn fields_of_others_are_distrusted_though_nobody_is_asked() {
    let forged = "Subject: x\nX-Spam-Status: No\nx-spam-LEVEL: *\n\ty\nX-Spam-Flag : YES\n\
        X-Spam-Score: -9\nX-Spam: no\nX-Spammer: me\nX-Spam-Status: No, again\n\ntext\n";
    let renamed = "Subject: x\nX-Old-Spam-Status: No\nX-Old-spam-LEVEL: *\n\ty\n\
        X-Old-Spam-Flag: YES\nX-Old-Spam-Score: -9\nX-Old-Spam: no\nX-Spammer: me\n\
        X-Old-Spam-Status: No, again\n";
    for (args, whitelisted, want) in [
        ("", false, renamed),
        ("size_limit 10", false, renamed),
        ("", true, renamed),
        ("leave_old_headers drop", false, "Subject: x\nX-Spammer: me\n"),
        ("leave_old_headers keep", false, forged.strip_suffix("\ntext\n").unwrap()),
        ("headers none", false, forged.strip_suffix("\ntext\n").unwrap()),
    ] {
        let line = format!("spamassassin spamd_socket {{dir}}/none {args}");
        let mut trial = Trial::new(&line, &[]);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        trial.message(forged);
        if whitelisted {
            trial.session.transaction.notes.set(crate::hook::WHITELISTSENDER, "1".into());
        }
        assert_eq!(trial.plain(Hook::DataPost), DECLINED);
        assert_eq!(header(&trial).trim_end_matches('\n'), want.trim_end_matches('\n'), "{args}");
    }
}

#[test]
fn fields_are_added_and_old_ones_distrusted() {
    let new = "X-Spam-Flag: YES\n\
        X-Spam-Status: Yes, score=15.2 required=5.0 tests=A,\n\tB autolearn=no\n";
    for (args, want) in [
        ("", format!("{new}Subject: an offer\nX-Old-Spam-Flag: NO\n")),
        ("leave_old_headers DROP", format!("{new}Subject: an offer\n")),
        ("leave_old_headers keep", format!("{new}Subject: an offer\nX-Spam-Flag: NO\n")),
        ("headers none", "Subject: an offer\nX-Spam-Flag: NO\n".to_owned()),
        (
            "munge_subject_threshold 15",
            format!("{new}Subject: *** SPAM *** an offer\nX-Old-Spam-Flag: NO\n"),
        ),
        (
            "munge_subject_threshold 1 subject_prefix [spam]",
            format!("{new}Subject: [spam] an offer\nX-Old-Spam-Flag: NO\n"),
        ),
        ("munge_subject_threshold 15.2", format!("{new}Subject: an offer\nX-Old-Spam-Flag: NO\n")),
    ] {
        let (mut trial, spamd) = trial(args, SPAM);
        assert_eq!(trial.plain(Hook::DataPost), DECLINED);
        assert_eq!(header(&trial), want, "{args}");
        spamd.join().unwrap();
    }
    let (mut two, spamd) = trial("spamd_user vpopmail munge_subject_threshold 1", HAM);
    two.rcpt("<c@example.com>");
    two.plain(Hook::DataPost);
    let want = "X-Spam-User: vpopmail, 2 recipients\n\
        X-Spam-Status: No, score=-1.5 required=5.0 autolearn=ham\n\
        Subject: an offer\nX-Old-Spam-Flag: NO\n";
    assert_eq!(header(&two), want);
    assert!(spamd.join().unwrap().contains("User: vpopmail\r\n"));
    let (mut prefixed, spamd) = trial("munge_subject_threshold 1", SPAM);
    prefixed.set_config("subject_prefix", "this is spam:");
    prefixed.plain(Hook::DataPost);
    assert!(header(&prefixed).contains("Subject: this is spam: an offer\n"));
    spamd.join().unwrap();
}

#[test]
fn without_an_answer_the_message_is_accepted() {
    let renamed = "Subject: an offer\nX-Old-Spam-Flag: NO\n";
    for answer in ["", "SPAMD/1.0 74 EX_IOERR\r\n", "SPAMD/1.1 0 EX_OK\r\nSpam: x\r\n\r\n"] {
        let (mut trial, spamd) = trial("reject 1", answer);
        assert_eq!(trial.plain(Hook::DataPost), DECLINED);
        spamd.join().unwrap();
        assert_eq!(header(&trial), renamed);
        assert!(trial.log().contains("skip, spamd: 127.0.0.1:"), "{}", trial.log());
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!("spamassassin spamd_socket 127.0.0.1:{port} timeout 1");
    let mut silent = Trial::new(&line, &[]);
    silent.message(MESSAGE);
    assert_eq!(silent.plain(Hook::DataPost), DECLINED);
    assert!(silent.log().contains("the back end does not answer"), "{}", silent.log());
}

#[test]
fn another_spamd_makes_up_for_one_that_is_away_and_without_any_the_arguments_decide() {
    let (mut two, spamd) = trial("spamd_socket {dir}/none reject 12", SPAM);
    assert_eq!(two.plain(Hook::DataPost).code(), Code::Deny, "{}", two.log());
    spamd.join().unwrap();
    for (args, code) in [
        ("", Code::Declined),
        ("on_error ignore", Code::Declined),
        ("on_error tempfail", Code::DenySoft),
    ] {
        let mut nobody = Trial::new(&format!("spamassassin spamd_socket {{dir}}/none {args}"), &[]);
        nobody.message(MESSAGE);
        let verdict = nobody.plain(Hook::DataPost);
        assert_eq!(
            (verdict.code(), verdict.is_failure()),
            (code, code == Code::DenySoft),
            "{args}"
        );
        assert_eq!(header(&nobody), "Subject: an offer\nX-Old-Spam-Flag: NO\n");
    }
    let (mut several, spamd) = trial("spamd_user %l", HAM);
    several.rcpt("<c@example.com>");
    several.plain(Hook::DataPost);
    let own = User::from_uid(geteuid()).unwrap().unwrap().name;
    assert!(spamd.join().unwrap().contains(&format!("User: {own}\r\n")));
}

#[test]
fn some_messages_are_not_looked_at() {
    let mut large = Trial::new("spamassassin size_limit 10", &[]);
    large.message(MESSAGE);
    assert_eq!(large.plain(Hook::DataPost), DECLINED);
    assert!(large.log().contains("skip, too large (44)"), "{}", large.log());
    let mut relay = Trial::new("spamassassin relayclient skip", &[]);
    relay.session.connection.relay_client = true;
    relay.message(MESSAGE);
    assert_eq!(relay.plain(Hook::DataPost), DECLINED);
    assert!(relay.log().contains("skip, relay client"), "{}", relay.log());
}

#[test]
fn wrong_arguments_stop_the_start() {
    for (args, error) in [
        ("reject much", "argument reject has the value 'much' (expected: a score, userprefs)"),
        ("reject NaN", "argument reject has the value 'NaN'"),
        ("spamd_socket localhost", "no port in 'localhost'"),
        ("headers all", "argument headers has the value 'all' (expected: none)"),
        ("leave_old_headers no", "argument leave_old_headers has the value 'no'"),
        ("munge_subject_threshold x", "argument munge_subject_threshold has the value 'x'"),
        ("threshold 5", "unknown argument 'threshold'"),
    ] {
        let found = Trial::load(&format!("spamassassin {args}"), &[]).err().unwrap();
        assert!(found.to_string().contains(error), "{found}");
    }
    Trial::new("spamassassin spamd_socket /run/spamd.sock reject 12.5", &[]);
}
