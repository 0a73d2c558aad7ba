use super::*;
use crate::forward::{Peer, unable};
use crate::hook::{Code, DECLINED, Hook, Verdict};
use crate::mail::Address;
use crate::state::{Hello, Params};
use crate::testing::Trial;

const HELLO: &str = "+ 220 peer\n- EHLO mx.test\n+ 250-peer\n+ 250-PIPELINING\n\
    + 250-SIZE 1000000\n+ 250 8BITMIME\n";
const DATA: &str = "- DATA\n+ 354 go\n*\n";
const QUIT: &str = "- QUIT\n+ 221 bye\n";

const MESSAGE: &str = "Subject: hi\n\nline\n.\n..\n.dot\n";

/// A transaction from a@example.net to as many of b, c and d at example.com.
fn trial(args: &str, recipients: usize) -> Trial {
    let mut trial = Trial::new(&format!("queue/smtp-forward {args}"), &[("me", "mx.test")]);
    trial.mail("<a@example.net>");
    for recipient in &["<b@example.com>", "<c@example.com>", "<d@example.com>"][..recipients] {
        trial.rcpt(recipient);
    }
    trial.message(MESSAGE);
    trial
}

/// What the plugin makes of a back end that follows `script`, and what that received.
fn forward(script: &str, recipients: usize) -> (Verdict, Vec<u8>) {
    let peer = Peer::start(script);
    let mut trial = trial(&format!("127.0.0.1 {}", peer.port), recipients);
    let verdict = trial.plain(Hook::Queue);
    (verdict, peer.end())
}

fn args(line: &str) -> Result<Backend> {
    backend(&Args::new(line.split_whitespace()), &Config::new(vec![]))
}

fn endpoints(line: &str) -> Vec<String> {
    args(line).unwrap().endpoints.iter().map(Endpoint::to_string).collect()
}

#[test]
fn arguments_name_the_servers() {
    assert_eq!(endpoints("mx.test"), ["mx.test:25"]);
    assert_eq!(endpoints("10.2.2.2 9025 xclient"), ["10.2.2.2:9025"]);
    assert_eq!(
        endpoints("a 1 b:2 also c XCLIENT also d:3 [::1]:4 timeout 9"),
        ["a:1", "b:2", "c:25", "d:3", "[::1]:4"]
    );
    assert_eq!(endpoints("a tls may xclient"), ["a:25"]);
    assert!(args("a 1 dsn b:2").unwrap().dsn && !args("a xclient").unwrap().dsn);
    assert!(args("a xclient").unwrap().xclient && !args("a 1").unwrap().xclient);
}

#[test]
fn wrong_arguments_stop_the_start() {
    for (line, error) in [
        ("", "No SMTP server specified in smtp-forward config"),
        ("a@b", "Bad data in server: a@b"),
        ("a 0", "not a port: '0'"),
        ("a 70000", "not a port: '70000'"),
        ("a 25 fast", "Unknown flag fast"),
        ("a 25 26", "Unknown flag 26"),
        ("a also", "no server after 'also'"),
        ("a b:", "not a port: ''"),
        ("a tls", "argument tls has no value"),
        ("/run/smtp tls must", "there is no TLS over a socket in the file system: /run/smtp"),
    ] {
        assert_eq!(args(line).unwrap_err().to_string(), error, "{line}");
    }
}

#[test]
fn a_message_is_handed_over_byte_for_byte() {
    let script = format!(
        "{HELLO}- MAIL FROM:<a@example.net> SIZE=34\n- RCPT TO:<b@example.com>\n\
         + 250 ok\n+ 250 ok\n{DATA}+ 250 2.0.0 Ok: queued as 4XYZ\n{QUIT}"
    );
    let (verdict, received) = forward(&script, 1);
    assert_eq!(verdict, Verdict::ok("queued as 4XYZ"));
    let want = "Subject: hi\r\n\r\nline\r\n..\r\n...\r\n..dot\r\n";
    assert_eq!(String::from_utf8(received).unwrap(), want);
}

#[test]
fn a_server_that_knows_only_helo_gets_no_parameters_and_no_pipeline() {
    let script = format!(
        "+ 220 peer\n- EHLO mx.test\n+ 502 what?\n- HELO mx.test\n+ 250 peer\n\
         - MAIL FROM:<a@example.net>\n+ 250 ok\n- RCPT TO:<b@example.com>\n+ 250 ok\n\
         {DATA}+ 250 ok\n{QUIT}"
    );
    assert_eq!(forward(&script, 1).0, Verdict::ok("queued as ok"));
}

