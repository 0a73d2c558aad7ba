//! Clients that bring no mail on have an end: how long they may take, and how much they may say.

// The table of waits, row by row.
mod waits;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use qpsmtpd::testing::{Trial, keeps};

/// What a session answers to `input`, which comes at once.
fn answers(files: &[(&str, &str)], input: &str) -> Vec<String> {
    let trial = Trial::with(keeps, "", files);
    let (mut client, server) = UnixStream::pair().unwrap();
    let mut sender = client.try_clone().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // Whoever is sent away is not listened to.
        let _ = sender.write_all(input.as_bytes());
        let _ = sender.shutdown(Shutdown::Write);
    });
    let reader = std::thread::spawn(move || {
        let mut replies = vec![];
        let _ = client.read_to_end(&mut replies);
        String::from_utf8(replies).unwrap()
    });
    trial.serve(server);
    writer.join().unwrap();
    reader.join().unwrap().lines().map(str::to_owned).collect()
}

/// How often an answer begins with `code`.
fn count(answers: &[String], code: &str) -> usize {
    answers.iter().filter(|line| line.starts_with(code)).count()
}

const MESSAGE: &str = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n\r\ntext\r\n.\r\n";

/// The kinds of junk but AUTH, which has a smaller limit, and the code of a reply to one.
const JUNK: [(&str, &str); 12] = [
    ("NOOP", "250 "),
    ("HELP", "214 "),
    ("VRFY a", "252 "),
    ("RSET", "250 "),
    ("MUMBLE", "500 "),
    ("", "500 "),
    ("EHLO again", "250 "),
    ("MAIL FROM:<a@x.test>", "250 "),
    ("RCPT TO:<>", "50"),
    ("DATA", "503 "),
    ("BDAT 0", "503 "),
    ("STARTTLS", "500 "),
];

#[test]
fn commands_without_mail_are_limited() {
    for (line, code) in JUNK {
        let many = format!("{line}\r\n").repeat(1000);
        let got = answers(&[], &format!("EHLO me\r\n{many}"));
        // A first MAIL may lead to mail, a first EHLO has to.
        let free =
            [code == "250 ", line.starts_with("MAIL")].map(usize::from).iter().sum::<usize>();
        assert!((100..=101).contains(&(count(&got, code) - free)), "{line}: {got:?}");
        assert_eq!(got.last().unwrap(), "421 4.7.0 Too many commands without mail", "{line}");
        assert_eq!(count(&got, "421"), 1, "{line}");
    }
}

#[test]
fn cycles_that_end_in_no_message_are_limited() {
    let refused = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nX: \r\n\n.\r\n.\r\n";
    for cycle in [
        "MAIL FROM:<a@x.test>\r\nRSET\r\n",
        "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nEHLO me\r\n",
        "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nBDAT 0\r\nRSET\r\n",
        "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nBDAT 1 LAST\r\n\nRSET\r\n",
        "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<a b>\r\nRCPT TO:<b@x.test>\r\n",
        refused,
    ] {
        let got = answers(&[], &format!("EHLO me\r\n{}", cycle.repeat(1000)));
        let last = got.last().unwrap();
        assert!(last.starts_with("421 "), "{cycle:?}: {last}");
        assert!(got.len() < 700, "{cycle:?}: {}", got.len());
    }
}

#[test]
fn sessions_full_of_mail_never_meet_the_limit() {
    let cycle = format!("{}{MESSAGE}", "NOOP\r\n".repeat(9));
    let input = format!("EHLO me\r\n{}QUIT\r\n", cycle.repeat(200));
    let got = answers(&[("junk_commands", "10")], &input);
    assert_eq!(count(&got, "250 2.0.0 Queued"), 200, "{:?}", got.last());
    assert!(got.last().unwrap().starts_with("221 "));
}

/// One message in chunks of one octet is mail as little as NOOP is, though it is accepted at last.
#[test]
fn tiny_chunks_bring_a_message_hardly_on() {
    let begin = "EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n";
    let tiny = format!("{begin}{}", "BDAT 1\r\nx".repeat(500));
    assert!(answers(&[], &tiny).last().unwrap().starts_with("421 "));
    let chunk = format!("BDAT 100\r\n{}\r\n", "x".repeat(98));
    let good = format!("{begin}{}BDAT 0 LAST\r\nQUIT\r\n", chunk.repeat(500));
    let got = answers(&[], &good);
    assert_eq!(count(&got, "250 2.0.0 Queued"), 1, "{:?}", got.last());
}

#[test]
fn the_limit_is_set_or_taken_away() {
    let input = format!("EHLO me\r\n{}QUIT\r\n", "NOOP\r\n".repeat(500));
    let got = answers(&[("junk_commands", "0")], &input);
    assert_eq!(count(&got, "250 2.0.0 OK"), 500);
    assert!(got.last().unwrap().starts_with("221 "));
    let got = answers(&[("junk_commands", "3")], &input);
    assert_eq!(count(&got, "250 2.0.0 OK"), 3);
    assert!(got.last().unwrap().starts_with("421 4.7.0 "));
}

#[test]
fn white_space_at_the_end_of_a_command_means_nothing() {
    let input = "EHLO me\t\r\nNOOP\t\r\nRSET \t\r\nMAIL FROM:<a@x.test>\t\r\n\
        RCPT TO:<b@x.test> \t\r\nDATA\t\r\n\r\ntext\r\n.\r\nQUIT \t\r\n";
    let got = answers(&[], input);
    let after: Vec<&str> =
        got.iter().filter(|line| !line.starts_with("250-")).map(|line| &line[..3]).collect();
    assert_eq!(after, ["220", "250", "250", "250", "250", "250", "354", "250", "221"], "{got:?}");
}
