use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use super::*;
use crate::mail::head::LARGEST;

fn transaction() -> (tempfile::TempDir, Transaction) {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(&dir.path().join("spool"), 0o700).unwrap();
    (dir, Transaction::new(Rc::new(spool), 100))
}

#[test]
fn recipients_are_added_removed_and_replaced() {
    let (_dir, mut transaction) = transaction();
    let (a, b) = (Address::new("a", "x.example"), Address::new("b", "x.example"));
    transaction.add_recipient(a.clone());
    transaction.add_recipient(b.clone());
    assert!(transaction.remove_recipient(&a));
    assert!(!transaction.remove_recipient(&a));
    assert_eq!(transaction.recipients(), std::slice::from_ref(&b));
    transaction.set_recipients(vec![a.clone()]);
    assert_eq!(transaction.recipients(), [a]);
}

/// A transaction with recipients a, b and c, whose parameters are their names.
fn with_params() -> (tempfile::TempDir, Transaction, [Address; 3]) {
    let (dir, mut transaction) = transaction();
    let names = ["a", "b", "c"].map(|name| Address::new(name, "x.example"));
    for name in &names {
        let word = format!("orcpt=rfc822;{}", name.user());
        transaction.accept_recipient(name.clone(), Params::from_words([word.as_str()]));
    }
    (dir, transaction, names)
}

/// Each recipient, whom the sender wrote to, and the command that named it.
fn shown(transaction: &Transaction) -> String {
    let command = |at| {
        (0..transaction.accepted())
            .find(|command| transaction.recipients_of(*command).any(|own| own == at))
    };
    let params = transaction.rcpt_params().map(|params| params.get("orcpt").unwrap_or("-"));
    let both = transaction.recipients().iter().zip(params).enumerate();
    let shown = both.map(|(at, (recipient, orcpt))| {
        let orcpt = orcpt.trim_start_matches("rfc822;");
        let command = command(at).map_or("-".to_owned(), |command| command.to_string());
        format!("{}:{orcpt}:{command}", recipient.user())
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn recipients_keep_their_parameters_however_they_change() {
    let [d, e] = ["d", "e"].map(|name| Address::new(name, "x.example"));
    let (_dir, mut transaction, [a, b, c]) = with_params();
    assert_eq!(shown(&transaction), "a:a:0 b:b:1 c:c:2");
    transaction.remove_recipient(&b);
    transaction.add_recipient(d.clone());
    assert_eq!(shown(&transaction), "a:a:0 c:c:2 d:-:-");
    assert!(transaction.replace_recipient(&a, &[d.clone(), e.clone()]));
    assert!(!transaction.replace_recipient(&a, &[]));
    assert_eq!(shown(&transaction), "d:a:0 e:a:0 c:c:2 d:-:-");
    assert!(transaction.replace_recipient(&c, &[]));
    assert_eq!(shown(&transaction), "d:a:0 e:a:0 d:-:-");

    let (_dir, mut transaction, _) = with_params();
    transaction.set_recipients(vec![a.clone(), d.clone(), b.clone()]);
    assert_eq!(shown(&transaction), "a:a:0 d:b:1 b:b:1");
    transaction.set_recipients(vec![e, b]);
    assert_eq!(shown(&transaction), "e:-:- b:b:1");
    transaction.clear();
    assert_eq!((transaction.accepted(), transaction.rcpt_params().len()), (0, 0));
}

/// Somebody who changes recipients gives all of them.
#[test]
fn very_many_recipients_are_replaced_in_one_pass() {
    const ALL: usize = 100_000;
    let (_dir, mut transaction) = transaction();
    let name = |at: usize| Address::new(&at.to_string(), "x.example");
    (0..ALL).for_each(|at| transaction.accept_recipient(name(at), Params::default()));
    let begun = Instant::now();
    transaction.set_recipients((0..ALL).rev().map(name).collect());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(transaction.recipients_of(0).collect::<Vec<_>>(), [ALL - 1]);
}

#[test]
fn temporary_files_end_with_the_transaction() {
    let (_dir, mut transaction) = transaction();
    let file = transaction.temp_file();
    let folder = transaction.temp_dir().unwrap();
    fs::write(&file, "x").unwrap();
    fs::write(folder.join("inside"), "x").unwrap();
    transaction.clear();
    assert!(!file.exists() && !folder.exists());
}

#[test]
fn the_message_is_the_edited_header_and_the_text_as_received() {
    let (_dir, mut transaction) = transaction();
    transaction.body.write(b"Subject:  x\r\n\r\ntext\r\n").unwrap();
    transaction.body.set_start(13);
    transaction.header = Header::parse(b"Subject:  x\r\n");
    transaction.header.add_at(0, "X-Seen", "yes");
    let mut out = vec![];
    transaction.write_message(&mut out).unwrap();
    assert_eq!(out, b"X-Seen: yes\r\nSubject:  x\r\n\r\ntext\r\n");
    assert_eq!(transaction.message_len(), out.len() as u64);
    let mut out = vec![];
    transaction.write_lf(&mut out).unwrap();
    assert_eq!(out, b"X-Seen: yes\nSubject:  x\n\ntext\n");
    assert_eq!(transaction.lf_len().unwrap(), out.len() as u64);
}

#[test]
fn another_message_takes_the_place_of_one() {
    for (text, fields, written) in [
        ("To: x\r\nA: b\r\n c\r\n\r\ntext\r\n", 2, None),
        ("\r\nonly text", 0, None),
        ("", 0, None),
        ("no field\r\n", 0, None),
        (" a fold\r\n", 0, Some("\r\n a fold\r\n")),
        ("From a b\r\nTo: x\r\n\r\n", 2, Some("X-Mailbox-Line: From a b\r\nTo: x\r\n\r\n")),
    ] {
        let (_dir, mut transaction) = transaction();
        transaction.body.write(b"S: x\r\n\r\nold\r\n").unwrap();
        transaction.body.set_start(6);
        transaction.header = Header::parse(b"S: x\r\n");
        let (old, path) =
            (transaction.body.stamp(), transaction.body.filename().unwrap().to_owned());
        let mut message = transaction.new_message();
        message.write_all(text.as_bytes()).unwrap();
        transaction.replace_message(message).unwrap();
        let mut out = vec![];
        transaction.write_message(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), written.unwrap_or(text));
        assert_eq!(transaction.header.len(), fields, "{text}");
        assert!(transaction.body.stamp() != old && !path.exists());
    }
}

#[test]
fn a_message_that_cannot_take_the_place_changes_nothing() {
    let (_dir, mut transaction) = transaction();
    transaction.body.write(b"text\r\n").unwrap();
    let mut message = transaction.new_message();
    message.write_all(&b"A: b\r\n".repeat(LARGEST / 6 + 1)).unwrap();
    let error = transaction.replace_message(message).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(transaction.body.in_memory(), Some(&b"text\r\n"[..]));
    // As much as a client may send.
    let mut message = transaction.new_message();
    let text = format!("A: b\r\n\r\n{}", "x".repeat(2 * LARGEST));
    message.write_all(text.as_bytes()).unwrap();
    transaction.replace_message(message).unwrap();
    assert_eq!(transaction.message_len(), text.len() as u64);
}

#[test]
fn lf_messages_keep_what_is_no_line_end() {
    let (_dir, mut transaction) = transaction();
    transaction.body.write(b"a\rb\nc\r\r\nd\r").unwrap();
    let mut out = vec![];
    transaction.write_lf(&mut out).unwrap();
    assert_eq!(out, b"a\rb\nc\r\nd\r");
    assert_eq!(transaction.lf_len().unwrap(), out.len() as u64);
}
