use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::hook::Hook;
use crate::state::Hello;
use crate::testing::Trial;

const MESSAGE: &str = "Subject: hi\nMessage-Id: <1@a.test>\n\nline\n\nend\n";

/// A transaction from a@example.net, ready to be queued.
fn trial(args: &str, recipients: &[&str]) -> Trial {
    let mut trial = Trial::new(&format!("queue/maildir {args}"), &[]);
    envelope(&mut trial, recipients);
    trial
}

/// The same with messages that have names in tmp.
fn trial_with_names(args: &str, recipients: &[&str]) -> Trial {
    fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
        let maildir = Maildir { unnamed: false, ..Maildir::from_args(args)? };
        hooks.queue(move |session| maildir.deliver(session));
        Ok(())
    }
    let mut trial = Trial::with(register, args, &[]);
    envelope(&mut trial, recipients);
    trial
}

fn envelope(trial: &mut Trial, recipients: &[&str]) {
    trial.mail("<a@example.net>");
    for recipient in recipients {
        trial.rcpt(recipient);
    }
    trial.message(MESSAGE);
}

fn queue(trial: &mut Trial) -> (Code, String) {
    let verdict = trial.plain(Hook::Queue);
    (verdict.code(), verdict.text().to_owned())
}

fn is_queued(trial: &mut Trial) {
    assert_eq!(queue(trial), (Code::Ok, "Queued! <1@a.test>".to_owned()), "{}", trial.log());
}

fn is_declined(trial: &mut Trial, step: &str) {
    assert_eq!(queue(trial), (Code::Declined, format!("queue error ({step})")));
}

