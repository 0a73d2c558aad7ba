use std::io::Read;
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use super::*;
use crate::hook::{Code, Hook, NAUGHTY};
use crate::testing::Trial;

const MESSAGE: &str = "Subject: x\n\na bad thing\n";

/// A daemon for so many questions; each is a list of the pieces that were sent, or the command.
fn daemon(trial: &Trial, answers: &[&str]) -> JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(trial.dir().join("clamd")).unwrap();
    let answers: Vec<String> = answers.iter().map(|answer| answer.to_string()).collect();
    thread::spawn(move || {
        let mut heard = vec![];
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut command = vec![];
            while command.last() != Some(&b'\n') {
                let mut octet = [0];
                stream.read_exact(&mut octet).unwrap();
                command.push(octet[0]);
            }
            let mut text = String::from_utf8(command).unwrap();
            while text.starts_with("nINSTREAM") {
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut piece = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut piece).unwrap();
                if piece.is_empty() {
                    break;
                }
                text += &String::from_utf8(piece).unwrap();
            }
            heard.push(text);
            stream.write_all(answer.as_bytes()).unwrap();
        }
        heard
    })
}

fn trial(args: &str) -> Trial {
    let mut trial = Trial::new(
        &format!("virus/clamdscan clamd_socket {{dir}}/clamd {args}"),
        &[("me", "mx.test")],
    );
    trial.message(MESSAGE);
    trial
}

#[test]
fn a_clean_message_is_marked() {
    let mut trial = trial("");
    let daemon = daemon(&trial, &["stream: OK\n", "ClamAV 1.0.7/26900/Mon Nov 1\n"]);
    assert_eq!(trial.plain(Hook::DataPost), DECLINED);
    let header = trial.session.transaction.header.to_bytes();
    let want = "X-Virus-Checked: by ClamAV 1.0.7 on mx.test\r\nX-Virus-Found: No\r\nSubject: x\r\n";
    assert_eq!(String::from_utf8_lossy(&header), want);
    let sent = format!("nINSTREAM\n{}", MESSAGE.replace('\n', "\r\n"));
    assert_eq!(daemon.join().unwrap(), [sent, "nVERSION\n".into()]);
    assert!(!trial.session.connection.notes.is_true(NAUGHTY));
}

#[test]
fn a_virus_is_refused_or_marked() {
    let mut trial = trial("");
    let one = daemon(&trial, &["stream: Eicar-Test-Signature FOUND\n"]);
    let verdict = trial.plain(Hook::DataPost);
    assert_eq!(verdict, Verdict::deny("Virus found: Eicar-Test-Signature"));
    assert!(trial.session.connection.notes.is_true(NAUGHTY));
    assert!(trial.log().contains("karma -1 (-1)"), "{}", trial.log());
    one.join().unwrap();
    // From now on nobody is asked.
    assert_eq!(trial.plain(Hook::DataPost), DECLINED);

    let mut trial = self::trial("deny_viruses no");
    let one = daemon(&trial, &["stream: A.B FOUND\n"]);
    assert_eq!(trial.plain(Hook::DataPost), DECLINED);
    one.join().unwrap();
    let header = trial.session.transaction.header.to_bytes();
    let want = "X-Virus-Details: A.B\r\nX-Virus-Found: Yes\r\nSubject: x\r\n";
    assert_eq!(String::from_utf8_lossy(&header), want);
}

