//! What plugins remember: daemons with the plugin remembers, whose processes are killed, and the tool
//! for people.
//!
//! `QPSMTPD_ROUNDS=600 cargo test --release --test t store::` kills as many workers.

// Redis, which hosts share.
pub(crate) mod redis;
// Disks that are full, or cannot be written.
mod disk;

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};

use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Server, TIMEOUT, cargo, poll, say};

/// The program, built as these tests were.
pub(crate) fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let programs = Path::new(Model::Prefork.program()).parent().unwrap();
        cargo(&["build", "--example", "remembers"]);
        programs.join("examples/remembers")
    });
    built.clone()
}

pub(crate) fn config(plugins: &str) -> Config {
    let plugins = plugins.to_owned() + "\nrcpt_ok\nqueue/maildir {work}/Maildir";
    Config::new().set("plugins", &plugins).set("junk_commands", "0")
}

pub(crate) fn start<'a>(config: &'a Config, model: Model, more: &[&str]) -> Server<'a> {
    let mut command = config.command(program());
    command.env("REMEMBERS_AS", model.to_string()).args(model.arguments(more));
    Server::start_command(config, model, command)
}

/// What the plugin answers.
fn ask(server: &Server<'_>, question: &str) -> u64 {
    let mut client = server.connect();
    client.hello();
    let reply = client.ask(question, "250");
    let text = reply.lines[0].rsplit([' ', '-']).next().unwrap().to_owned();
    client.quit();
    text.trim().parse().unwrap_or_else(|_| panic!("{question}: {:?}", reply.lines))
}

fn tool(config: &Config, words: &[&str]) -> Output {
    let mut tool = config.command(program());
    tool.env("REMEMBERS_AS", "inetd").arg("--store").args(words);
    tool.args(unprivileged().map(|user| format!("--user={}", user.name)));
    tool.output().unwrap()
}

fn said(config: &Config, words: &[&str]) -> String {
    let Output { status, stdout, stderr } = tool(config, words);
    let (said, why) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{words:?}: {why}");
    said
}

#[test]
fn processes_share_it_and_people_see_it() {
    for model in Model::PARENTS {
        let config = config("remembers");
        let server = start(&config, model, &[]);
        let empty = tool(&config, &["list"]);
        let why = String::from_utf8(empty.stderr).unwrap();
        assert!(why.contains("no plugin has used it yet"), "{why}");
        for count in 1..=20 {
            assert_eq!(ask(&server, "NOOP add key"), count, "{model}");
        }
        ask(&server, "NOOP add other 5000");
        assert_eq!(said(&config, &["list"]), "remembers\t3\n");
        let listed = said(&config, &["list", "remembers", "ther"]);
        assert!(listed.starts_with("other\t4") && listed.ends_with("\t1\n"), "{listed}");
        let shown = said(&config, &["show", "remembers", "key"]);
        assert!(shown.starts_with("key: key\nvalue: 20\nkept: until 2"), "{shown}");
        let explained = said(&config, &["explain", "remembers", "key"]);
        assert_eq!(explained, "key: key was counted 20 times\n");
        assert_eq!(said(&config, &["clear", "remembers", "key"]), "");
        assert_eq!(ask(&server, "NOOP get key"), 0);
        let gone = tool(&config, &["clear", "remembers", "key"]);
        assert!(!gone.status.success());
        assert_eq!(String::from_utf8(gone.stderr).unwrap(), "qpsmtpd: there is no entry 'key'\n");
        assert_eq!(said(&config, &["clear", "remembers"]), "remembers: 2 entries forgotten\n");
        server.stop().unwrap();
        config.nothing_left().unwrap();
    }
}

/// What the parent has to know of an address it knows from the sessions before.
#[test]
fn the_parent_knows_what_sessions_tell_it() {
    for model in Model::PARENTS {
        let config = config("remembers refuse 3");
        let server = start(&config, model, &[]);
        for _ in 0..3 {
            let mut client = server.connect();
            client.hello();
            client.quit();
        }
        let refused = poll(TIMEOUT, || {
            let mut client = server.connect();
            let reply = client.reply();
            client.say("QUIT");
            reply.lines[0].contains("sessions were enough").then_some(())
        });
        assert!(refused.is_some(), "{model}: {}", server.log().tail());
        server.stop().unwrap();
    }
}

