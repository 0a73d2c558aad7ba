//! LMTP as a server (RFC 2033).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::signal::Signal;

use crate::backends::make_certificate;
use crate::harness::config::unprivileged;
use crate::harness::{Client, Config, Log, Model, Process, Server, TIMEOUT, deb, free_port};

/// Port 25, which is what a session under inetd has, or a free one.
fn port_for(model: Model) -> SocketAddr {
    ([127, 0, 0, 1], if model == Model::Inetd { 25 } else { free_port() }).into()
}

/// A server that speaks LMTP on its only port.
pub(crate) fn start<'a>(config: &'a Config, model: Model) -> Server<'a> {
    let address = port_for(model);
    config.write("lmtp_ports", &address.port().to_string());
    Server::start_with(config, model, &model.listen(&address.to_string()))
}

/// A client that has greeted, and has said to whom its message goes.
pub(crate) fn with_recipients(server: &Server, users: &[&str]) -> Client {
    let mut client = server.connect();
    client.expect("220");
    client.ask("LHLO client.test", "250");
    client.ask("MAIL FROM:<a@example.net>", "250");
    for user in users {
        client.ask(&format!("RCPT TO:<{user}@example.com>"), "250");
    }
    client
}

/// Sends the message; the replies.
pub(crate) fn send(client: &mut Client, count: usize) -> Vec<String> {
    client.ask("DATA", "354");
    client.say("Message-Id: <1@a.test>\r\n\r\ntext\r\n.");
    (0..count).map(|_| client.reply().lines.join("\n")).collect()
}

#[test]
fn some_have_the_message_and_some_do_not() {
    for model in Model::ALL {
        let config = Config::new();
        config.write("plugins", "rcpt_ok\nqueue/maildir {work}/Maildir %l");
        fs::write(config.path("Maildir/c"), "not a folder").unwrap();
        let server = start(&config, model);
        let mut client = with_recipients(&server, &["b", "c", "d"]);
        let queued = "250 2.0.0 Queued! <1@a.test>";
        let failed = "451 4.3.0 queue error (open)";
        assert_eq!(send(&mut client, 3), [queued, failed, queued], "{model}");
        for (user, count) in [("b", 1), ("d", 1)] {
            let folder = fs::read_dir(config.path(&format!("Maildir/{user}/new"))).unwrap();
            assert_eq!(folder.count(), count, "{model} {user}");
        }
        client.quit();

        // If nobody has it, they are all told so, and the next plugin may take it.
        let mut client = with_recipients(&server, &["c", "c"]);
        assert_eq!(send(&mut client, 2), [failed, failed], "{model}");
        client.quit();
        server.stop().unwrap();
    }
}

/// In SMTP nobody has it, as there is one reply.
#[test]
fn where_there_is_one_reply_nobody_has_it() {
    let config = Config::new();
    config.write("plugins", "rcpt_ok\nqueue/maildir {work}/Maildir %l");
    fs::write(config.path("Maildir/c"), "not a folder").unwrap();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("RCPT TO:<c@example.com>", "250");
    assert_eq!(send(&mut client, 1), ["451 4.3.0 queue error (open)"]);
    assert_eq!(fs::read_dir(config.path("Maildir/b/new")).unwrap().count(), 0);
    client.quit();
    server.stop().unwrap();
}

/// A server that speaks LMTP on its first port and at the path `lmtp` in its folder.
fn start_both(config: &Config, model: Model) -> (Server<'_>, String) {
    // Clients of other accounts have to get to the socket.
    fs::set_permissions(config.work(), fs::Permissions::from_mode(0o755)).unwrap();
    let (address, path) = (port_for(model), config.path("lmtp").display().to_string());
    config.write("lmtp_ports", &address.port().to_string());
    let [option, _] = model.listen("");
    let arguments = [option, &address.to_string(), option, &path];
    let server = Server::start_with(config, model, &arguments);
    server.log().wait_for(&format!("listening on {path}"));
    (server, path)
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let said = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
}

#[test]
fn smtp_source_speaks_it() {
    if !deb::need("postfix") {
        return;
    }
    for model in Model::PARENTS {
        let config = Config::new();
        let (server, path) = start_both(&config, model);
        for (place, messages) in
            [(format!("127.0.0.1:{}", server.port()), "100"), (format!("unix:{path}"), "200")]
        {
            let mut source = Command::new(deb::program("smtp-source").expect("was asked for"));
            source.args(["-L", "-s", "5", "-m", messages, "-r", "3", "-M", "client.test"]);
            source.args(["-f", "a@example.net", "-t", "b@example.com", &place]);
            succeeds(&mut source);
            let mails = config.take_mails();
            assert_eq!(mails.len().to_string(), messages, "{model} {place}");
            let mail = String::from_utf8_lossy(&mails[0]);
            assert!(mail.contains(") with LMTP; "), "{mail}");
            assert!(mail.contains("(HELO client.test) (127.0.0.1)"), "{mail}");
        }
        server.stop().unwrap();
    }
}

