//! Plugins that panic, err, or loop: the client gets a temporary failure, and everybody else lives.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use qpsmtpd::error::Result;
use qpsmtpd::hook::{Args, DECLINED, Hook, Hooks, OK, Register, Verdict};
use qpsmtpd::log::Level;
use qpsmtpd::sys::{deadline, panics};
use qpsmtpd::testing::Trial;

use crate::harness::{Config, Model};

/// Plays `lines` to a session with one plugin; the replies, the greeting first.
fn play(register: Register, args: &'static str, lines: &[&str]) -> Vec<String> {
    panics::install_beside();
    let (client, server) = UnixStream::pair().unwrap();
    let served =
        thread::spawn(move || Trial::with(register, args, &[("me", "mx.test")]).serve(server));
    let mut replies = BufReader::new(client.try_clone().unwrap()).lines();
    let mut found = vec![replies.next().unwrap().unwrap()];
    for line in lines {
        if (&client).write_all(format!("{line}\r\n").as_bytes()).is_err() {
            break;
        }
        match replies.next() {
            Some(Ok(reply)) => found.push(reply),
            _ => break,
        }
    }
    drop((client, replies));
    served.join().unwrap();
    found
}

fn panics_at_rcpt(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.rcpt(|_, recipient, _| -> Verdict {
        assert_ne!(recipient.user(), "bad", "no way");
        OK
    });
    Ok(())
}

fn errs_at_queue(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.rcpt(|_, _, _| OK);
    hooks.queue(|_| -> std::result::Result<Verdict, String> { Err("disk on fire".into()) });
    Ok(())
}

fn errs_at_connect(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.connect(|_| -> std::result::Result<Verdict, String> { Err("no".into()) });
    Ok(())
}

fn panics_in_config(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.on_config(|_, name| match name {
        "friends" => panic!("no friends"),
        _ => None,
    });
    hooks.rcpt(|session, _, _| if session.config("friends").is_empty() { OK } else { DECLINED });
    Ok(())
}

fn loops_at_mail(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.mail(|_, _, _| forever());
    Ok(())
}

fn loops_outside_of_sessions(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.post_fork(|_| forever());
    hooks.logging(Level::Debug, |record| if record.text == "loop" { forever() } else { DECLINED });
    Ok(())
}

fn forever() -> Verdict {
    let mut number: u64 = 1;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3));
        if number == 0 {
            return OK;
        }
    }
}

const MAIL: &str = "MAIL FROM:<a@b.test>";

#[test]
fn a_panic_is_a_temporary_failure_and_the_session_goes_on() {
    let lines = ["HELO x", MAIL, "RCPT TO:<bad@x.test>", "RCPT TO:<good@x.test>", "QUIT"];
    let replies = play(panics_at_rcpt, "", &lines);
    assert_eq!(replies[3], "451 Internal error - try again later");
    assert_eq!(replies[4], "250 <good@x.test>, recipient ok");
    assert!(replies[5].starts_with("221 "));
}

#[test]
fn on_error_ignore_skips_the_plugin() {
    let replies =
        play(panics_at_rcpt, "on_error ignore", &["HELO x", MAIL, "RCPT TO:<bad@x.test>"]);
    assert_eq!(replies[3], "450 No plugin decided if relaying is allowed");
}

#[test]
fn an_error_at_queue_is_451() {
    let lines = ["HELO x", MAIL, "RCPT TO:<a@x.test>", "DATA", "Subject: x\r\n\r\n.", "NOOP"];
    let replies = play(errs_at_queue, "", &lines);
    assert_eq!(replies[5], "451 Internal error - try again later");
    assert_eq!(replies[6], "250 OK");
}

#[test]
fn an_error_at_connect_is_421() {
    assert_eq!(play(errs_at_connect, "", &["NOOP"]), ["421 Internal error - try again later"]);
}

#[test]
fn a_handler_that_could_not_get_its_configuration_does_not_decide() {
    let replies = play(panics_in_config, "", &["HELO x", MAIL, "RCPT TO:<a@x.test>"]);
    assert_eq!(replies[3], "451 Internal error - try again later");
}

#[test]
fn failures_are_logged_with_plugin_and_hook() {
    panics::install_beside();
    let mut trial = Trial::with(panics_at_rcpt, "", &[]);
    assert!(trial.rcpt("<bad@x.test>").is_failure());
    let log = trial.log();
    assert!(log.contains("(rcpt) trial: FATAL PLUGIN ERROR: panicked: "), "{log}");
    assert!(log.contains("no way") && log.contains("failing.rs:"), "{log}");
}

/// The argument `loglevel` is for the plugin's own lines.
#[test]
fn a_failure_is_logged_whatever_level_the_plugins_lines_have() {
    fn says_and_fails(hooks: &mut Hooks, _args: &Args) -> Result<()> {
        hooks.connect(|session| {
            session.log(Level::Error, "its own line");
            Err::<Verdict, _>("no")
        });
        hooks.pre_connection(|incoming| {
            incoming.log(Level::Error, "its own line");
            Err::<Verdict, _>("never")
        });
        Ok(())
    }
    for args in ["loglevel LOGDEBUG", "loglevel 7", "loglevel +5"] {
        let mut trial = Trial::with(says_and_fails, args, &[("loglevel", "2")]);
        assert!(trial.plain(Hook::Connect).is_failure());
        assert_eq!(trial.log(), "(connect) trial: FATAL PLUGIN ERROR: no", "{args}");
        trial.take_log();
        assert!(trial.pre_connection("192.0.2.1", &[], 0).is_failure());
        assert_eq!(trial.log(), "(pre-connection) trial: FATAL PLUGIN ERROR: never", "{args}");
    }
}

