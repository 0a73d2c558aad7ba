use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::*;
use crate::hook::{Hook, KARMA, NAUGHTY, WHITELISTSENDER};
use crate::state::Encryption;
use crate::testing::Trial;

const MESSAGE: &str =
    "From: a@example.net\nSubject: an offer\nX-Spam: No\nX-Spamd-Bar: -\n\ntext\n";

/// Reads a request: its lines, and its content.
fn request(stream: impl Read) -> Asked {
    let mut stream = BufReader::new(stream);
    let mut lines = vec![];
    loop {
        let mut line = vec![];
        stream.read_until(b'\n', &mut line).unwrap();
        let line = String::from_utf8(line).unwrap().trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let length = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut content = vec![0; length.unwrap()];
    stream.read_exact(&mut content).unwrap();
    (lines, content)
}

fn page(json: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{json}", json.len())
}

/// The lines of a request, and its content.
type Asked = (Vec<String>, Vec<u8>);

/// A server that answers so many requests; what it was asked.
fn server(answers: &[&str]) -> (String, JoinHandle<Vec<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let answers: Vec<String> = answers.iter().map(|answer| answer.to_string()).collect();
    let server = thread::spawn(move || {
        let answer = |answer: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let heard = request(&stream);
            // Whoever has heard enough closes the connection.
            let _ = stream.write_all(answer.as_bytes());
            heard
        };
        answers.into_iter().map(answer).collect()
    });
    (place, server)
}

fn loaded(line: &str) -> Trial {
    let mut trial = Trial::new(line, &[("me", "mx.test")]);
    trial.mail("<a@example.net>");
    trial.rcpt("<b@example.com>");
    trial.rcpt("<c@example.com>");
    trial.message(MESSAGE);
    trial
}

/// What comes of an answer.
fn asked(args: &str, json: &str) -> (Trial, Verdict) {
    let (place, server) = server(&[&page(json)]);
    let mut trial = loaded(&format!("rspamd {place} {args}"));
    let verdict = trial.plain(Hook::DataPost);
    server.join().unwrap();
    (trial, verdict)
}

fn header(trial: &Trial) -> String {
    let header = trial.session.transaction.header.to_bytes();
    String::from_utf8(header).unwrap().replace("\r\n", "\n")
}

const RENAMED: &str =
    "From: a@example.net\nSubject: an offer\nX-Old-Spam: No\nX-Old-Spamd-Bar: -\n";

