//! A filter that uses every action: what comes of a message, and what the client is told, is the same
//! with us as with Postfix.

use std::fs;

use super::every;
use crate::harness::client::Reply;
use crate::harness::{Client, Config, Model, Server};
use crate::programs::postfix::Postfix;

/// The fields of the messages.
const FIELDS: &str = "From: a@example.net\r\nTo: b@example.com\r\n\
    Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-Id: <1@a.test>\r\nX-Twice:   one\r\n\
    Received: from elsewhere\r\n\tby nowhere; Thu, 01 Jan 2026 00:00:00 +0000\r\n\
    X-Folded:\r\n one\r\n\ttwo\r\nX-Twice: two\r\nSubject:no blank\r\nX-Tab:\t x\r\nX-Empty:\r\nx-lower: a\r\n";

/// What comes of a message: the replies that are no 250, or 354, the message below the lines of the
/// server, and the envelope.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    replies: Vec<String>,
    message: Option<String>,
    envelope: Vec<String>,
}

/// Says all of a message's commands; the replies that refuse, and the last one.
fn deliver(client: &mut Client, from: &str, to: &[&str], message: &[u8]) -> (Vec<String>, Reply) {
    let mut refused = vec![];
    let mut commands = vec![format!("MAIL FROM:{from}")];
    commands.extend(to.iter().map(|to| format!("RCPT TO:{to}")));
    commands.push("DATA".into());
    for command in commands {
        client.say(&command);
        let reply = client.reply();
        if !matches!(reply.code.as_str(), "250" | "354") {
            refused.extend(reply.lines.iter().cloned());
            if !command.starts_with("RCPT") {
                client.ask("RSET", "250");
                return (refused, reply);
            }
        }
    }
    client.send_raw(message);
    client.send_raw(b".\r\n");
    let reply = client.reply();
    if reply.code != "250" {
        refused.extend(reply.lines.iter().cloned());
    }
    (refused, reply)
}

/// A message as it is kept, with one line in the place of the Received field of the server.
fn without_trace(message: &str) -> String {
    let mut lines = vec![];
    let mut is_trace = false;
    for line in message.split('\n') {
        let is_fold = line.starts_with([' ', '\t']);
        is_trace = is_trace && is_fold;
        if line.starts_with("Received: from") && !line.starts_with("Received: from elsewhere") {
            is_trace = true;
            lines.push("Received: OURS");
        } else if !is_trace {
            lines.push(line);
        }
    }
    lines.join("\n")
}

fn with_us(config: &Config, client: &mut Client, case: &Case) -> Outcome {
    let (replies, _) = deliver(client, case.0, case.1, &case.2);
    let mails = config.take_mails();
    assert!(mails.len() < 2);
    let Some(mail) = mails.first().map(|mail| String::from_utf8_lossy(mail).into_owned()) else {
        return Outcome { replies, message: None, envelope: vec![] };
    };
    let of = |name: &str| {
        let lines = mail.lines().filter_map(move |line| line.strip_prefix(name));
        lines.map(|path| path.trim_matches(['<', '>']).to_owned()).collect::<Vec<_>>()
    };
    let (sender, mut recipients) = (of("Return-Path: "), of("Delivered-To: "));
    recipients.sort();
    let is_added =
        |line: &&str| !line.starts_with("Return-Path") && !line.starts_with("Delivered-To");
    let rest: Vec<&str> = mail.split('\n').filter(is_added).collect();
    let envelope = [sender, recipients].concat();
    Outcome { replies, message: Some(without_trace(&rest.join("\n"))), envelope }
}

fn with_postfix(postfix: &Postfix, client: &mut Client, case: &Case) -> Outcome {
    let before = postfix.count();
    let (replies, reply) = deliver(client, case.0, case.1, &case.2);
    if postfix.count() == before {
        return Outcome { replies, message: None, envelope: vec![] };
    }
    // A message for nobody is taken, and forgotten later.
    let is_for_nobody = |envelope: &[String]| envelope.len() < 2;
    let id = reply.lines[0].rsplit(' ').next().unwrap();
    let mail = String::from_utf8_lossy(&postfix.postcat("-bh", id)).into_owned();
    let mut envelope = postfix.envelope(id);
    if is_for_nobody(&envelope) {
        return Outcome { replies, message: None, envelope: vec![] };
    }
    envelope[1..].sort();
    Outcome { replies, message: Some(without_trace(&mail)), envelope }
}

