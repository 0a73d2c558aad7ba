//! Redis, which hosts share: two daemons with one server, one that is away, slow, read-only, or is
//! replaced by another.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use nix::sys::signal::Signal;
use redis::{Commands, Connection};

use super::{ask, config, load, program, said, start};
use crate::harness::{Config, Log, Model, Process, Server, TIMEOUT, deb, free_port, poll};

/// A server for one test.
pub(crate) struct Redis {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Redis {
    /// Starts `redis-server` with these options in a folder of its own.
    pub(crate) fn start(folder: &Path, options: &[&str]) -> Redis {
        Redis::on(free_port(), folder, options)
    }

    fn on(port: u16, folder: &Path, options: &[&str]) -> Redis {
        let folder = folder.join(format!("redis-{port}"));
        fs::create_dir_all(&folder).unwrap();
        let mut command = std::process::Command::new(deb::program("redis-server").unwrap());
        command.current_dir("/").args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(&folder);
        command.args(options);
        let process = Process::spawn(command, &Log::default());
        let redis = Redis { process, port };
        redis.client();
        redis
    }

    fn client(&self) -> Connection {
        client(&format!("redis://127.0.0.1:{}", self.port))
    }
}

fn client(url: &str) -> Connection {
    let connected = poll(TIMEOUT, || {
        let mut connection = redis::Client::open(url).unwrap().get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok().map(|_| connection)
    });
    connected.unwrap_or_else(|| panic!("{url} does not answer"))
}

fn with_url(url: &str) -> Config {
    config("remembers").set("store", &format!("redis {url}")).set("store_timeout", "2")
}

/// Does the plugin say this now?
fn answers(server: &Server<'_>, question: &str, code: &str) -> bool {
    let mut client = server.connect();
    client.hello();
    client.say(question);
    let is_so = client.reply().lines[0].starts_with(code);
    client.quit();
    is_so
}

#[test]
fn two_daemons_count_together() {
    if !deb::need("redis-server") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let one = config("remembers");
    let socket = folder.path().join("redis.sock").display().to_string();
    let redis = Redis::start(folder.path(), &["--unixsocket", &socket, "--unixsocketperm", "777"]);
    one.write("store", &format!("redis redis+unix://{socket}?db=3"));
    let other = with_url(&format!("redis://127.0.0.1:{}/3", redis.port));
    let servers = [start(&one, Model::Prefork, &[]), start(&other, Model::Forkserver, &[])];
    let counts = thread::scope(|scope| {
        let clients = servers.iter().flat_map(|server| {
            let port = server.port();
            (0..3).map(move |_| scope.spawn(move || (0..4).map(|_| load(port)).sum::<u64>()))
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum::<u64>()
    });
    assert_eq!(counts, 6 * 4 * 50);
    assert_eq!(ask(&servers[0], "NOOP get all"), counts);
    assert_eq!(ask(&servers[1], "NOOP get all"), counts);
    let mut client = client(&format!("redis://127.0.0.1:{}/3", redis.port));
    for key in client.keys::<_, Vec<String>>("*").unwrap() {
        let left: i64 = client.ttl(&key).unwrap();
        assert!(key.starts_with("qpsmtpd:remembers:") && left > 0, "{key} {left}");
    }
    let listed = said(&other, &["list", "remembers", "al"]);
    assert!(listed.starts_with("all\t3") && listed.ends_with(&format!("\t{counts}\n")), "{listed}");
    assert!(said(&one, &["explain", "remembers", "all"]).contains("was counted 1200 times"));
    said(&one, &["clear", "remembers", "all"]);
    assert_eq!(ask(&servers[1], "NOOP get all"), 0);
    for server in servers {
        server.stop().unwrap();
    }
}

/// A server that is not there, comes, is frozen, and goes on: sessions are told at once, or after
/// `store_timeout`, and the store is there again by itself.
#[test]
fn a_server_that_does_not_answer_is_left_alone() {
    if !deb::need("redis-server") {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let config = with_url(&format!("redis://127.0.0.1:{port}"));
    for model in Model::PARENTS {
        let server = start(&config, model, &[]);
        server.log().wait_for("the store is not available: Redis 127.0.0.1");
        assert!(answers(&server, "NOOP add key", "451"));
        let redis = Redis::on(port, folder.path(), &[]);
        let is_back = || answers(&server, "NOOP add key", "250").then_some(());
        assert!(poll(TIMEOUT, is_back).is_some(), "{}", server.log().tail());
        server.log().wait_for("the store is available again");
        redis.process.signal(Signal::SIGSTOP);
        assert!(answers(&server, "NOOP add key", "451"));
        assert!(answers(&server, "NOOP add key", "451"));
        server.log().wait_for("no answer in time");
        server.log().wait_for("left alone for a moment");
        redis.process.signal(Signal::SIGCONT);
        assert!(poll(TIMEOUT, is_back).is_some(), "{}", server.log().tail());
        server.stop().unwrap();
    }
}

/// A server that was started again between two questions is nobody's fault.
#[test]
fn a_restart_is_not_noticed() {
    if !deb::need("redis-server") {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let config = with_url(&format!("redis://127.0.0.1:{port}"));
    let redis = Redis::on(port, folder.path(), &[]);
    let server = start(&config, Model::Prefork, &["--idle-children", "1"]);
    assert!(answers(&server, "NOOP add key", "250"));
    let mut client = server.connect();
    client.hello();
    client.ask("NOOP add key", "250");
    drop(redis);
    let _redis = Redis::on(port, folder.path(), &[]);
    assert!(client.ask("NOOP add key", "250").lines[0].ends_with(" 1"));
    client.quit();
    server.stop().unwrap();
}

#[test]
fn what_a_server_refuses_is_said_without_the_password() {
    if !deb::need("redis-server") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(folder.path(), &[]);
    let mut admin = redis.client();
    let rules = [
        "on",
        ">s3cret",
        "~qpsmtpd:*",
        "-@all",
        "+get",
        "+set",
        "+del",
        "+eval",
        "+ping",
        "+select",
    ];
    let made = |name: &str, rules: &[&str]| {
        redis::cmd("ACL").arg("SETUSER").arg(name).arg(rules).to_owned()
    };
    made("mail", &rules).exec(&mut admin).unwrap();
    made("reader", &[&rules[..6], &["+ping", "+select"]].concat()).exec(&mut admin).unwrap();
    let url = |user: &str| format!("redis://{user}@127.0.0.1:{}/1", redis.port);
    for (user, code, why) in [
        ("mail:s3cret", "250", ""),
        ("mail:wr0ng", "451", "Password authentication failed"),
        ("reader:s3cret", "451", "NoPerm"),
    ] {
        let config = with_url(&url(user));
        let server = start(&config, Model::Prefork, &[]);
        assert!(answers(&server, "NOOP add key", code), "{user}: {}", server.log().tail());
        let log = server.log().text();
        assert!(
            log.contains(why) && !log.contains("s3cret") && !log.contains("wr0ng"),
            "{user}: {log}"
        );
        let shown = config.command(program()).arg("--show-config").arg("-n").output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains("redis (set)") && !shown.contains("s3cret"), "{shown}");
        server.stop().unwrap();
    }
    let config = with_url("redis://mail:s3cret@127.0.0.1:x/1");
    let check = config.check(program()).output().unwrap();
    let why = String::from_utf8(check.stderr).unwrap();
    assert!(
        !check.status.success() && why.contains("store is ") && !why.contains("s3cret"),
        "{why}"
    );
    // One that can only be read from.
    let replica =
        Redis::start(folder.path(), &["--replicaof", "127.0.0.1", &redis.port.to_string()]);
    let config = with_url(&format!("redis://127.0.0.1:{}", replica.port));
    let server = start(&config, Model::Prefork, &[]);
    assert!(answers(&server, "NOOP add key", "451"));
    server.log().wait_for("ead");
    assert!(server.log().text().contains("replica"), "{}", server.log().tail());
    server.stop().unwrap();
}

#[test]
fn it_is_asked_under_tls() {
    if !deb::need("redis-server") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = rcgen_pair();
    fs::write(path("cert.pem"), &certificate).unwrap();
    fs::write(path("key.pem"), key).unwrap();
    let tls = free_port().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let options = ["--tls-port", &tls, "--tls-cert-file", &cert, "--tls-key-file", &key];
    let options =
        [&options[..], &["--tls-auth-clients", "no", "--tls-ca-cert-file", &cert]].concat();
    let _redis = Redis::start(folder.path(), &options);
    let trusting = with_url(&format!("rediss://localhost:{tls}"));
    fs::write(trusting.path("ca.pem"), &certificate).unwrap();
    let ca = trusting.path("ca.pem").display().to_string();
    let trusting = trusting.env("SSL_CERT_FILE", &ca);
    let server = start(&trusting, Model::Prefork, &[]);
    assert!(answers(&server, "NOOP add key", "250"), "{}", server.log().tail());
    server.stop().unwrap();
    let strange = with_url(&format!("rediss://localhost:{tls}"));
    let server = start(&strange, Model::Prefork, &[]);
    assert!(answers(&server, "NOOP add key", "451"));
    server.log().wait_for("invalid peer certificate");
    server.stop().unwrap();
}

fn rcgen_pair() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

/// The server is killed and Sentinel makes another one of its copy: counting goes on from where it was.
#[test]
fn a_server_is_replaced_by_its_copy() {
    if !deb::need("redis-server") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let master = Redis::start(folder.path(), &[]);
    let of = master.port.to_string();
    let replica = Redis::start(folder.path(), &["--replicaof", "127.0.0.1", &of]);
    let sentinel = folder.path().join("sentinel.conf");
    let port = free_port();
    let text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor one 127.0.0.1 {of} 1\n\
         sentinel down-after-milliseconds one 500\nsentinel failover-timeout one 5000\n"
    );
    fs::write(&sentinel, text).unwrap();
    let mut command = std::process::Command::new(deb::program("redis-server").unwrap());
    command.current_dir(folder.path()).arg(&sentinel).arg("--sentinel");
    let _sentinel = Process::spawn(command, &Log::default());
    let mut asked = client(&format!("redis://127.0.0.1:{port}"));
    let knows_copy = || {
        let copies: Vec<Vec<String>> =
            redis::cmd("SENTINEL").arg("replicas").arg("one").query(&mut asked).ok()?;
        let is_fit =
            |copy: &Vec<String>| copy.windows(2).any(|pair| pair == ["master-link-status", "ok"]);
        copies.iter().any(is_fit).then_some(())
    };
    assert!(poll(TIMEOUT, knows_copy).is_some());

    let config = with_url(&format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/one/2"));
    let server = start(&config, Model::Prefork, &[]);
    for count in 1..=5 {
        assert_eq!(ask(&server, "NOOP add key"), count);
    }
    let copied: i32 = redis::cmd("WAIT").arg(1).arg(0).query(&mut master.client()).unwrap();
    assert_eq!(copied, 1);
    drop(master);
    let goes_on = || answers(&server, "NOOP get key", "250").then_some(());
    assert!(poll(TIMEOUT, goes_on).is_some(), "{}", server.log().tail());
    let counts = || answers(&server, "NOOP add key", "250").then_some(());
    assert!(poll(TIMEOUT, counts).is_some(), "{}", server.log().tail());
    assert_eq!(ask(&server, "NOOP get key"), 6);
    server.stop().unwrap();
    drop(replica);
}
