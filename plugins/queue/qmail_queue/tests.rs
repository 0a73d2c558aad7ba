use super::*;
use crate::hook::{Code, Hook};
use crate::net::script;
use crate::testing::Trial;

const MESSAGE: &str = "Subject: hi\nMessage-Id: <1@a.test>\n\nline\n.\n\nend\n";

/// A program that keeps what it reads, in its folder.
const KEEP: &str = "cd ${0%/*}; cat >message; cat <&1 >envelope";

/// A transaction for a program that is this script.
fn trial(text: &str) -> (tempfile::TempDir, Trial) {
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path(), "qmail-queue", text);
    let mut trial = Trial::new(&format!("queue/qmail-queue {} timeout 60", path.display()), &[]);
    trial.mail("<a@example.net>");
    trial.rcpt("<b@example.com>");
    trial.rcpt("<\"c d\"@example.com>");
    trial.rcpt("<postmaster>");
    trial.message(MESSAGE);
    (dir, trial)
}

fn answer(trial: &mut Trial) -> (Code, String) {
    let verdict = trial.plain(Hook::Queue);
    (verdict.code(), verdict.text().to_owned())
}

fn is_queued(trial: &mut Trial, id: &str) {
    let (code, text) = answer(trial);
    let form = format!(r"^Queued! \d{{10}} qp \d+ {id}$");
    assert!(code == Code::Ok && regex::Regex::new(&form).unwrap().is_match(&text), "{text}");
}

#[test]
fn the_program_gets_the_message_and_the_envelope() {
    let (dir, mut trial) = trial(KEEP);
    is_queued(&mut trial, "<1@a.test>");
    let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("message"), MESSAGE);
    let want = "Fa@example.net\0Tb@example.com\0Tc d@example.com\0Tpostmaster\0\0";
    assert_eq!(read("envelope"), want);
    assert!(trial.log().contains("(queue) queue/qmail-queue: Queuing to /"));
}

#[test]
fn the_null_sender_and_a_message_without_anything() {
    let (dir, mut trial) = trial(KEEP);
    trial.mail("<>");
    trial.message("");
    is_queued(&mut trial, "<>");
    let envelope = std::fs::read_to_string(dir.path().join("envelope")).unwrap();
    assert!(envelope.starts_with("F\0Tb@example.com\0"), "{envelope}");
    assert_eq!(std::fs::metadata(dir.path().join("message")).unwrap().len(), 0);
    trial.message("Message-Id: one two\n\n");
    is_queued(&mut trial, "<one two>");
}

#[test]
fn statuses_are_for_good_or_for_now() {
    for (status, code, text) in [
        (1, Code::Declined, "Unable to queue message (1)"),
        (10, Code::Declined, "Unable to queue message (10)"),
        (11, Code::Deny, "Unable to queue message (11) (#5.1.3)"),
        (31, Code::Deny, "Unable to queue message (31) (#5.3.0)"),
        (40, Code::Deny, "Unable to queue message (40) (#5.3.0)"),
        (41, Code::Declined, "Unable to queue message (41)"),
        (71, Code::Declined, "Unable to queue message (71)"),
        (91, Code::Declined, "Unable to queue message (91)"),
        (120, Code::Declined, "Unable to queue message (120)"),
    ] {
        let (_dir, mut trial) = trial(&format!("cat >/dev/null; cat <&1 >&2; exit {status}"));
        assert_eq!(answer(&mut trial), (code, text.to_owned()));
        assert!(trial.log().contains(&format!("exit status {status}: ")), "{}", trial.log());
    }
}

#[test]
fn one_that_refuses_early_is_believed() {
    let text = format!("Subject: large\n\n{}", "x\n".repeat(200_000));
    for (status, code) in [(31, Code::Deny), (53, Code::Declined)] {
        let (_dir, mut trial) = trial(&format!("echo full >&2; exit {status}"));
        trial.message(&text);
        assert_eq!(answer(&mut trial).0, code);
        assert!(trial.log().contains("it says: full"), "{}", trial.log());
    }
}

#[test]
fn what_may_have_been_queued_is_a_failure() {
    let large = format!("Subject: large\n\n{}", "x\n".repeat(200_000));
    for (text, message, why) in [
        ("cat >/dev/null; kill -9 $$", MESSAGE, "it ended with signal: 9"),
        ("exit 0", large.as_str(), "Broken pipe"),
    ] {
        let (_dir, mut trial) = trial(text);
        trial.message(message);
        assert!(trial.plain(Hook::Queue).is_failure());
        assert!(trial.log().contains(why), "{}", trial.log());
    }
}

#[test]
fn one_that_takes_too_long_is_ended() {
    let large = format!("Subject: large\n\n{}", "x\n".repeat(200_000));
    for (text, message) in [
        ("cat >/dev/null; cat <&1 >/dev/null; exec sleep 600", MESSAGE),
        ("exec sleep 600", MESSAGE),
        ("exec sleep 600", large.as_str()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "slow", text);
        let line = format!("queue/qmail-queue {} timeout 1", path.display());
        let mut trial = Trial::new(&line, &[]);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        trial.message(message);
        assert!(trial.plain(Hook::Queue).is_failure());
        assert!(trial.log().contains("the program takes too long"), "{}", trial.log());
    }
}

#[test]
fn a_message_that_cannot_be_read_is_not_queued() {
    let (dir, mut trial) = trial(&format!("{KEEP}; touch ended"));
    trial.message(&format!("Subject: large\n\n{}", "x\n".repeat(200_000)));
    let path = trial.session.transaction.body.filename().unwrap().to_owned();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(9).unwrap();
    assert!(trial.plain(Hook::Queue).is_failure());
    assert!(!dir.path().join("envelope").exists() && !dir.path().join("ended").exists());
}

#[test]
fn one_that_is_not_there_is_for_later() {
    let mut trial = Trial::new("queue/qmail-queue /nonexistent/program", &[]);
    trial.mail("<a@example.net>");
    trial.rcpt("<b@example.com>");
    trial.message(MESSAGE);
    let want = (Code::Declined, "Unable to queue message (6)".to_owned());
    assert_eq!(answer(&mut trial), want);
    assert!(
        trial.log().contains("cannot run /nonexistent/program: No such file"),
        "{}",
        trial.log()
    );
}

#[test]
fn the_environment_and_the_argument_say_which() {
    for (qmail, queue, argument, want) in [
        ("", "", None, "/var/qmail/bin/qmail-queue"),
        ("/q", "", None, "/q/bin/qmail-queue"),
        ("/q", "", Some("/bin/x"), "/bin/x"),
        ("/q", "/env", Some("/bin/x"), "/env"),
        ("/q", "/env", None, "/env"),
    ] {
        let variable = |name: &str| Some(if name == "QMAIL" { qmail } else { queue }.into());
        assert_eq!(path(argument, variable).unwrap(), Path::new(want));
    }
    let error = path(Some("bin/x"), |_| None).unwrap_err().to_string();
    assert_eq!(error, "not a path that begins with /: 'bin/x'");
}

#[test]
fn more_arguments_are_told() {
    let trial = Trial::new("queue/qmail-queue /bin/true more", &[]);
    assert!(trial.log().contains("WARNING: Ignoring additional arguments."), "{}", trial.log());
}