/// The alarm ends its process, so the session runs in one: this test binary again, with the client
/// as its standard input.  What it says on standard error comes back with the client.
fn looping(name: &str, folder: &Path) -> (TcpStream, Child) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("T_LOOPS_AT_MAIL", folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::from(OwnedFd::from(server)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (client, child)
}

/// It has ended for that reason; what it said.
fn overdue(child: Child) -> String {
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(deadline::EXIT_OVERDUE));
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn all_of(client: impl Read) -> Vec<String> {
    BufReader::new(client).lines().map_while(std::result::Result::ok).collect()
}

#[test]
fn a_loop_past_its_deadline_ends_one_process_with_421() {
    let name = "failing::a_loop_past_its_deadline_ends_one_process_with_421";
    if env::var_os("T_LOOPS_AT_MAIL").is_some() {
        let socket: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        deadline::install(None);
        Trial::with(loops_at_mail, "timeout 1", &[("me", "mx.test")]).serve(socket);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut client, child) = looping(name, folder.path());
    client.write_all(format!("HELO x\r\n{MAIL}\r\n").as_bytes()).unwrap();
    let replies = all_of(&client);
    assert_eq!(replies.last().unwrap(), "421 4.3.0 Internal error - try again later");
    let said = overdue(child);
    assert!(said.contains("(mail) trial: passed its deadline"), "{said}");
}

/// Handlers that see no session have the same limit in a process that serves.
#[test]
fn a_loop_outside_of_a_session_has_a_deadline() {
    let name = "failing::a_loop_outside_of_a_session_has_a_deadline";
    if let Some(folder) = env::var_os("T_LOOPS_AT_MAIL") {
        deadline::install(None);
        let trial = Trial::with(loops_outside_of_sessions, "timeout 1", &[]);
        match folder.to_string_lossy().ends_with("logging") {
            true => trial.session.log(Level::Info, "loop"),
            false => trial.post_fork(),
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for hook in ["post-fork", "logging"] {
        let folder = folder.path().join(hook);
        std::fs::create_dir(&folder).unwrap();
        let (_client, child) = looping(name, &folder);
        let said = overdue(child);
        assert!(said.contains(&format!("({hook}) trial: passed its deadline")), "{said}");
    }
}

/// A process without a parent becomes a program that tells.
#[test]
fn a_loop_past_its_deadline_is_told_where_there_is_no_parent() {
    let name = "failing::a_loop_past_its_deadline_is_told_where_there_is_no_parent";
    if env::var_os("T_LOOPS_AT_MAIL").is_some() {
        let args: Vec<String> = env::args().collect();
        if args.iter().any(|word| word == "trial") {
            let told = format!("told: {}\n", args[4..].join(" "));
            std::io::stderr().write_all(told.as_bytes()).unwrap();
            std::process::exit(deadline::EXIT_OVERDUE);
        }
        let socket: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        deadline::install_alone(&["/proc/self/exe", "--exact", name, "--nocapture"]);
        Trial::with(loops_at_mail, "timeout 1", &[("me", "mx.test")]).serve(socket);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut client, child) = looping(name, folder.path());
    client.write_all(format!("HELO x\r\n{MAIL}\r\n").as_bytes()).unwrap();
    let replies = all_of(&client);
    assert_eq!(replies.last().unwrap(), "421 4.3.0 Internal error - try again later");
    let said = overdue(child);
    let pattern = regex::Regex::new(r"(?m)^told: [0-9a-f]+\.[0-9a-f]+\.0 mail trial$").unwrap();
    assert!(pattern.is_match(&said), "{said}");
}

/// What loops has interrupted nothing that the thread which says goodbye needs.
#[test]
fn a_loop_past_its_deadline_ends_tls_with_421() {
    let name = "failing::a_loop_past_its_deadline_ends_tls_with_421";
    if let Some(folder) = env::var_os("T_LOOPS_AT_MAIL") {
        fn under_tls(hooks: &mut Hooks, args: &Args) -> Result<()> {
            let certs = args.required(0, "a folder")?;
            qpsmtpd::plugins::tls::register(hooks, &Args::new(["certs", certs]))?;
            loops_at_mail(hooks, args)
        }
        let socket: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        deadline::install(None);
        let args = format!("{}/ssl timeout 1", Path::new(&folder).display());
        Trial::with(under_tls, &args, &[("me", "mx.test")]).serve(socket);
        return;
    }
    let config = crate::tls::config();
    let (client, child) = looping(name, &config.path("."));
    crate::tls::starttls(&client, "");
    let mut client = crate::tls::Client::new(client, &crate::tls::believer(&config), "mail.test");
    client.ask("EHLO client.test");
    assert_eq!(client.ask(MAIL), "421 4.3.0 Internal error - try again later\r\n");
    client.ends();
    let said = overdue(child);
    assert!(said.contains("(mail) trial: passed its deadline"), "{said}");
}

/// The program that takes the place of one that was overdue writes to the log that there is, and
/// cleans up, whichever of the three it is.
#[test]
fn what_was_overdue_is_logged_and_its_files_are_removed() {
    for model in Model::ALL {
        let config = Config::new().set("logging", "logging/file {work}/log");
        let script = "echo x > \"$1/1:$$:0\"; exec \"$0\" --overdue 6b1.2f.0 mail trial";
        let mut command = config.command("sh");
        command.args(["-c", script, model.program()]).arg(config.path("spool"));
        let status = command.status().unwrap();
        assert_eq!(status.code(), Some(deadline::EXIT_OVERDUE), "{model}");
        let log = std::fs::read_to_string(config.path("log")).unwrap();
        let line = "[6b1.2f.0] (mail) trial: FATAL PLUGIN ERROR: passed its deadline, the session \
                    was ended\n";
        assert!(log.ends_with(line), "{model}: {log}");
        config.nothing_left().unwrap();
    }
}