#[test]
fn what_the_client_declared_is_passed_on_where_it_is_offered() {
    let mail = "- MAIL FROM:<> SIZE=34 BODY=8BITMIME\n- RCPT TO:<b@example.com>\n";
    let peer = Peer::start(&format!("{HELLO}{mail}+ 550 no\n+ 503 no\n{QUIT}"));
    let mut trial = trial(&format!("127.0.0.1:{}", peer.port), 1);
    trial.session.transaction.set_sender(Address::null());
    trial.session.transaction.mail_params = Params::from_words(["body=8bitmime", "size=9"]);
    assert_eq!(trial.plain(Hook::Queue), Verdict::deny("no").with_reply(550));
}

#[test]
fn what_is_asked_about_notifications_goes_to_those_who_offer_it() {
    let asked = [" RET=HDRS ENVID=Q+2Bq", " NOTIFY=Success,DELAY ORCPT=rfc822;x+3D@y"];
    for (offer, [mail, rcpt]) in [("DSN", asked), ("HELP", ["", ""])] {
        let script = format!(
            "+ 220 p\n- EHLO mx.test\n+ 250-p\n+ 250 {offer}\n\
             - MAIL FROM:<a@example.net>{mail}\n+ 250 ok\n\
             - RCPT TO:<c@example.com>{rcpt}\n+ 250 ok\n\
             - RCPT TO:<d@example.com>\n+ 250 ok\n{DATA}+ 250 ok\n{QUIT}"
        );
        let peer = Peer::start(&script);
        let mut trial = trial(&format!("127.0.0.1 {} dsn", peer.port), 0);
        let transaction = &mut trial.session.transaction;
        let [b, c, d] = ["b", "c", "d"].map(|name| Address::new(name, "example.com"));
        transaction.mail_params = Params::from_words(asked[0].split_whitespace());
        let params = Params::from_words(asked[1].split_whitespace());
        transaction.accept_recipient(b.clone(), params);
        transaction.replace_recipient(&b, &[c]);
        transaction.add_recipient(d);
        assert_eq!(trial.plain(Hook::Queue), Verdict::ok("queued as ok"), "{}", trial.log());
        peer.end();
        let is_told = trial.log().contains("the back end does not offer DSN: ");
        assert_eq!(is_told, offer != "DSN", "{}", trial.log());
    }
}

#[test]
fn addresses_that_are_not_ascii_need_smtputf8() {
    let utf8 = "+ 220 p\n- EHLO mx.test\n+ 250-p\n+ 250 SMTPUTF8\n\
        - MAIL FROM:<\\xc3\\xa4@example.net> SMTPUTF8\n+ 250 ok\n\
        - RCPT TO:<b@example.com>\n+ 550 no\n";
    let mut verdicts = [utf8, HELLO].map(|script| {
        let peer = Peer::start(&format!("{script}{QUIT}"));
        let mut trial = trial(&format!("127.0.0.1 {}", peer.port), 1);
        trial.session.transaction.set_sender("<\u{e4}@example.net>".parse().unwrap());
        let verdict = trial.plain(Hook::Queue);
        peer.end();
        verdict
    });
    assert_eq!(verdicts[0], Verdict::deny("no").with_reply(550));
    let refused = std::mem::replace(&mut verdicts[1], DECLINED);
    assert_eq!((refused.code(), refused.reply()), (Code::Deny, Some(550)));
    assert!(refused.text().ends_with("(#5.6.7)"));
}

