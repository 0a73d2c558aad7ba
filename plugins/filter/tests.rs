//! Filters in shell, that do well and that do not.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::decided::{refusal, with_status_behind};
use crate::hook::{Code, DECLINED, Hook};
use crate::net::script;
use crate::testing::{Trial, queued};

/// Reads the handshake, registers for words of `$wants`, and has `$kind`, `$phase`, `$session` and
/// `$token` of each line; `$rest` is what follows.
const BEGIN: &str = r#"
while read -r line; do [ "$line" = "config|ready" ] && break; done
for want in $wants; do echo "register|${want%:*}|smtp-in|${want#*:}"; done
echo "register|ready"
said() { echo "filter-result|$session|$token|$1"; }
each() {
    while IFS= read -r line; do
        rest="$line|"
        for name in kind version time subsystem phase session token; do
            eval "$name=\${rest%%|*}"; rest=${rest#*|}
        done
        rest=${rest%|}
        "$1"
    done
}
"#;

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { folder: tempfile::tempdir().unwrap() }
    }

    /// A filter that wants `wants`, and runs `text`.
    fn filter(&self, wants: &str, text: &str) -> PathBuf {
        let text = format!("wants='{wants}'\n{BEGIN}\n{text}\n");
        script(self.folder.path(), "filter", &text)
    }

    fn trial(&self, options: &str, wants: &str, text: &str) -> Trial {
        let path = self.filter(wants, text);
        Trial::new(&format!("filter {options} {}", path.display()), &[("me", "mx.test")])
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

/// Waits for what is written to a file.
fn wait_for(mut is_there: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_there() {
        assert!(std::time::Instant::now() < end, "it does not come");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn decisions_are_done() {
    let scene = Scene::new();
    let mut trial = scene.trial(
        "",
        "filter:connect filter:mail-from filter:rcpt-to filter:data",
        r#"answer() {
            case "$phase $rest" in
            "connect <unknown>|192.0.2.1") said proceed;;
            "mail-from a@x.test") said "rewrite|<b@y.test>";;
            "mail-from soft@x.test") said "reject|450 4.1.1 later";;
            "mail-from hard@x.test") said "reject|550 no";;
            "mail-from away@x.test") said "reject|421 away";;
            "mail-from gone@x.test") said "disconnect|554 gone";;
            "mail-from odd@x.test") said "reject|250 fine";;
            "mail-from ") said "report|a bounce";;
            "mail-from bad@x.test") said "rewrite|no address";;
            "rcpt-to c@x.test") said junk;;
            "data ") said proceed;;
            *) echo "unexpected: $phase $rest" >&2; said "reject|500 unexpected";;
            esac
        }
        each answer"#,
    );
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    trial.session.transaction.set_sender(crate::mail::Address::null());
    assert_eq!(trial.rcpt("<c@x.test>"), DECLINED);
    for (path, code, reply, text) in [
        ("<>", Code::Declined, None, ""),
        ("<soft@x.test>", Code::DenySoft, Some(450), "later (#4.1.1)"),
        ("<hard@x.test>", Code::Deny, Some(550), "no"),
        ("<away@x.test>", Code::DenySoftDisconnect, Some(421), "away"),
        ("<gone@x.test>", Code::DenyDisconnect, Some(554), "gone"),
        ("<odd@x.test>", Code::DenySoftDisconnect, Some(421), "Internal server error"),
        ("<bad@x.test>", Code::DenySoft, None, ""),
        ("<a@x.test>", Code::Declined, None, ""),
    ] {
        let verdict = trial.mail(path);
        let found = (verdict.code(), verdict.reply(), verdict.text());
        assert_eq!(found, (code, reply, text), "{path}");
    }
    assert!(trial.log().contains("filter reports: a bounce"));
    assert_eq!(trial.plain(Hook::Data), DECLINED);
    trial.message("X-Spam: No\nSubject: x\n\ntext\n");
    assert_eq!(trial.plain(Hook::DataPost), DECLINED);
    let header = trial.session.transaction.header.to_bytes();
    assert_eq!(header, b"X-Spam: Yes\r\nX-Old-Spam: No\r\nSubject: x\r\n");
    trial.plain(Hook::DataPost);
    assert_eq!(trial.session.transaction.header.count("X-Spam"), 1);
}

/// What the filter makes of a message, and what is queued then; None: it is not.
fn through(options: &str, text: &str, message: &str) -> (Option<String>, String) {
    let scene = Scene::new();
    let mut trial = scene.trial(options, "filter:data-line filter:commit", text);
    trial.message(message);
    let is_taken = trial.plain(Hook::DataPost) == DECLINED;
    let mut out = vec![];
    trial.session.transaction.write_message(&mut out).unwrap();
    (is_taken.then(|| String::from_utf8(out).unwrap()), trial.log())
}

