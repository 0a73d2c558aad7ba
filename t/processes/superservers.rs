//! tcpserver and xinetd run the program for one session.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::Stdio;

use nix::unistd::{Uid, User};

use crate::backends::start;
use crate::harness::{Client, Config, Log, Model, Process, deb, free_port};

/// Starts tcpserver on a port of its choice.
pub(crate) fn tcpserver(config: &Config, log: &Log) -> (u16, Process) {
    let mut tcpserver = config.command(deb::program("tcpserver").expect("was asked for"));
    // -1 prints the port; the rest asks nobody for names.
    tcpserver.args(["-1", "-H", "-R", "-l", "mail.test", "127.0.0.1", "0"]);
    let (stdout, pipe) = std::io::pipe().unwrap();
    tcpserver.arg(Model::Inetd.program()).stdout(Stdio::from(pipe));
    let process = Process::spawn(tcpserver, log);
    let mut port = String::new();
    BufReader::new(stdout).read_line(&mut port).unwrap();
    (port.trim().parse().expect("tcpserver prints its port"), process)
}

#[test]
fn tcpserver_runs_a_session() {
    if !deb::need("ucspi-tcp") || !deb::need("swaks") {
        return;
    }
    let (config, log) = (Config::new(), Log::default());
    let (port, _tcpserver) = tcpserver(&config, &log);
    super::swaks(port);
    super::arrived(&config);
    says_only_replies(port, &log);
}

#[test]
fn xinetd_runs_a_session() {
    if !deb::need("xinetd") || !deb::need("swaks") {
        return;
    }
    let config = Config::new();
    let log = Log::default();
    let (port, _xinetd) = xinetd(&config);
    super::swaks(port);
    super::arrived(&config);
    says_only_replies(port, &log);
}

/// Where the client is no socket, as behind sslserver, only the environment says who it is.
#[test]
fn an_address_that_cannot_be_read_is_not_this_machine() {
    let config = Config::new();
    for (address, wanted) in
        [("192.0.2.7", Some("[192.0.2.7]")), ("fe80::7%eth0", Some("[fe80::7]")), ("no", None)]
    {
        let mut program = config.command(Model::Inetd.program());
        program.env("TCPREMOTEIP", address).env("TCPREMOTEHOST", "mail.test");
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut session = program.spawn().unwrap();
        // It may have ended before.
        let _ = session.stdin.take().unwrap().write_all(b"EHLO x\r\nQUIT\r\n");
        let output = session.wait_with_output().unwrap();
        let replies = String::from_utf8(output.stdout).unwrap();
        match wanted {
            Some(wanted) => assert!(replies.contains(wanted), "{replies}"),
            None => {
                let error = String::from_utf8(output.stderr).unwrap();
                assert_eq!(replies, "");
                assert!(error.contains("TCPREMOTEIP is 'no', not an address"), "{error}");
            }
        }
    }
}

/// The client gets replies and nothing else: xinetd makes stderr, too, a way to the client. And
/// the client's address is known, from the environment or from the socket.
fn says_only_replies(port: u16, log: &Log) {
    let mut client = Client::connect((Ipv4Addr::LOCALHOST, port).into(), log);
    let hello = client.hello();
    assert!(hello.lines[0].contains("[127.0.0.1]"), "{hello:?}");
    client.quit();
}

/// Starts xinetd.
fn xinetd(config: &Config) -> (u16, Process) {
    let port = free_port();
    let user = User::from_uid(Uid::current()).unwrap().expect("an account").name;
    let text = format!(
        "service qpsmtpd\n{{\n\
         type = UNLISTED\nsocket_type = stream\nprotocol = tcp\nwait = no\nflags = IPv4\n\
         bind = 127.0.0.1\nport = {port}\nuser = {user}\nserver = {}\n\
         env = QPSMTPD_CONFIG={}\nlog_type = FILE {}\n}}\n",
        Model::Inetd.program(),
        config.path("config").display(),
        config.path("xinetd.log").display(),
    );
    fs::write(config.path("xinetd.conf"), text).unwrap();
    let mut xinetd = config.command(deb::program("xinetd").expect("was asked for"));
    xinetd.args(["-dontfork", "-stayalive", "-f"]).arg(config.path("xinetd.conf"));
    xinetd.arg("-pidfile").arg(config.path("xinetd.pid"));
    (port, start(xinetd, port))
}