#[test]
fn what_cannot_be_looked_at_is_accepted_or_deferred() {
    for (answer, why) in [
        ("COMMAND READ TIMED OUT ERROR\n", "the daemon says: COMMAND READ"),
        ("stream: OK FOUND ERROR\n", "the daemon says: stream: OK FOUND ERROR"),
        ("", "the back end closed the connection"),
        ("stream: OK", "the back end closed the connection"),
        (&"x".repeat(LONGEST + 1), "a line that is too long"),
    ] {
        for (args, code) in [
            ("", Code::Declined),
            ("on_error ignore", Code::Declined),
            ("defer_on_error yes", Code::DenySoft),
            ("on_error tempfail", Code::DenySoft),
        ] {
            let mut trial = trial(args);
            let daemon = daemon(&trial, &[answer]);
            let verdict = trial.plain(Hook::DataPost);
            assert_eq!(verdict.code(), code, "{answer}");
            daemon.join().unwrap();
            assert!(trial.log().contains(why), "{why}: {}", trial.log());
            assert_eq!(trial.session.transaction.header.len(), 1);
        }
    }
    let mut nobody = trial("defer_on_error yes");
    let later = Verdict::denysoft("Unable to scan for viruses");
    assert_eq!(nobody.plain(Hook::DataPost), later);
    let mut silent = trial("defer_on_error yes timeout 1");
    let _listener = UnixListener::bind(silent.dir().join("clamd")).unwrap();
    assert_eq!(silent.plain(Hook::DataPost), later);
    assert!(silent.log().contains("the back end does not answer"), "{}", silent.log());
}

#[test]
fn what_is_more_than_the_daemon_takes_is_no_error() {
    let mut trial = trial("defer_on_error yes");
    let daemon = daemon(&trial, &["INSTREAM size limit exceeded. ERROR\n"]);
    assert_eq!(trial.plain(Hook::DataPost), DECLINED);
    daemon.join().unwrap();
    assert!(trial.log().contains("skip, more than clamd takes"), "{}", trial.log());
    assert_eq!(trial.session.transaction.header.len(), 1);
}

#[test]
fn another_daemon_makes_up_for_one_that_is_away_and_forged_fields_are_renamed() {
    let line = "virus/clamdscan clamd_socket {dir}/none clamd_socket {dir}/clamd";
    let mut trial = Trial::new(line, &[]);
    trial.message("X-Virus-Found: No\nx-virus-checked: by me\nSubject: x\n\na bad thing\n");
    let one = daemon(&trial, &["stream: A.B FOUND\n"]);
    assert_eq!(trial.plain(Hook::DataPost).code(), Code::Deny, "{}", trial.log());
    one.join().unwrap();
    assert!(trial.log().contains("/none: No such file"), "{}", trial.log());
    let header = trial.session.transaction.header.to_bytes();
    let want = "X-Old-Virus-Found: No\r\nX-Old-Virus-Checked: by me\r\nSubject: x\r\n";
    assert_eq!(String::from_utf8_lossy(&header), want);
}

#[test]
fn some_messages_are_not_looked_at() {
    // There is no daemon, so that one that is looked at is deferred.
    for (args, message, code) in [
        ("max_size 1", "Subject: x\n\nfew\n".to_owned(), Code::DenySoft),
        ("max_size 1", format!("Subject: x\n\n{}\n", "x".repeat(1024)), Code::Declined),
        ("max_size 2", format!("Subject: x\n\n{}\n", "x".repeat(1024)), Code::DenySoft),
        ("scan_all 0", "Content-Type: text/plain\n\nx\n".to_owned(), Code::Declined),
        ("scan_all 0", "Subject: x\n\nx\n".to_owned(), Code::Declined),
        (
            "scan_all 0",
            "Content-Type: Multipart/mixed;\n\tBoundary=\"x\"\n\nx\n".to_owned(),
            Code::DenySoft,
        ),
    ] {
        let mut trial = trial(&format!("defer_on_error yes {args}"));
        trial.message(&message);
        assert_eq!(trial.plain(Hook::DataPost).code(), code, "{args} {message:.30}");
    }
}

#[test]
fn wrong_arguments_stop_the_start() {
    for (args, error) in [
        ("clamd_port 0", "not a port: '0'"),
        (
            "clamd_port 1 clamd_host /run",
            "argument clamd_host has the value '/run' (expected: a host)",
        ),
        (
            "clamd_socket clamd",
            "argument clamd_socket has the value 'clamd' (expected: a path that begins with /)",
        ),
        ("max_size x", "argument max_size has the value 'x'"),
        ("action reject", "unknown argument 'action'"),
    ] {
        let found = Trial::load(&format!("virus/clamdscan {args}"), &[]).err().unwrap();
        assert!(found.to_string().contains(error), "{found}");
    }
    Trial::new("virus/clamdscan clamd_host 192.0.2.1 clamd_port 3310", &[]);
}