const ECHO: &str = r#"echo_line() {
    case $phase in
    commit) said proceed;;
    data-line) printf '%s\n' "filter-dataline|$session|$token|$rest";;
    esac
}
each echo_line"#;

#[test]
fn a_message_that_comes_back_is_the_same() {
    let long = format!("A: b\r\n\r\n{}\r\n", "x".repeat(5000));
    for message in [
        "A: b\r\n\r\ntext\r\n",
        "A: b\r\n\r\n.\r\n..\r\n.a|b\r\n\r\n",
        "\r\n\r\n",
        "A: b\r\n",
        &long,
    ] {
        let (queued, log) = through("", ECHO, message);
        assert_eq!(queued.as_deref(), Some(message), "{log}");
        assert!(!log.contains("has changed"), "{message} {log}");
    }
}

#[test]
fn a_message_is_changed_line_by_line() {
    let text = r#"change() {
        case "$phase $rest" in
        commit*) said proceed;;
        "data-line A: b") echo "filter-dataline|$session|$token|X-First: 1"
            printf 'filter-dataline|%s|%s|A: c\r\n' "$session" "$token";;
        "data-line secret") ;;
        "data-line .") echo "filter-dataline|$session|$token|..end"
            echo "filter-dataline|$session|$token|.";;
        *) echo "filter-dataline|$session|$token|$rest";;
        esac
    }
    each change"#;
    let (queued, log) = through("", text, "A: b\r\n\r\nsecret\r\ntext\r\n");
    let want = "X-First: 1\r\nA: c\r\n\r\ntext\r\n.end\r\n";
    assert_eq!(queued.as_deref(), Some(want), "{log}");
    assert!(log.contains("filter has changed the message"));
}

#[test]
fn a_message_that_does_not_come_back_is_what_it_was() {
    let message = "A: b\r\n\r\none\r\ntwo\r\n";
    for (text, why) in [
        ("each() { while read -r line; do :; done; }; each", "it does not answer in time"),
        ("sleep 600", "it does not answer in time"),
        ("read -r line; exit 3", "it has ended: exit status: 3"),
        ("read -r line; kill -9 $$", "it has ended: signal: 9 (SIGKILL)"),
        (
            r#"empty() { [ "$rest" = . ] && echo "filter-dataline|$session|$token|."; }; each empty"#,
            "it gave back no message",
        ),
        (r#"early() { yes "filter-dataline|$session|$token|."; }; each early"#, "it "),
        (
            r#"much() { yes "filter-dataline|$session|$token|xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; }
            each much"#,
            "it makes the message too large",
        ),
        (
            r#"wrong() { said proceed; }; each wrong"#,
            "it answers a line of a message with a decision",
        ),
        ("echo nonsense; sleep 600", "a line of an unknown kind: 'nonsense'"),
        ("exec yes nonsense", "a line of an unknown kind: 'nonsense'"),
        ("exec cat /dev/zero", "a line without an end"),
        ("exec yes 'filter-result|1|1|proceed'", "it sends too much that nobody asked for"),
    ] {
        let timeout = if why.ends_with("in time") { 1 } else { 60 };
        for (on_error, is_taken) in [("tempfail", false), ("ignore", true)] {
            let options = format!("timeout {timeout} on_error {on_error}");
            let (queued, log) = through(&options, text, message);
            assert_eq!(queued.as_deref(), is_taken.then_some(message), "{text} {log}");
            assert!(log.contains(why), "{text} {log}");
        }
    }
}

#[test]
fn a_filter_is_started_again_and_told_what_counts() {
    let scene = Scene::new();
    let told = scene.folder.path().join("told");
    // It ends when it is asked about data, the first time.
    let text = format!(
        r#"answer() {{
            [ "$kind" = report ] && echo "$phase|$token|$rest" >>'{0}' && return
            if [ "$phase" = data ] && [ ! -e '{0}.once' ]; then : >'{0}.once'; exit 0; fi
            said proceed
        }}
        echo began >>'{0}'
        each answer"#,
        told.display()
    );
    let wants = "report:link-connect report:link-identify report:tx-begin report:tx-mail \
                 report:tx-rcpt report:link-disconnect filter:mail-from filter:data";
    let path = scene.filter(wants, &text);
    let trial = Trial::new(
        &format!("filter {}\nrcpt_ok\nqueue/discard", path.display()),
        &[("me", "mx.test"), ("rcpthosts", "x.test")],
    );
    let (mut client, server) = UnixStream::pair().unwrap();
    client
        .write_all(b"EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nNOOP\r\n")
        .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut replies = String::new();
            let mut piece = [0; 4096];
            while !replies.contains("451") {
                let count = client.read(&mut piece).unwrap();
                replies += std::str::from_utf8(&piece[..count]).unwrap();
            }
            // It may be started again after a second.
            std::thread::sleep(std::time::Duration::from_millis(1100));
            client.write_all(b"MAIL FROM:<c@x.test>\r\nQUIT\r\n").unwrap();
            client.read_to_string(&mut replies).unwrap();
        });
        trial.serve(server);
    });
    wait_for(|| scene.file("told").contains("link-disconnect"));
    let told = scene.file("told");
    let lives: Vec<&str> = told.split("began\n").collect();
    assert_eq!(lives.len(), 3, "{told}");
    assert!(lives[1].contains("link-connect|") && lives[1].contains("|ok|b@x.test"), "{told}");
    let second: Vec<&str> = lives[2].lines().map(|line| line.split('|').next().unwrap()).collect();
    let want = ["link-connect", "link-identify", "tx-begin", "tx-mail", "link-disconnect"];
    assert_eq!(second, want, "{told}");
    assert!(trial.log().contains("it has ended: exit status: 0"));
}