#[test]
fn refusals_keep_their_class_code_and_text() {
    let mail = "- MAIL FROM:<a@example.net> SIZE=34\n- RCPT TO:<b@example.com>\n";
    for (rest, verdict) in [
        ("+ 552 5.3.4 too big\n+ 503 no\n", Verdict::deny("too big (#5.3.4)").with_reply(552)),
        ("+ 450-4.7.1 not\n+ 450 4.7.1 now\n+ 503 no\n", {
            Verdict::denysoft("not\nnow (#4.7.1)").with_reply(450)
        }),
        ("+ 250 ok\n+ 550 5.1.1 who?\n", Verdict::deny("who? (#5.1.1)").with_reply(550)),
        ("+ 250 ok\n+ 421 going down\n", Verdict::denysoft("going down").with_reply(451)),
        ("+ 530 5.7.0 STARTTLS first\n+ 503 no\n", {
            unable("the back end refused this server", "4.3.5")
        }),
        ("+ 250 ok\n+ 250 ok\n- DATA\n+ 554 no\n", Verdict::deny("no").with_reply(554)),
        ("+ 250 ok\n+ 250 ok\n- DATA\n+ 250 ok\n", {
            unable("the back end gave a wrong answer", "4.5.0")
        }),
        ("+ 250 ok\n+ 250 ok\n- DATA\n+ 354 go\n*\n+ 554 5.7.1 spam\n", {
            Verdict::deny("spam (#5.7.1)").with_reply(554)
        }),
        ("+ 250 ok\n+ 250 ok\n- DATA\n+ 354 go\n*\n+ 452 full\n", {
            Verdict::denysoft("full").with_reply(452)
        }),
    ] {
        let (found, _) = forward(&format!("{HELLO}{mail}{rest}"), 1);
        assert_eq!(found, verdict, "{rest}");
    }
}

#[test]
fn all_recipients_must_be_accepted() {
    let rcpts = "- MAIL FROM:<a@example.net> SIZE=34\n- RCPT TO:<b@example.com>\n\
        - RCPT TO:<c@example.com>\n+ 250 ok\n";
    let partly = "Unable to queue message (<c@example.com> was refused: 550 who?) (#4.3.0)";
    for (replies, verdict) in [
        ("+ 250 ok\n+ 550 who?\n", Verdict::denysoft(partly).with_reply(451)),
        ("+ 551 gone\n+ 550 who?\n", Verdict::deny("gone").with_reply(551)),
        ("+ 550 who?\n+ 450 busy\n", Verdict::denysoft("busy").with_reply(450)),
    ] {
        let (found, _) = forward(&format!("{HELLO}{rcpts}{replies}{QUIT}"), 2);
        assert_eq!(found, verdict);
    }
}

#[test]
fn for_a_client_that_speaks_lmtp_some_may_be_accepted() {
    let script = format!(
        "{HELLO}- MAIL FROM:<a@example.net> SIZE=34\n- RCPT TO:<b@example.com>\n\
         - RCPT TO:<c@example.com>\n+ 250 ok\n+ 550 who?\n+ 250 ok\n{DATA}+ 250 4XYZ\n{QUIT}"
    );
    let peer = Peer::start(&script);
    let mut trial = trial(&format!("127.0.0.1 {}", peer.port), 2);
    trial.session.connection.hello = Some(Hello::Lhlo);
    assert_eq!(trial.plain(Hook::Queue), Verdict::ok("queued as 4XYZ"), "{}", trial.log());
    peer.end();
    let own = trial.session.recipient_verdicts();
    assert_eq!(own.len(), 1);
    assert_eq!(own[&0], Verdict::deny("who?").with_reply(550));
}

#[test]
fn a_server_that_breaks_off_gets_no_second_chance_from_us() {
    let mail = "- MAIL FROM:<a@example.net> SIZE=34\n- RCPT TO:<b@example.com>\n";
    let closed = unable("the back end closed the connection", "4.4.2");
    let wrong = unable("the back end gave a wrong answer", "4.5.0");
    for (rest, verdict) in [
        ("close\n", &closed),
        ("+ 250 ok\n+ 250 ok\n- DATA\nclose\n", &closed),
        ("+ 250 ok\n+ 250 ok\n- DATA\n+ 354 go\n*\nclose\n", &closed),
        ("+ hello\n", &wrong),
        ("+ 250-a\n+ 251 b\n", &wrong),
    ] {
        assert_eq!(forward(&format!("{HELLO}{mail}{rest}"), 1).0, *verdict, "{rest}");
    }
}

