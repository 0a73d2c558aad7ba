//! Plugins whose doing a transcript cannot show: it has files or other servers in it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

use qpsmtpd::error::Result;
use qpsmtpd::hook::{Args, Hooks, OK};
use qpsmtpd::state::Note;
use qpsmtpd::testing::Trial;

use crate::harness::{Client, Config, Model, Server};

/// Sends a message with these lines of header, and returns the code of the answer.
fn send(client: &mut Client, header: &str) -> String {
    client.envelope();
    client.send_raw(format!("{header}\r\n\r\n.. a line\r\n.\r\n").as_bytes());
    client.reply().code
}

#[test]
fn content_log_keeps_messages_accepted_or_not() {
    for model in Model::ALL {
        let config = Config::new()
            .set("plugins", "rcpt_ok\ncontent_log\nheaders\nqueue/maildir {work}/Maildir")
            .set("content_log_file", "{work}/Maildir/all-%%");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        assert_eq!(send(&mut client, "From: first"), "250");
        assert_eq!(send(&mut client, "Subject: second"), "552");
        client.quit();
        server.stop().unwrap();
        let text = fs::read_to_string(config.path("Maildir/all-%")).unwrap();
        let first = text.find("\nFrom: first\n\n. a line\n").unwrap_or_else(|| panic!("{text}"));
        let second = text.find("\nSubject: second\n\n. a line\n");
        assert!(second.is_some_and(|second| second > first), "{text}");
        assert_eq!(text.matches("Received: from").count(), 2, "{text}");
    }
}

/// A web server that has one page, or fails, until nobody can connect any more.
fn web(path: &'static str, answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut request = String::new();
            reader.read_line(&mut request).unwrap();
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                line.clear();
            }
            let is_it = request.starts_with(&format!("GET {path} "));
            let none = "HTTP/1.0 404 Not Found\r\n\r\n";
            stream.write_all(if is_it { answer } else { none }.as_bytes()).ok();
        }
    });
    port
}

#[test]
fn http_config_gives_files_from_elsewhere() {
    let answer = "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nweb.test\n";
    let port = web("/config/rcpthosts", answer);
    let config = Config::new().set(
        "plugins",
        &format!("http_config http://127.0.0.1:{port}/config/\nrcpt_ok\nqueue/discard"),
    );
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@web.test>", "250");
    client.ask("RCPT TO:<b@example.com>", "550");
    client.quit();
    server.stop().unwrap();
}

#[test]
fn http_config_that_cannot_ask_lets_nobody_in() {
    let port = web("/rcpthosts", "HTTP/1.0 500 Oops\r\n\r\n");
    for (more, code) in [("", "451"), ("on_error ignore", "250")] {
        let config = Config::new().set(
            "plugins",
            &format!("http_config http://127.0.0.1:{port}/ {more}\nrcpt_ok\nqueue/discard"),
        );
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        client.hello();
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@example.com>", code);
        client.quit();
        server.log().wait_for("(config) http_config: FATAL PLUGIN ERROR: rcpthosts: 127.0.0.1:");
        server.stop().unwrap();
    }
}

/// Marks messages of one sender, and has queue/discard and a Maildir behind it.
fn marks(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    const DISCARD: Note<bool> = Note::new("discard_mail");
    hooks.rcpt(|session, _, _| {
        let sender = session.transaction.sender().map(|sender| sender.user().to_owned());
        session.transaction.notes.set(DISCARD, sender.as_deref() == Some("unwanted"));
        OK
    });
    let discard = hooks.isa_plugin("queue/discard", &Args::new(["note", "discard_mail"]))?;
    let maildir = hooks.isa_plugin("queue/maildir", &Args::new(["~/Maildir"]))?;
    hooks.queue(move |session| {
        let verdict = discard.plain(session, qpsmtpd::hook::Hook::Queue);
        match verdict.code() {
            qpsmtpd::hook::Code::Declined => maildir.plain(session, qpsmtpd::hook::Hook::Queue),
            _ => verdict,
        }
    });
    Ok(())
}

#[test]
fn marked_messages_are_discarded_and_their_senders_do_not_learn_it() {
    let (client, server) = UnixStream::pair().unwrap();
    let trial = Trial::with(marks, "", &[("me", "mx.test")]);
    // The folder goes away with the trial, so the test counts when the answer has come.
    let maildir = trial.dir().join("Maildir/new");
    thread::scope(|scope| {
        let fd = std::os::fd::OwnedFd::from(server);
        let dialogue = scope.spawn(|| {
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
            let mut answer = || lines.next().unwrap().unwrap();
            let say = |line: &str| (&client).write_all(format!("{line}\r\n").as_bytes()).unwrap();
            answer();
            say("HELO x");
            answer();
            for (sender, kept) in [("unwanted", 0), ("wanted", 1)] {
                for line in [&format!("MAIL FROM:<{sender}@x.test>"), "RCPT TO:<b@x.test>", "DATA"]
                {
                    say(line);
                    answer();
                }
                say("Message-Id: <1@x.test>\r\n\r\ntext\r\n.");
                assert_eq!(answer(), "250 Queued! <1@x.test>");
                let count = fs::read_dir(&maildir).map_or(0, |entries| entries.count());
                assert_eq!(count, kept, "{sender}");
            }
            say("QUIT");
            let mut rest = String::new();
            (&client).read_to_string(&mut rest).ok();
        });
        trial.serve(fd);
        dialogue.join().unwrap();
    });
}

/// A name of Perl qpsmtpd that is not there stops the start with a line that says why, and the
/// manual says the same.
#[test]
fn plugins_that_are_not_there_say_what_became_of_them() {
    for (line, why) in [
        ("dspam autolearn 1", "plugin 'dspam' will not be native: it needs the program dspam"),
        ("logging/connection_id", "plugin 'logging/connection_id' is obsolete: all lines have"),
        ("virus/sophie:1", "plugin 'virus/sophie' will not be native: its scanner"),
    ] {
        let config = Config::new().set("plugins", &format!("rcpt_ok\n{line}\nqueue/discard"));
        let check = Server::command(&config, Model::Prefork, &["--check"]).output().unwrap();
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(!check.status.success());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(&format!("/config/plugins:2: {why}")), "{said}");
        let name = line.split([' ', ':']).next().unwrap();
        let mut help = Command::new(Model::Inetd.program());
        let help = help.args(["--help-plugin", name]).output().unwrap();
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.status.success() && text.starts_with(why), "{text}");
        assert!(said.contains(text.trim_end()), "{said}");
    }
}