#[test]
fn a_filter_that_always_fails_is_left_alone_for_a_while() {
    let scene = Scene::new();
    let mut trial = scene.trial("", "filter:connect", "echo help >&2; exit 1");
    let mut connect = || {
        assert!(trial.plain(Hook::Connect).is_failure());
        trial.take_log()
    };
    assert!(connect().contains("it has ended: exit status: 1"));
    let log = connect();
    assert!(log.contains("is started again in 1 s") || log.contains("exit status: 1"), "{log}");
    let path = script(scene.folder.path(), "mute", "sleep 600");
    let mut trial = Trial::new(&format!("filter timeout 1 {}", path.display()), &[]);
    assert!(trial.plain(Hook::Connect).is_failure());
    assert!(trial.log().contains("mute: it does not answer in time"));
    assert!(Trial::load("filter /nonexistent/program", &[]).is_err());
    assert!(Trial::load("filter", &[]).is_err());
    for (line, why) in [
        ("filter protocol 0.4 sh", "protocol"),
        ("filter sh timeout 3", "put the command into a script"),
        ("filter processes many sh", "processes"),
    ] {
        let error = Trial::load(line, &[]).err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn what_it_says_for_people_is_logged() {
    let scene = Scene::new();
    let mut trial = scene.trial(
        "",
        "filter:connect filter:mail-from",
        r#"answer() { echo "asked about $phase" >&2; said proceed; }; each answer"#,
    );
    trial.plain(Hook::Connect);
    wait_for(|| {
        trial.mail("<a@x.test>");
        trial.log().contains("filter: asked about connect")
    });
}

/// Serves a dialogue; what the client gets.
fn dialogue(trial: &Trial, lines: &str) -> String {
    let (mut client, server) = UnixStream::pair().unwrap();
    client.write_all(lines.replace('\n', "\r\n").as_bytes()).unwrap();
    trial.serve(server);
    let mut replies = String::new();
    client.read_to_string(&mut replies).unwrap();
    replies
}

#[test]
fn all_events_and_phases_of_a_session() {
    let scene = Scene::new();
    let told = scene.folder.path().join("told");
    let text = format!(
        r#"answer() {{
            case "$kind $phase" in
            "report filter-response") ;;
            "report "*) echo "$phase|$token|$rest" >>'{0}'; return;;
            "filter data-line") printf '%s\n' "filter-dataline|$session|$token|$rest"; return;;
            "filter rset") said "reject|550 5.5.1 no rset"; return;;
            "filter noop") said "rewrite|other"; return;;
            "filter ehlo") said "rewrite|other.test"; return;;
            "filter quit") said proceed; return;;
            "filter "*) said proceed;;
            esac
            echo "$kind $phase|$rest" >>'{0}'
        }}
        each answer"#,
        told.display()
    );
    let phases = "connect helo ehlo starttls auth mail-from rcpt-to data data-line rset quit noop help \
                  wiz commit";
    let phases: String = phases.split(' ').map(|name| format!("filter:{name} ")).collect();
    let path = scene.filter(&format!("report:* {phases}"), &text);
    let trial = Trial::new(
        &format!("filter {}\nrcpt_ok\nqueue/discard", path.display()),
        &[("me", "mx.test"), ("rcpthosts", "x.test")],
    );
    let replies = dialogue(
        &trial,
        "EHLO me\nRSET\nNOOP a\nWIZ now\nAUTH PLAIN c2VjcmV0\nMAIL FROM:<a@x.test> BODY=8BITMIME\n\
         RCPT TO:<b@y.test>\nRCPT TO:<b@x.test>\nDATA\nSubject: x\n\ntext\n.\nMAIL FROM:<>\n\
         RCPT TO:<b@x.test>\nQUIT\n",
    );
    assert!(replies.contains("550 5.5.1 no rset"), "{replies}");
    wait_for(|| scene.file("told").contains("link-disconnect"));
    let told = scene.file("told");
    let mut last = 0;
    for wanted in [
        "link-connect|<unknown>|fail|192.0.2.1:40000|192.0.2.25:25\n",
        "filter connect|<unknown>|192.0.2.1\n",
        "protocol-server|220 mx.test ESMTP",
        "link-greeting|mx.test|\n",
        "protocol-client|EHLO me|\n",
        "protocol-server|250-",
        "link-identify|EHLO|other.test\n",
        "protocol-client|RSET|\n",
        "protocol-server|550 5.5.1 no rset|",
        "protocol-client|NOOP a|\n",
        "protocol-client|WIZ now|\n",
        "filter wiz|now\n",
        "protocol-client|AUTH PLAIN ********|",
        "filter auth|PLAIN c2VjcmV0\n",
        "protocol-client|MAIL FROM:<a@x.test> BODY=8BITMIME",
        "filter mail-from|a@x.test\n",
        "tx-begin|",
        "tx-mail|",
        "|ok|a@x.test\n",
        "filter rcpt-to|b@y.test\n",
        "|permfail|b@y.test\n",
        "filter rcpt-to|b@x.test\n",
        "tx-rcpt|",
        "|ok|b@x.test\n",
        "tx-envelope|",
        "filter data|",
        "tx-data|",
        "filter commit|",
        "tx-commit|",
        "tx-reset|",
        "filter mail-from|\n",
        "tx-rollback|",
        "link-disconnect|",
    ] {
        let at = told[last..].find(wanted).map(|at| last + at);
        last = at.unwrap_or_else(|| panic!("no {wanted} after {}", &told[last..]));
    }
}