/// In the clear, under TLS, and as a user, whom the Received field tells apart (RFC 3848).
#[test]
fn swaks_speaks_it() {
    if !["swaks", "libio-socket-ssl-perl"].iter().all(|package| deb::need(package)) {
        return;
    }
    for model in Model::PARENTS {
        let config = Config::new().set("flat_auth_pw", "u@example.com:pw");
        make_certificate(&config.path("both.pem"), "mail.test");
        let tls = "tls cert {work}/both.pem key {work}/both.pem";
        let plugins = "auth/auth_flat_file\nrcpt_ok\nqueue/maildir {work}/Maildir";
        config.write("plugins", &format!("{tls}\n{plugins}"));
        let (server, path) = start_both(&config, model);
        let port = server.port().to_string();
        for place in [&["--server", "127.0.0.1", "--port", &port][..], &["--socket", &path]] {
            for protocol in ["LMTP", "LMTPA", "LMTPS", "LMTPSA"] {
                let mut swaks = Command::new(deb::program("swaks").expect("was asked for"));
                swaks.args(["--protocol", protocol, "--from", "a@example.net"]).args(place);
                if protocol.ends_with('A') {
                    swaks.args(["--auth-user", "u@example.com", "--auth-password", "pw"]);
                }
                succeeds(swaks.args(["--to", "b@example.com,c@example.com"]));
                let mails = config.take_mails();
                assert_eq!(mails.len(), 1, "{model} {place:?}");
                let mail = String::from_utf8_lossy(&mails[0]);
                let is_named =
                    [' ', ';'].iter().any(|end| mail.contains(&format!(") with {protocol}{end}")));
                assert!(is_named, "{protocol}: {mail}");
            }
        }
        server.stop().unwrap();
    }
}

/// The line with which a server at a path greets, and the connection.
fn greeting(path: &Path) -> (BufReader<UnixStream>, String) {
    let mut stream = BufReader::new(UnixStream::connect(path).unwrap());
    stream.get_ref().set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    (stream, line)
}

/// A path has one meaning for all who come there, and they do not use up the connections of
/// 127.0.0.1.
#[test]
fn those_who_come_by_a_path_have_no_limit() {
    for model in Model::PARENTS {
        let config = Config::new();
        let path = config.path("lmtp").display().to_string();
        let [option, address] = model.listen("127.0.0.1:0");
        let limits = model.limits("9", "1");
        let arguments = [&[option, address, option, path.as_str()][..], &limits].concat();
        let server = Server::start_with(&config, model, &arguments);
        server.log().wait_for(&format!("listening on {path}"));
        let clients: Vec<_> = (0..3).map(|_| greeting(Path::new(&path))).collect();
        for (_, line) in &clients {
            assert!(line.starts_with("220 mail.test LMTP "), "{model}: {line}");
        }
        let mut client = server.connect();
        client.hello();
        client.quit();
        drop(clients);
        server.stop().unwrap();
    }
}

/// systemd listens itself: the daemons get its socket, and `qpsmtpd` one connection.
#[test]
fn systemd_passes_a_socket_of_the_file_system() {
    for model in Model::ALL {
        let config = Config::new();
        let path = config.path("lmtp");
        let listener = UnixListener::bind(&path).unwrap();
        let log = Log::default();
        let start = |command: &mut Command, socket: OwnedFd| {
            let output = socket.try_clone().unwrap();
            command.stdin(Stdio::from(socket)).stdout(Stdio::from(output));
        };
        let mut command = config.command("/bin/sh");
        let (mut process, (stream, line)) = if model == Model::Inetd {
            let mut command = config.command(model.program());
            let dial = thread::spawn(move || greeting(&path));
            start(&mut command, listener.accept().unwrap().0.into());
            let process = Process::spawn(command, &log);
            (process, dial.join().unwrap())
        } else {
            let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
            command.args(["-c", script, "sh", model.program()]);
            if let Some(user) = unprivileged() {
                command.args(["--user", &user.name]);
            }
            start(&mut command, listener.into());
            let process = Process::spawn(command, &log);
            (process, greeting(&path))
        };
        assert!(line.starts_with("220 mail.test LMTP "), "{model}: {line}\n{}", log.tail());
        drop(stream);
        if model != Model::Inetd {
            process.signal(Signal::SIGTERM);
        }
        assert!(process.wait().unwrap().success(), "{model}\n{}", log.tail());
    }
}