/// The messages in a folder of the trial.
fn mails(trial: &Trial, folder: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(trial.dir().join(folder)).into_iter().flatten();
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn mode(trial: &Trial, path: &str) -> u32 {
    fs::metadata(trial.dir().join(path)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn one_message_for_all_recipients() {
    let recipients = ["<b@example.com>", "<\"c d\"@example.com>", "<postmaster>"];
    let want = "Return-Path: <a@example.net>\nDelivered-To: postmaster\n\
        Delivered-To: c d@example.com\nDelivered-To: b@example.com\n"
        .to_owned()
        + MESSAGE;
    for mut trial in [trial("~/x/M", &recipients), trial_with_names("~/x/M", &recipients)] {
        is_queued(&mut trial);
        assert_eq!(mails(&trial, "x/M/new"), [want.as_bytes()]);
        assert_eq!(mails(&trial, "x/M/tmp").len() + mails(&trial, "x/M/cur").len(), 0);
        assert!(trial.log().contains("(queue) ") && trial.log().contains(": stored as "));
        is_queued(&mut trial);
        assert_eq!(mails(&trial, "x/M/new").len(), 2);
    }
}

#[test]
fn messages_in_quarantine_are_kept_apart() {
    let recipients = ["<b@example.com>", "<c@example.com>"];
    for (args, apart, usual, copies) in [
        ("~/M quarantine ~/Q", &["Q/new"][..], &["M/new"][..], 1),
        ("~/M %l quarantine ~/Q", &["Q/new"], &["M/b/new", "M/c/new"], 1),
        ("~/M quarantine .Junk", &["M/.Junk/new"], &["M/new"], 1),
        ("quarantine .Junk ~/M %l", &["M/b/.Junk/new", "M/c/.Junk/new"], &["M/b/new"], 2),
        ("~/M %l", &["M/b/new", "M/c/new"], &["M/b/.Junk/new"], 2),
    ] {
        for hello in [Hello::Ehlo, Hello::Lhlo] {
            let mut trial = trial(args, &recipients);
            trial.session.connection.hello = Some(hello);
            trial.session.quarantine("looks odd");
            is_queued(&mut trial);
            let found: Vec<_> = apart.iter().flat_map(|dir| mails(&trial, dir)).collect();
            assert_eq!(found.len(), copies, "{args}");
            for mail in found {
                let mail = String::from_utf8(mail).unwrap();
                assert!(mail.contains("\nX-Quarantine: : looks odd\nSubject: hi\n"), "{mail}");
            }
            assert!(usual.iter().all(|dir| mails(&trial, dir).is_empty()), "{args}");
        }
    }
    let mut other = trial("~/M quarantine ~/Q", &recipients);
    is_queued(&mut other);
    assert_eq!((mails(&other, "M/new").len(), mails(&other, "Q/new").len()), (1, 0));
    for place in ["Q", ".", "..", ".a/b", ".a.b"] {
        let error = Trial::load(&format!("queue/maildir quarantine {place}"), &[]).err();
        assert!(error.unwrap().to_string().contains("quarantine is neither a path"), "{place}");
    }
}

#[test]
fn the_null_sender_and_a_message_without_anything() {
    let mut trial = Trial::new("queue/maildir", &[]);
    trial.mail("<>");
    trial.rcpt("<b@example.com>");
    trial.message("");
    assert_eq!(queue(&mut trial), (Code::Ok, "Queued! ".to_owned()));
    let want = b"Return-Path: <>\nDelivered-To: b@example.com\n";
    assert_eq!(mails(&trial, "Maildir/new"), [want]);
}

#[test]
fn names_tell_time_process_and_host() {
    let mut trial = trial("", &["<b@example.com>"]);
    is_queued(&mut trial);
    let mut names = fs::read_dir(trial.dir().join("Maildir/new")).unwrap();
    let name = names.next().unwrap().unwrap().file_name().into_string().unwrap();
    let (id, host) = (std::process::id(), regex::escape(&clean(&host_name())));
    let form = regex::Regex::new(&format!(r"^\d{{10}}\.P{id}M\d{{1,6}}Q\d\.{host}$")).unwrap();
    assert!(form.is_match(&name), "{name}");
}

#[test]
fn a_copy_for_each_recipient() {
    let recipients = ["<b@example.com>", "<c@Example.org>", "<postmaster>"];
    for (subdir, folders) in [
        ("%d/%l", ["example.com/b", "example.org/c", "_/postmaster"]),
        ("/%u/", ["b@example.com", "c@example.org", "postmaster@"]),
        ("in/%l", ["in/b", "in/c", "in/postmaster"]),
    ] {
        let args = format!("~/spool {subdir}");
        for mut trial in [trial(&args, &recipients), trial_with_names(&args, &recipients)] {
            is_queued(&mut trial);
            for (folder, to) in folders.iter().zip(["b@example.com", "c@Example.org", "postmaster"])
            {
                let found = mails(&trial, &format!("spool/{folder}/new"));
                let start = format!("Return-Path: <a@example.net>\nDelivered-To: {to}\nSubject");
                assert!(found.len() == 1 && found[0].starts_with(start.as_bytes()), "{folder}");
            }
        }
    }
    let mut trial = trial("~/spool %d", &["<b@example.com>", "<c@example.com>"]);
    is_queued(&mut trial);
    assert_eq!(mails(&trial, "spool/example.com/new").len(), 2);
}

#[test]
fn a_recipient_stays_in_its_folder() {
    for (subdir, user, host, path) in [
        ("%l", "..", "b.test", "_"),
        ("%l", ".", "b.test", "_"),
        ("%l", "...", "b.test", "..."),
        ("%d/%l", "..", "..", "_/_"),
        ("%l/%d", "../../etc", "b.test", ".._.._etc/b.test"),
        ("%u", "a/b c", "[127.0.0.1]", "a_b_c@_127.0.0.1_"),
        ("%d/%l", "postmaster", "", "_/postmaster"),
        (".%l", ".", "b.test", "_"),
        ("%l", "%d", "b.test", "_d"),
        ("%l", "jürgen", "b.test", "jürgen"),
        ("%d/%l", "Bob", "Example.COM", "example.com/Bob"),
        ("%d/%l", "b", "Bücher.example", "xn--bcher-kva.example/b"),
        ("%u", "b", "XN--BCHER-KVA.example", "b@xn--bcher-kva.example"),
        ("%l", "a\"b\\c", "b.test", "a_b_c"),
    ] {
        let found = of_recipient(subdir, &Address::new(user, host));
        assert_eq!(found, Path::new(path), "{subdir} for {user} at {host}");
    }
    let mut trial = trial("~/spool/in %l", &["<\"..\"@example.com>"]);
    is_queued(&mut trial);
    assert_eq!(mails(&trial, "spool/in/_/new").len(), 1);
    assert!(!trial.dir().join("spool/new").exists());
}

#[test]
fn permissions_are_the_mode_whatever_the_umask() {
    for (args, folder, file) in [
        ("~/x %d/%l", 0o700, 0o600),
        ("~/x %d/%l 770", 0o770, 0o660),
        ("~/x %d/%l 777", 0o777, 0o666),
    ] {
        for mut trial in
            [trial(args, &["<b@example.com>"]), trial_with_names(args, &["<b@example.com>"])]
        {
            is_queued(&mut trial);
            for path in ["x", "x/example.com", "x/example.com/b", "x/example.com/b/new"] {
                assert_eq!(mode(&trial, path), folder, "{args}: {path}");
            }
            let new = trial.dir().join("x/example.com/b/new");
            let mail = fs::read_dir(new).unwrap().next().unwrap().unwrap().file_name();
            let mail = format!("x/example.com/b/new/{}", mail.display());
            assert_eq!(mode(&trial, &mail), file, "{args}");
        }
    }
}

#[test]
fn arguments_are_checked() {
    for (args, why) in [
        ("/m inbox", "sub directory 'inbox' does not contain %l, %d or %u"),
        ("/m %l 70", "mode is not an octal number: '70'"),
        ("/m %l 789", "mode is not an octal number: '789'"),
        ("/m %l +70", "mode is not an octal number: '+70'"),
        ("/m %l 700 more", "unexpected argument 'more'"),
        ("/m/%d/%l", "as only a second argument does: write /m %d/%l"),
        ("~/m/x-%u 770", "write ~/m x-%u"),
        ("%d", "write . %d"),
        ("/%d", "write / %d"),
        ("/m/%d %l", "write /m %d"),
        ("/m quarantine /q/%l", "quarantine '/q/%l' means no recipient"),
        ("/m quarantine .%d", "quarantine '.%d' means no recipient"),
    ] {
        let error = Trial::load(&format!("queue/maildir {args}"), &[]).err().unwrap().to_string();
        assert!(error.contains(why), "{args}: {error}");
    }
    Trial::new("queue/maildir ~/100%/%x", &[]);
}

#[test]
fn large_messages_are_whole_from_memory_and_from_the_spool() {
    let lines: Vec<String> = (0..30_000).map(|n| "x".repeat(n % 97) + &n.to_string()).collect();
    let text = format!("Subject: large\n\n{}\n", lines.join("\n"));
    for threshold in ["0", "100000000"] {
        let mut trial = Trial::new("queue/maildir ~/M", &[("size_threshold", threshold)]);
        envelope(&mut trial, &["<b@example.com>"]);
        trial.message(&text);
        assert_eq!(trial.session.transaction.body.in_memory().is_none(), threshold == "0");
        assert_eq!(queue(&mut trial).0, Code::Ok);
        let found = mails(&trial, "M/new");
        assert!(found.len() == 1 && found[0].ends_with(text.as_bytes()), "{threshold}");
    }
}

#[test]
fn a_folder_that_cannot_be_had_is_for_later() {
    for args in ["~/file", "~/file/below", "~/half"] {
        for mut trial in
            [trial(args, &["<b@example.com>"]), trial_with_names(args, &["<b@example.com>"])]
        {
            fs::write(trial.dir().join("file"), "").unwrap();
            fs::create_dir(trial.dir().join("half")).unwrap();
            fs::write(trial.dir().join("half/new"), "").unwrap();
            is_declined(&mut trial, "open");
            let line = format!("could not open {}", trial.session.expand(args).display());
            assert!(trial.log().contains(&line), "{}", trial.log());
        }
    }
}

#[test]
fn folders_that_went_away_are_made_again() {
    let mut trial = trial("~/M", &["<b@example.com>"]);
    is_queued(&mut trial);
    fs::remove_dir_all(trial.dir().join("M")).unwrap();
    is_queued(&mut trial);
    assert_eq!(mails(&trial, "M/new").len(), 1);
    fs::remove_dir_all(trial.dir().join("M/tmp")).unwrap();
    is_queued(&mut trial);
    assert!(trial.dir().join("M/tmp").is_dir());
}

#[test]
fn all_recipients_get_it_or_none() {
    let recipients = ["<b@example.com>", "<c@example.com>", "<d@example.com>"];
    for mut trial in [trial("~/M %l", &recipients), trial_with_names("~/M %l", &recipients)] {
        fs::create_dir(trial.dir().join("M")).unwrap();
        fs::write(trial.dir().join("M/d"), "").unwrap();
        is_declined(&mut trial, "open");
        assert!(trial.dir().join("M/b/new").is_dir() && trial.dir().join("M/c/new").is_dir());
        for folder in ["M/b/new", "M/b/tmp", "M/c/new", "M/c/tmp"] {
            assert_eq!(mails(&trial, folder).len(), 0, "{folder}");
        }
        fs::remove_file(trial.dir().join("M/d")).unwrap();
        is_queued(&mut trial);
        assert_eq!(mails(&trial, "M/b/new").len(), 1);
    }
}