/// Sender, recipients, message.
type Case = (&'static str, &'static [&'static str], Vec<u8>);

/// The messages, each with what the filter is to do.
fn cases() -> Vec<Case> {
    let told = |words: &str| {
        format!("{FIELDS}X-Do: {words}\r\n\r\ntext\r\n\r\n..dot\r\n \r\nend\r\n\r\n").into_bytes()
    };
    let to: &[&str] = &["<b@example.com>"];
    let words = [
        "nothing",
        "add",
        "insert0",
        "insert1",
        "insert2",
        "insert3",
        "insert90",
        "change",
        "remove",
        "change-none",
        "change-received",
        "body",
        "empty",
        "sender",
        "more",
        "less more",
        "less",
        "insert0 insert1 insert2 add remove change",
        "progress add",
        "accept",
        "reject",
        "tempfail",
        "discard",
        "reply",
        "reply-later",
        "lines",
        "at-header reject",
        "at-header reply",
        "at-header accept",
        "at-header discard",
        "at-eoh tempfail",
        "at-eoh discard",
        "at-body lines",
        "at-body discard",
        "at-body accept",
        "add reject",
    ];
    let mut cases: Vec<Case> =
        words.iter().map(|words| ("<a@example.net>", to, told(words))).collect();
    let two: &[&str] = &["<b@example.com>", "<c@example.com>"];
    cases.push(("<>", two, told("less")));
    for from in ["reject", "tempfail", "reply", "reply-later", "lines", "accept", "discard"] {
        let path: &'static str = Box::leak(format!("<{from}.1@example.net>").into_boxed_str());
        cases.push((path, to, told("reject")));
    }
    for rcpt in ["reject", "tempfail", "reply", "lines", "accept", "discard"] {
        let path: &'static str = Box::leak(format!("<{rcpt}.1@example.com>").into_boxed_str());
        let both: &'static [&'static str] = Box::leak(Box::new(["<b@example.com>", path]));
        cases.push(("<a@example.net>", both, told("add")));
    }
    cases.push(("<a@example.net>", to, b"no header section\r\n\r\nat all\r\n".to_vec()));
    cases.push(("<a@example.net>", to, b"no header section\r\n".to_vec()));
    cases.push(("<a@example.net>", to, b"\r\n".to_vec()));
    cases.push(("<a@example.net>", to, format!("{FIELDS}\r\n").into_bytes()));
    cases.push((
        "<a@example.net>",
        to,
        format!("{FIELDS}\r\n{}", "0123456789abcdef\r\n".repeat(9000)).into_bytes(),
    ));
    cases
}

#[test]
fn messages_and_replies_are_those_of_postfix() {
    for leading in ["", "leading"] {
        let words: &[&str] = if leading.is_empty() { &[] } else { &["leading"] };
        let keep = Config::new();
        let Some(filter) = every(&keep, words) else { return };
        let plugins = format!(
            "milter every inet:{}@127.0.0.1\nrcpt_ok\nqueue/maildir {{work}}/Maildir",
            filter.port
        );
        let config = Config::new()
            .set("plugins", &plugins)
            .set("me-auth-results", "none")
            .set("me", "mx.test")
            .set("databytes", "1000000");
        let main = format!(
            "smtpd_milters = inet:127.0.0.1:{}\nmilter_default_action = tempfail\n\
             smtpd_discard_ehlo_keywords = chunking\nlocal_header_rewrite_clients =\n\
             always_add_missing_headers = no\n",
            filter.port
        );
        let Some(postfix) = Postfix::start_with(&config, &main, "") else { return };
        let server = Server::start(&config, Model::Prefork);
        let told = keep.path("told");
        let log = |from: usize| fs::read_to_string(&told).unwrap()[from..].to_owned();
        let (mut ours, mut theirs) = (server.connect(), server.connect_to(postfix.smtpd()));
        ours.hello();
        theirs.hello();
        let mut different = vec![];
        for case in cases() {
            let shown = String::from_utf8_lossy(&case.2[..case.2.len().min(600)]).into_owned();
            let from = log(0).len();
            let outcome = with_us(&config, &mut ours, &case);
            let between = log(0).len();
            let of_postfix = with_postfix(&postfix, &mut theirs, &case);
            let what = format!("{leading} {} {:?}\n{shown}", case.0, case.1);
            // Postfix adds an empty line above a text that begins without one.
            if outcome != of_postfix && !case.2.starts_with(b"no header") {
                different.push(format!("{what}\nours   {outcome:?}\ntheirs {of_postfix:?}"));
            }
            let (heard, of_postfix) = (log(from)[..between - from].to_owned(), log(between));
            let (heard, of_postfix) = (seen(&heard), seen(&of_postfix));
            if heard != of_postfix {
                different.push(format!("{what}\nours   {heard:#?}\ntheirs {of_postfix:#?}"));
            }
        }
        assert!(different.is_empty(), "{}\n{}", different.join("\n"), server.log().tail());
        ours.quit();
        theirs.quit();
        drop(postfix);
        server.stop().unwrap();
    }
}

/// What the filter was told of the message, without what each server has of its own: when a
/// conversation ends, and the parameters that only one of them has.
fn seen(log: &str) -> Vec<String> {
    let is_own =
        |line: &&str| ["abort", "close"].iter().any(|word| line.contains(&format!("[\"{word}\"")));
    log.lines().filter(|line| !is_own(line)).map(str::to_owned).collect()
}