#[test]
fn actions_are_carried_out() {
    let denied = |text| Verdict::deny(text).with_reply(554);
    let later = |text| Verdict::denysoft(text).with_reply(451);
    let usual = "Message rejected as spam (#5.7.1)";
    for (args, json, verdict, log) in [
        ("", r#"{"action":"no action","score":1.5,"required_score":15}"#, DECLINED, {
            "pass, no action (1.50/15.00)"
        }),
        ("", r#"{"action":"greylist"}"#, DECLINED, "pass, greylist (0.00/0.00)"),
        (
            "",
            r#"{"action":"greylist","messages":{"smtp_message":"in a while"}}"#,
            { later("in a while (#4.7.1)") },
            "fail, greylist",
        ),
        ("", r#"{"action":"soft reject"}"#, later("Try again later (#4.7.1)"), "fail, soft"),
        (
            "",
            r#"{"action":"soft reject","messages":{"smtp_message":"4.5.0 slow\nly"}}"#,
            { later("slow\nly (#4.5.0)") },
            "fail, soft reject",
        ),
        ("soft_reject 0", r#"{"action":"soft reject"}"#, DECLINED, "fail, tolerated, soft reject"),
        ("", r#"{"action":"reject","symbols":{"A":{},"B":{}}}"#, denied(usual), {
            "fail, reject (0.00/0.00) A,B"
        }),
        (
            "",
            r#"{"action":"reject","messages":{"smtp_message":"Gtube pattern"}}"#,
            { denied("Gtube pattern (#5.7.1)") },
            "fail, reject",
        ),
        (
            "reject_type temp",
            r#"{"action":"reject"}"#,
            { Verdict::denysoft(usual).with_reply(451) },
            "fail, reject",
        ),
        ("reject 0", r#"{"action":"reject"}"#, DECLINED, "fail, tolerated, reject"),
        ("reject naughty", r#"{"action":"reject"}"#, DECLINED, "fail, NAUGHTY, reject"),
        ("", r#"{"action":"add header"}"#, DECLINED, "fail, add header"),
        ("", r#"{"action":"quarantine"}"#, DECLINED, "quarantine, quarantine (0.00/0.00)"),
        ("", r#"{"action":"discard"}"#, DONE, "message discarded, discard (0.00/0.00)"),
        ("", r#"{"action":"reject","milter":{"no_action":true}}"#, DECLINED, {
            "pass, reject (0.00/0.00), which is only told"
        }),
    ] {
        let (trial, found) = asked(args, json);
        assert_eq!(found.code(), verdict.code(), "{args} {json}: {}", trial.log());
        if verdict.code().is_deny() {
            assert_eq!(found, verdict, "{args} {json}: {}", trial.log());
        }
        assert!(trial.log().contains(log), "{json}: {}", trial.log());
        let note = trial.session.transaction.notes.get(RSPAMD).unwrap();
        assert!(json.contains(&format!("\"{}\"", note["action"])), "{note:?}");
    }
}

#[test]
fn what_is_taken_is_marked() {
    let spam = format!("X-Spam: Yes\n{RENAMED}");
    let subject = RENAMED.replace("an offer", "[spam] n\\xe4h ?");
    let subject = subject.replace("\\xe4", "?");
    for (args, json, want) in [
        ("", r#"{"action":"no action"}"#, RENAMED.to_owned()),
        ("", r#"{"action":"add header"}"#, spam.clone()),
        ("reject 0", r#"{"action":"reject"}"#, spam.clone()),
        ("reject naughty", r#"{"action":"reject"}"#, spam),
        ("spam_header X-Junk", r#"{"action":"add header"}"#, format!("X-Junk: Yes\n{RENAMED}")),
        ("", r#"{"action":"add header","milter":{"spam_header":"Sure"}}"#, {
            format!("X-Spam: Sure\n{RENAMED}")
        }),
        ("", r#"{"action":"add header","milter":{"spam_header":{"X-A":"1"}}}"#, {
            format!("X-A: 1\n{RENAMED}")
        }),
        ("", "{\"action\":\"rewrite subject\",\"subject\":\"[spam] n\u{e4}h \u{e4}\"}", subject),
        ("headers none", r#"{"action":"add header"}"#, { RENAMED.replace("X-Old-", "X-") }),
        ("leave_old_headers drop", r#"{"action":"no action"}"#, {
            "From: a@example.net\nSubject: an offer\n".to_owned()
        }),
        ("", r#"{"action":"no action","milter":{"no_action":true,"add_headers":{"X-A":"1"}}}"#, {
            format!("{RENAMED}X-A: 1\n")
        }),
    ] {
        let (trial, _) = asked(args, json);
        assert_eq!(header(&trial), want, "{args} {json}");
    }
    let (trial, _) = asked("", r#"{"action":"quarantine","score":9,"symbols":{"ODD":{}}}"#);
    let why = "rspamd: quarantine (9.00/0.00) ODD";
    assert_eq!(trial.session.quarantined().as_deref(), Some(why));
    assert!(header(&trial).starts_with(&format!("X-Quarantine: {why}\n")), "{}", header(&trial));
    let (trial, verdict) = asked("", r#"{"action":"reject","milter":{"reject":"discard"}}"#);
    assert_eq!((verdict, trial.session.responses()), (DONE, &[(250, "Queued! ".to_owned())][..]));
    let (trial, _) = asked("reject naughty", r#"{"action":"reject"}"#);
    assert!(trial.session.connection.notes.is_true(NAUGHTY));
    assert_eq!(trial.session.connection.notes.get(KARMA), Some(-1));
}

#[test]
fn fields_are_removed_and_added_where_rspamd_says() {
    let json = r#"{"action":"no action","dkim-signature":["v=1; one","v=1; two"],"milter":{
        "remove_headers":{"x-two":-1,"X-Three":0,"X-One":2,"X-None":1,"From":-9},
        "add_headers":{"Z-Top":{"value":"z","order":0},"A-Second":{"value":"a","order":1},
        "X-Last":"l","X-Before":{"value":"b\r\n\tfolded\nX-Evil: 1","order":-2},
        "X-Far":{"value":"f","order":-99},"X-Huge":{"value":"h","order":9223372036854775807}}}}"#;
    let (place, server) = server(&[&page(json)]);
    let mut trial = loaded(&format!("rspamd {place}"));
    trial.message(
        "From: a@b\nX-One: 1\nX-One: 2\nX-Two: 1\nX-Two: 2\nX-Three: 1\nX-Three: 2\nTo: c\n\ntext\n",
    );
    assert_eq!(trial.plain(Hook::DataPost), DECLINED, "{}", trial.log());
    server.join().unwrap();
    let want = "DKIM-Signature: v=1; one\nDKIM-Signature: v=1; two\nX-Far: f\nZ-Top: z\n\
        A-Second: a\nFrom: a@b\nX-One: 1\nX-Two: 1\nTo: c\n\
        X-Before: b\n\tfolded\n X-Evil: 1\nX-Last: l\nX-Huge: h\n";
    assert_eq!(header(&trial), want);
}

#[test]
fn rspamd_is_told_all_that_is_known() {
    let (place, server) = server(&[&page(r#"{"action":"no action"}"#)]);
    let args = "settings_id strict mta_tag front";
    let mut trial = loaded(&format!("rspamd http://{place}/ {args}"));
    let connection = &mut trial.session.connection;
    connection.hello_host = "client.test\r\nUser: root".into();
    connection.auth_user = Some("joe\u{0}".into());
    connection.encryption = Some(Encryption {
        protocol: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        server_name: None,
        resumed: false,
    });
    trial.session.check_spf();
    trial.session.transaction.results.dkim = Some(vec![]);
    assert_eq!(trial.plain(Hook::DataPost), DECLINED, "{}", trial.log());
    let (lines, content) = server.join().unwrap().remove(0);
    assert_eq!(String::from_utf8(content).unwrap(), MESSAGE.replace('\n', "\r\n"));
    assert_eq!(lines[0], "POST /checkv2 HTTP/1.1");
    let field = |name: &str| {
        let values = lines.iter().filter_map(|line| line.split_once(": "));
        let values = values.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value).collect::<Vec<_>>().join("|")
    };
    for (name, value) in [
        ("ip", "192.0.2.1"),
        ("helo", "client.test??User: root"),
        ("from", "<a@example.net>"),
        ("rcpt", "<b@example.com>|<c@example.com>"),
        ("user", "joe?"),
        ("mta-name", "mx.test"),
        ("mta-tag", "front"),
        ("settings-id", "strict"),
        ("tls-version", "TLSv1.3"),
        ("tls-cipher", "TLS_AES_256_GCM_SHA384"),
        ("spf", r#"{"result":"na"}"#),
        ("dkim", r#"{"result":"na"}"#),
        ("dmarc", ""),
        ("hostname", ""),
        ("transfer-encoding", ""),
    ] {
        assert_eq!(field(name), value, "{name}: {lines:?}");
    }
    assert!(field("queue-id").starts_with(trial.session.id()));
}

/// Whatever comes, the sender's own fields are nobody's word.
#[test]
fn what_is_no_answer_is_a_failure() {
    let huge = page(&format!(r#"{{"action":"no action","x":"{}"}}"#, "x".repeat(5 << 20)));
    for (answer, why) in [
        ("", "the answer is cut off"),
        ("220 mx ESMTP\r\n\r\n", "the answer is not HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"action\"", "the answer is cut off"),
        (
            "HTTP/1.1 500 invalid command\r\nContent-Length: 2\r\n\r\n{}",
            "500 Internal Server Error",
        ),
        ("HTTP/1.1 302 Found\r\nLocation: http://a.test/\r\n\r\n", "302 Found"),
        (&page("{\"action\":\"fly\"}"), "an unknown action: fly"),
        (&page(""), "no JSON"),
        (&huge, "the answer is too large"),
        ("HTTP/1.0 200 OK\r\n\r\n{\"action\":\"reject\"", "no JSON"),
    ] {
        for (args, on_error) in [("", Code::DenySoft), ("on_error ignore", Code::Declined)] {
            let (place, server) = server(&[answer]);
            let mut trial = loaded(&format!("rspamd {place} {args}"));
            assert_eq!(trial.plain(Hook::DataPost).code(), on_error);
            server.join().unwrap();
            assert!(trial.log().contains(why), "{why}: {}", trial.log());
            assert_eq!(header(&trial), RENAMED);
        }
    }
}

#[test]
fn servers_are_asked_in_turn_and_one_that_hangs_leaves_time_for_the_others() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (place, server) = server(&[page(r#"{"action":"no action"}"#).as_str(); 2]);
    let silent = silent.local_addr().unwrap();
    let mut trial = loaded(&format!("rspamd {silent} {closed} {place} deadline 3"));
    assert_eq!(trial.plain(Hook::DataPost), DECLINED, "{}", trial.log());
    assert!(trial.log().contains(&format!("{silent}: timed out")), "{}", trial.log());
    assert!(trial.log().contains(&format!("{closed}: Connection refused")), "{}", trial.log());
    trial.take_log();
    // The ones that have failed are left alone.
    assert_eq!(trial.plain(Hook::DataPost), DECLINED);
    assert!(!trial.log().contains(": timed out"), "{}", trial.log());
    server.join().unwrap();
    let mut alone = loaded(&format!("rspamd {silent} deadline 1"));
    let verdict = alone.plain(Hook::DataPost);
    assert!(verdict.is_failure(), "{}", alone.log());
}

/// One that takes the message an octet at a time, if at all, has no more time than any other.
#[test]
fn a_server_that_does_not_read_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let mut trial = loaded(&format!("rspamd {place} deadline 1"));
    trial.message(&format!("{MESSAGE}{}", "x".repeat(20_000_000)));
    let (end, ended) = mpsc::channel();
    let slow = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while ended.recv_timeout(Duration::from_millis(20)).is_err() {
            stream.read_exact(&mut [0; 512]).unwrap();
        }
    });
    assert!(trial.plain(Hook::DataPost).is_failure());
    assert!(trial.log().contains("timed out"), "{}", trial.log());
    end.send(()).unwrap();
    slow.join().unwrap();
}

#[test]
fn a_socket_in_the_file_system_is_a_server() {
    let mut trial = loaded("rspamd {dir}/socket");
    let listener = UnixListener::bind(trial.dir().join("socket")).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let heard = request(&stream);
        stream.write_all(page(r#"{"action":"reject"}"#).as_bytes()).unwrap();
        heard
    });
    assert_eq!(trial.plain(Hook::DataPost).code(), Code::Deny, "{}", trial.log());
    assert_eq!(server.join().unwrap().0[0], "POST /checkv2 HTTP/1.1");
    let mut nobody = loaded("rspamd {dir}/socket");
    assert!(nobody.plain(Hook::DataPost).is_failure());
    assert!(nobody.log().contains("/socket: No such file"), "{}", nobody.log());
}

#[test]
fn some_messages_are_not_looked_at() {
    // There is no server, so that one that is looked at is a failure.
    let nobody = "rspamd {dir}/none";
    let mut large = loaded(&format!("{nobody} size_limit 10"));
    assert_eq!(large.plain(Hook::DataPost), DECLINED);
    assert!(large.log().contains("skip, too large (76)"), "{}", large.log());
    assert_eq!(header(&large), RENAMED);
    for (args, is_relay, is_asked) in
        [("", true, false), ("relayclient scan", true, true), ("relayclient scan", false, false)]
    {
        let mut trial = loaded(&format!("{nobody} {args}"));
        trial.session.connection.relay_client = is_relay;
        if !is_relay {
            trial.session.transaction.notes.set(WHITELISTSENDER, "1".into());
        }
        assert_eq!(trial.plain(Hook::DataPost).is_failure(), is_asked, "{args} {is_relay}");
        assert_eq!(header(&trial), RENAMED);
    }
    let mut naughty = loaded(nobody);
    naughty.session.connection.notes.set(NAUGHTY, "no".into());
    assert_eq!(naughty.plain(Hook::DataPost), DECLINED);
}

#[test]
fn wrong_arguments_stop_the_start() {
    for (args, error) in [
        ("localhost 113333", "not a port: '113333'"),
        ("ftp://localhost", "'ftp://localhost' is not a URL"),
        ("http://localhost/?a=b", "cannot have a '?'"),
        ("deadline 0", "deadline has the value '0'"),
        ("relayclient maybe", "relayclient has the value 'maybe'"),
        ("headers all", "headers has the value 'all' (expected: none)"),
        ("leave_old_headers no", "leave_old_headers has the value 'no'"),
        ("ca /x", "argument ca is only for https://"),
        ("deadline 5 localhost", "localhost"),
        ("threshold 5", "unknown argument 'threshold'"),
        ("x reject 0", "unknown argument 'x'"),
    ] {
        let found = Trial::load(&format!("rspamd {args}"), &[]).err();
        let found = found.unwrap_or_else(|| panic!("{args}")).to_string();
        assert!(found.contains(error), "{args}: {found}");
    }
    Trial::new(
        "rspamd https://a.test http://b.test:80/x/ c.test 192.0.2.1:1 d.test 5 e:6 localhost [::1]:2 /run/x",
        &[],
    );
}
