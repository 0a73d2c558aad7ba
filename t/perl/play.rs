//! One case, played by one of the two servers: what the client saw, and what was delivered.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use regex::Regex;

use super::case::{Case, Step};
use super::dns::Dns;
use crate::harness::{Client, Config, Log, Model, Process};

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    /// The modules of Perl qpsmtpd.
    Perl,
    /// This project, with the same files as plugins.
    Ours,
    /// This project, with its own plugins of the same names.
    Native,
}

/// Plays a case: the text of its sessions, mails and files, and what the server logged.
///
/// # Errors
/// A server that says nothing, or does not end.
pub(super) fn play(case: &Case, side: Side) -> Result<(String, Log), String> {
    let (config, dns) = set_up(case, side);
    let work = config.work().to_str().unwrap();
    let log = Log::default();
    let mut out = String::new();
    for session in &case.sessions {
        one_session(&config, case, side, session, &log, &mut out)?;
    }
    let mut mails = config.take_mails();
    // Names of the same second do not tell which came first.
    mails.sort();
    for mail in mails {
        show(&mut out, "mail", &mail);
    }
    for name in &case.shows {
        let file = config.path(name);
        show(&mut out, name, &fs::read(file).unwrap_or_else(|why| why.to_string().into()));
    }
    for file in config.spool_left() {
        writeln!(out, "left behind: {}", file.display()).unwrap();
    }
    drop(dns);
    // Nobody writes any more.
    log.wait_until(|_| None::<()>);
    let said = Regex::new(r"(?m)^\d+ (\([\w-]+\) [\w:]+: .*)$").unwrap();
    for line in said.captures_iter(&log.text()) {
        writeln!(out, "logged: {}", &line[1]).unwrap();
    }
    Ok((out.replace(work, "{work}"), log))
}

/// Folder, configuration, files, programs, and the servers that plugins ask.
fn set_up(case: &Case, side: Side) -> (Config, Dns) {
    let dns = Dns::start(&case.dns);
    let mut config = Config::new()
        .set("dns_servers", &format!("127.0.0.1:{}", dns.port()))
        .set("plugins", &case.plugins.join("\n"))
        .env("RES_NAMESERVERS", "127.0.0.1")
        .env("RES_OPTIONS", &format!("port:{}", dns.port()))
        .env("TCPLOCALIP", "127.0.0.1")
        .env("TCPLOCALPORT", "25")
        .env("TCPREMOTEPORT", "4711")
        .env("PROTO", "TCP")
        // Perl's hashes have the same order every time.
        .env("PERL_HASH_SEED", "0")
        .env("PERL_PERTURB_KEYS", "0")
        .set("keep_environment", "RES_*\nPERL_*");
    for (name, default) in [("TCPREMOTEIP", "127.0.0.1"), ("TCPREMOTEHOST", "localhost")] {
        let given = case.env.iter().rev().find(|row| row.0 == name);
        config = config.env(name, given.map_or(default, |row| &row.1));
    }
    if side != Side::Native {
        config = config.set("plugin_dirs", super::PLUGINS).set("perl_plugins", "always");
    }
    for (name, text) in &case.config {
        config.write(name, text);
    }
    let work = config.work().to_str().unwrap().to_owned();
    for (name, text) in &case.files {
        let file = config.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text.replace("{work}", &work)).unwrap();
    }
    for (name, text) in &case.programs {
        config.program(name, &text.replace("{work}", &work));
    }
    for (name, text) in &case.answers {
        answer(&config.path(name), text.clone());
    }
    (config, dns)
}

/// Listens at a path, and gives everybody the same answer when he has said everything; or, where
/// the answers are `WORD => TEXT`, the one for the first word of his first line.
fn answer(path: &Path, text: String) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut line = String::new();
            let mut reader = BufReader::new(&stream);
            reader.read_line(&mut line).ok();
            let word = line.split_whitespace().next().unwrap_or_default();
            let mut pairs = text.lines().filter_map(|line| line.split_once(" => "));
            let answer = match pairs.find(|pair| pair.0 == word) {
                Some((_, answer)) => format!("{answer}\n"),
                None => {
                    reader.read_to_end(&mut vec![]).ok();
                    text.replace('\n', "\r\n")
                }
            };
            stream.write_all(answer.as_bytes()).ok();
        }
    });
}

fn one_session(
    config: &Config,
    case: &Case,
    side: Side,
    steps: &[Step],
    log: &Log,
    out: &mut String,
) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = listener.accept().unwrap().0;
    let mut command = match side {
        Side::Ours | Side::Native => config.command(Model::Inetd.program()),
        Side::Perl => {
            let mut command = config.command("perl");
            let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("t/perl/dialogue.pl");
            command.arg(driver).arg(config.path("qpsmtpd"));
            command
        }
    };
    for (name, value) in &case.env {
        command.env(name, value);
    }
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command.stdout(Stdio::from(OwnedFd::from(socket)));
    let mut process = Process::spawn(command, log);
    let mut client = Client::new(stream, log);
    writeln!(out, "a session").unwrap();
    let mut last = replies(&mut client, 1, out)?;
    for step in steps {
        let Some(challenge) = last else { break };
        writeln!(out, "> {}", step.shown).unwrap();
        match &step.cram_md5 {
            Some((user, password)) => client.say(&cram_md5(&challenge, user, password)),
            None => client.send_raw(&step.bytes),
        }
        last = replies(&mut client, step.replies, out)?;
    }
    drop(client);
    process.wait()?;
    Ok(())
}

/// The answer to a challenge (RFC 2195).
fn cram_md5(challenge: &str, user: &str, password: &str) -> String {
    let challenge = BASE64.decode(challenge.get(4..).unwrap_or_default()).unwrap();
    let mut mac = Hmac::<Md5>::new_from_slice(password.as_bytes()).unwrap();
    mac.update(&challenge);
    let digest: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    BASE64.encode(format!("{user} {digest}"))
}

/// Reads replies: the last line, or nothing when the server has closed the connection.
fn replies(client: &mut Client, count: usize, out: &mut String) -> Result<Option<String>, String> {
    let mut last = String::new();
    for _ in 0..count {
        let Some(reply) = client.try_reply()? else {
            writeln!(out, "closed").unwrap();
            return Ok(None);
        };
        for line in reply.lines {
            writeln!(out, "< {line}").unwrap();
            last = line;
        }
    }
    Ok(Some(last))
}

fn show(out: &mut String, name: &str, bytes: &[u8]) {
    writeln!(out, "{name}:").unwrap();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        writeln!(
            out,
            "  {}",
            line.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
        )
        .unwrap();
    }
}