#[test]
fn authentication_and_waiting_are_told() {
    let scene = Scene::new();
    let told = scene.folder.path().join("told");
    let text =
        format!(r#"note() {{ echo "$phase|$token|$rest" >>'{}'; }}; each note"#, told.display());
    for (version, pass, fail) in
        [("0.7", "pass|me@x.test", "fail|me@x.test"), ("0.6", "me@x.test|pass", "me@x.test|fail")]
    {
        let _ = std::fs::remove_file(&told);
        let path = scene.filter("report:link-auth report:protocol-client report:timeout", &text);
        let trial = Trial::new(
            &format!("filter protocol {version} {}\nauth/auth_flat_file", path.display()),
            &[
                ("me", "mx.test"),
                ("flat_auth_pw", "me@x.test:secret"),
                ("timeout", "1"),
                ("timeout_overload", "1"),
            ],
        );
        let (mut client, server) = UnixStream::pair().unwrap();
        // `me@x.test` with `wrong`, then with `secret`.
        let lines = "EHLO me\r\nAUTH PLAIN AG1lQHgudGVzdAB3cm9uZw==\r\nAUTH PLAIN\r\n\
            AG1lQHgudGVzdABzZWNyZXQ=\r\n";
        client.write_all(lines.as_bytes()).unwrap();
        trial.serve(server);
        wait_for(|| scene.file("told").contains("timeout"));
        let want = format!(
            "protocol-client|EHLO me|\nprotocol-client|AUTH PLAIN ********|\nlink-auth|{fail}\n\
             protocol-client|AUTH PLAIN ********|\nprotocol-client|********|\nlink-auth|{pass}\ntimeout||\n"
        );
        assert_eq!(scene.file("told"), want, "{}", trial.log());
    }
}

#[test]
fn every_version_is_spoken() {
    for version in ["0.5", "0.6", "0.7"] {
        let scene = Scene::new();
        let mut trial = scene.trial(
            &format!("protocol {version}"),
            "filter:connect",
            &format!(r#"answer() {{ [ "$version" = {version} ] && said "reject|550 {version}"; }}; each answer"#),
        );
        assert_eq!(trial.plain(Hook::Connect).text(), version);
    }
}

#[test]
fn statuses_go_behind() {
    for (text, want) in [
        ("5.7.1 no", "no (#5.7.1)"),
        ("no", "no"),
        ("5.7 no", "5.7 no"),
        ("2.0.0 yes", "2.0.0 yes"),
        ("5.x.1 no", "5.x.1 no"),
        ("", ""),
    ] {
        assert_eq!(with_status_behind(text), want);
    }
    assert_eq!(refusal("", false).text(), "Internal server error");
    assert_eq!(queued().len(), 0);
}