/// Without a parent each session opens the store, and one has it looked after.
#[test]
fn sessions_without_a_parent_share_it() {
    let config = config("remembers");
    let inetd = |question: &str| {
        let mut session = config.command(program());
        session.env("REMEMBERS_AS", "inetd").env("TCPREMOTEIP", "192.0.2.7").stdin(Stdio::piped());
        session.args(unprivileged().map(|user| format!("--user={}", user.name)));
        let mut session = session.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let dialogue = format!("EHLO x\r\n{question}\r\nQUIT\r\n");
        session.stdin.take().unwrap().write_all(dialogue.as_bytes()).unwrap();
        let done = session.wait_with_output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    for count in 1..=3 {
        let said = inetd("NOOP add key");
        assert!(said.contains(&format!(" {count}\r\n")), "{said}");
    }
    let log = || said(&config, &["list"]) == "remembers\t2\n";
    assert!(log(), "{}", said(&config, &["list"]));
    let clocks = || fs::read(config.path("store/entries/data.mdb")).unwrap();
    let is_tended = || clocks().windows(6).any(|octets| octets == b"clocks").then_some(());
    assert!(poll(TIMEOUT, is_tended).is_some());
    config.nothing_left().unwrap();
}

/// Workers are killed while they write: what was confirmed is there, nobody waits for ever, and the
/// file is sound.
#[test]
fn killed_workers_leave_it_as_it_should_be() {
    let kills: usize = std::env::var("QPSMTPD_ROUNDS").map_or(30, |text| text.parse().unwrap());
    for model in Model::PARENTS {
        let config = config("remembers");
        let mut server = start(&config, model, &[]);
        let port = server.port();
        let is_over = AtomicBool::new(false);
        let confirmed: u64 = thread::scope(|scope| {
            let client = || {
                let mut count = 0;
                while !is_over.load(Ordering::SeqCst) {
                    count += load(port);
                }
                count
            };
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
            // A test that fails ends them, too.
            let end = End(&is_over);
            let file = config.path("store/entries/data.mdb");
            assert!(poll(TIMEOUT, || file.exists().then_some(())).is_some());
            let mut killed = 0;
            while killed < kills {
                for worker in server.parent().children() {
                    killed += usize::from(kill(worker, Signal::SIGKILL).is_ok());
                }
                // Others have taken their places.
                let served = confirmed_so_far(&config);
                let goes_on = || (confirmed_so_far(&config) > served).then_some(());
                assert!(poll(TIMEOUT, goes_on).is_some(), "{model}: {}", server.log().tail());
            }
            drop(end);
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        });
        let counted = confirmed_so_far(&config);
        assert!(
            counted >= confirmed && counted <= confirmed + kills as u64 + 20,
            "{counted} {confirmed}"
        );
        assert!(tool(&config, &["tend"]).status.success());
        assert!(!config.path("store/entries.bad").exists());
        assert_eq!(confirmed_so_far(&config), counted);
        say(&format!("store, {model}: {kills} kills, {counted} counted, {confirmed} confirmed"));
        server.stop().unwrap();
        config.nothing_left().unwrap();
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A client counts as often as it can; how often that was confirmed.
fn load(port: u16) -> u64 {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return 0 };
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut is_said = |code: &str| matches!(lines.next(), Some(Ok(line)) if line.starts_with(code));
    if !is_said("220") {
        return 0;
    }
    let mut count = 0;
    for _ in 0..50 {
        if stream.write_all(b"NOOP add all\r\n").is_err() || !is_said("250") {
            return count;
        }
        count += 1;
    }
    let _ = stream.write_all(b"QUIT\r\n");
    is_said("221");
    count
}

fn confirmed_so_far(config: &Config) -> u64 {
    let listed = said(config, &["list", "remembers", "all"]);
    listed.trim().rsplit('\t').next().unwrap().parse().unwrap_or(0)
}

/// What makes a store unusable is said before a start, by it, and by sessions where it comes later.
#[test]
fn what_is_wrong_with_it_is_said() {
    let config = config("remembers");
    let check = || {
        let Output { status, stderr, .. } = config.check(program()).output().unwrap();
        (status.success(), String::from_utf8(stderr).unwrap())
    };
    assert_eq!(check(), (true, String::new()));
    assert!(!config.path("store").exists());
    fs::create_dir(config.path("store")).unwrap();
    fs::set_permissions(config.path("store"), Permissions::from_mode(0o777)).unwrap();
    let (is_good, why) = check();
    assert!(!is_good && why.contains("/store: everybody may write in it"), "{why}");
    if unprivileged().is_some() {
        fs::set_permissions(config.path("store"), Permissions::from_mode(0o700)).unwrap();
        let (is_good, why) = check();
        assert!(!is_good && why.contains("/store belongs to user 0, and sessions run as"), "{why}");
    }
    fs::remove_dir(config.path("store")).unwrap();
    fs::write(config.path("store"), "no folder").unwrap();
    let (is_good, why) = check();
    assert!(!is_good && why.contains("/store: Not a directory"), "{why}");
    fs::remove_file(config.path("store")).unwrap();

    let server = start(&config, Model::Prefork, &[]);
    fs::create_dir_all(config.path("store/entries")).unwrap();
    fs::write(config.path("store/entries/data.mdb"), vec![b'x'; 8192]).unwrap();
    if let Some(user) = unprivileged() {
        let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        for path in ["store", "store/entries", "store/entries/data.mdb"] {
            chown(config.path(path), uid, gid).unwrap();
        }
    }
    let mut client = server.connect();
    client.hello();
    client.ask("NOOP add key", "451");
    client.quit();
    server.log().wait_for("data.mdb is not a file of this version of LMDB");
    // Mail goes on.
    let mut client = server.connect();
    client.hello();
    client.envelope();
    client.ask("Hello\r\n.", "250");
    client.quit();
    server.stop().unwrap();
    let listed = tool(&config, &["list"]);
    assert!(
        String::from_utf8(listed.stderr).unwrap().contains("not a file of this version of LMDB")
    );
}

/// A file that was damaged while nobody looked is set aside at the start, or as soon as it has killed
/// somebody.
#[test]
fn a_damaged_file_is_replaced() {
    let config = config("remembers");
    let server = start(&config, Model::Prefork, &[]);
    let mut client = server.connect();
    client.hello();
    for number in 0..400 {
        client.ask(&format!("NOOP add {number}{}", "x".repeat(300)), "250");
    }
    client.quit();
    server.stop().unwrap();
    let file = config.path("store/entries/data.mdb");
    let shorten = || {
        let file = File::options().write(true).open(&file).unwrap();
        file.set_len(4 * 4096).unwrap();
    };
    shorten();
    let server = start(&config, Model::Prefork, &[]);
    server.log().wait_for("store/entries was damaged (SIGBUS): it is");
    assert_eq!(ask(&server, "NOOP add key"), 1);
    for number in 0..400 {
        ask(&server, &format!("NOOP add {number}{}", "x".repeat(300)));
    }
    fs::remove_dir_all(config.path("store/entries.bad")).unwrap();
    shorten();
    let is_replaced = || {
        let mut client = server.connect();
        client.say("NOOP add 7");
        let answered = client.try_reply().is_ok();
        (answered && config.path("store/entries.bad").exists()).then_some(())
    };
    assert!(poll(TIMEOUT, is_replaced).is_some(), "{}", server.log().tail());
    server.stop().unwrap();
}

/// Run scripts of old limit the memory of a process to less than the file may grow to.
#[test]
fn a_limit_of_memory_leaves_the_file_less_room() {
    let config = Config::new()
        .set("plugins", "greylisting\nrcpt_ok\nqueue/maildir {work}/Maildir")
        .set("store", "lmdb {work}/store");
    let limited = || {
        let mut command = config.command("prlimit");
        command.args(["--as=300000000", "--data=300000000", Model::Forkserver.program()]);
        command
    };
    let mut command = limited();
    command.args(Model::Forkserver.arguments(&[]));
    let server = Server::start_command(&config, Model::Forkserver, command);
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "450");
    client.quit();
    server.stop().unwrap();
    let mut command = limited();
    command.arg("--check").args(unprivileged().map(|user| format!("--user={}", user.name)));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("grow to 71 MiB, not 1024"), "{said}");
}