#[test]
fn a_server_that_stops_to_read_is_heard() {
    let script = format!(
        "{HELLO}- MAIL FROM:<a@example.net> SIZE=20000034\n- RCPT TO:<b@example.com>\n\
         + 250 ok\n+ 250 ok\n- DATA\n+ 354 go\n+ 554 5.7.1 I have seen enough\nhang\n"
    );
    let peer = Peer::start(&script);
    let mut trial = trial(&format!("127.0.0.1 {}", peer.port), 1);
    trial.message(&format!("{MESSAGE}{}", "x".repeat(20_000_000)));
    let seen = Verdict::deny("I have seen enough (#5.7.1)").with_reply(554);
    assert_eq!(trial.plain(Hook::Queue), seen);
}

#[test]
fn a_silent_server_is_waited_for_as_long_as_the_handler_may_take() {
    let peer = Peer::start(&format!("{HELLO}- MAIL FROM:<a@example.net> SIZE=34\nhang\n"));
    let mut trial = trial(&format!("127.0.0.1 {} timeout 1", peer.port), 1);
    let silent = unable("the back end does not answer", "4.4.2");
    assert_eq!(trial.plain(Hook::Queue), silent, "{}", trial.log());
    peer.end();
}

#[test]
fn servers_that_cannot_be_used_are_passed_over() {
    let good = format!(
        "{HELLO}- MAIL FROM:<a@example.net> SIZE=34\n- RCPT TO:<b@example.com>\n\
         + 250 ok\n+ 250 ok\n{DATA}+ 250 ok\n{QUIT}"
    );
    for bad in [
        "+ 554 no\nclose\n",
        "close\n",
        "+ 220 p\n- EHLO mx.test\n+ 421 no\nclose\n",
        "+ 220 p\n- EHLO mx.test\n+ 550 no\n- HELO mx.test\n+ 550 no\nclose\n",
    ] {
        let peer = Peer::start(&format!("{bad}{good}"));
        let port = peer.port;
        let mut trial = trial(&format!("127.0.0.1 1 127.0.0.1:{port} also 127.0.0.1:{port}"), 1);
        assert_eq!(trial.plain(Hook::Queue), Verdict::ok("queued as ok"), "{}", trial.log());
        peer.end();
    }
}

#[test]
fn without_a_server_the_next_plugin_is_asked() {
    let mut trial = trial("127.0.0.1 1", 1);
    let text = "Unable to queue message (the back end cannot be reached) (#4.4.1)";
    assert_eq!(trial.plain(Hook::Queue), Verdict::declined(text));
    assert!(trial.log().contains("refused (os error"), "{}", trial.log());
}

#[test]
fn the_server_is_told_about_the_client() {
    let script = "+ 220 p\n- EHLO mx.test\n+ 250-p\n+ 250 XCLIENT NAME ADDR HELO PROTO\n\
        - XCLIENT NAME=[UNAVAILABLE] HELO=client.test PROTO=SMTP ADDR=192.0.2.1\n+ 220 p\n\
        - EHLO client.test\n+ 250 p\n- MAIL FROM:<a@example.net>\n+ 250 ok\n\
        - RCPT TO:<b@example.com>\n+ 550 not from there\n";
    let peer = Peer::start(&format!("{script}{QUIT}"));
    let mut trial = trial(&format!("127.0.0.1 {} xclient", peer.port), 1);
    trial.session.connection.hello = Some(Hello::Helo);
    trial.session.connection.hello_host = "client.test".into();
    let verdict = trial.plain(Hook::Queue);
    assert_eq!(verdict, Verdict::deny("not from there").with_reply(550));
    peer.end();
}

#[test]
fn a_server_that_will_not_be_told_is_not_used() {
    for (script, why) in [
        ("", "Server does not advertise XCLIENT support"),
        ("- XCLIENT ADDR=192.0.2.1\n+ 550 no\n", "XCLIENT failed"),
        ("- XCLIENT ADDR=192.0.2.1\n+ 220 p\n- EHLO mx.test\n+ 421 no\n", {
            "HELLO after XCLIENT failed"
        }),
    ] {
        let offer = if script.is_empty() { "+ 250 NOOP" } else { "+ 250 XCLIENT ADDR" };
        let peer = Peer::start(&format!("+ 220 p\n- EHLO mx.test\n+ 250-p\n{offer}\n{script}"));
        let mut trial = trial(&format!("127.0.0.1 {} xclient", peer.port), 1);
        let text = format!("Unable to queue message ({why}) (#4.4.1)");
        assert_eq!(trial.plain(Hook::Queue), Verdict::declined(text));
    }
}
