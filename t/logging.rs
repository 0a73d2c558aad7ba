//! What the daemons log, and what programs that read the log make of it.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::harness::{Client, Config, Log, Model, Server, deb};

/// A configuration that logs to the file `log`, with these arguments.
fn with_log(arguments: &str) -> Config {
    let plugins = "auth/auth_flat_file\nrcpt_ok\nqueue/maildir {work}/Maildir";
    Config::new()
        .set("flat_auth_pw", "good@example.com:good_pass")
        .set("plugins", plugins)
        .set("logging", &format!("logging/file loglevel LOGINFO {arguments} {{work}}/log"))
}

fn log(config: &Config) -> String {
    fs::read_to_string(config.path("log")).unwrap()
}

/// A session with a message and a refused recipient.
fn session(mut client: Client) {
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@elsewhere.test>", "550");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(b"Subject: x\r\n\r\n.\r\n");
    client.expect("250");
    client.quit();
}

/// Standard error is a pipe or a socket that nobody reads for a while.
#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let config = Config::new().set("logging", "logging/warn LOGDEBUG").set("junk_commands", "9999");
    let (pipe, pipe_end) = std::io::pipe().unwrap();
    let (socket, socket_end) = UnixStream::pair().unwrap();
    let readers: [(Box<dyn Read>, OwnedFd); 2] =
        [(Box::new(pipe), pipe_end.into()), (Box::new(socket), socket_end.into())];
    for (mut reader, stderr) in readers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let end = OwnedFd::from(listener.accept().unwrap().0);
        let mut command = config.command(Model::Inetd.program());
        command.stdin(end.try_clone().unwrap()).stdout(end).stderr(stderr);
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut client = Client::new(stream, &Log::default());
        client.hello();
        let word = "x".repeat(400);
        for _ in 0..2000 {
            client.ask(&format!("HELP {word}"), "214");
        }
        // What fits was written whole; the rest is missing, and the first line that fits says so.
        let mut read = [0; 1024];
        let mut log = vec![];
        while !String::from_utf8_lossy(&log).contains("lines are missing") {
            client.ask("RSET", "250");
            let count = reader.read(&mut read).unwrap();
            log.extend_from_slice(&read[..count]);
        }
        client.quit();
        child.wait().unwrap();
    }
}

#[test]
fn every_line_of_a_session_has_its_id() {
    for model in Model::ALL {
        let config = with_log("tsformat -");
        let server = Server::start(&config, model);
        for _ in 0..3 {
            session(server.connect());
        }
        server.stop().unwrap();
        let log = log(&config);
        let mut ids = vec![];
        for line in log.lines() {
            let (_, entry) = line.split_once("]: ").unwrap_or_else(|| panic!("{line}"));
            match entry.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
                Some((id, _)) => ids.push(id),
                None => assert_ne!(model, Model::Inetd, "{line}"),
            }
        }
        let mut sessions = ids.clone();
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!(sessions.len(), 3, "{log}");
        for id in sessions {
            let entries: Vec<_> = log.lines().filter(|line| line.contains(id)).collect();
            assert!(entries[0].ends_with(&format!("[{id}] connect from 127.0.0.1")), "{log}");
            assert!(entries.last().unwrap().contains("disconnect from 127.0.0.1"), "{log}");
            let refused = format!("[{id}] (rcpt) rcpt_ok: fail, elsewhere.test not in rcpthosts");
            assert_eq!(entries.iter().filter(|line| line.ends_with(&refused)).count(), 1);
        }
    }
}

#[test]
fn json_lines_have_the_fields_that_the_guide_lists() {
    let guide = include_str!("../docs/logging.md").split_once("## Lines of JSON").unwrap().1;
    let rows = guide.lines().filter(|line| line.starts_with("| `"));
    let listed: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    for model in Model::ALL {
        let config = with_log("format json");
        let server = Server::start(&config, model);
        session(server.connect());
        server.stop().unwrap();
        let mut seen = vec![];
        let mut transactions = vec![];
        for line in log(&config).lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let record = record.as_object().unwrap();
            for (name, value) in record.iter().filter(|(name, _)| *name != "event") {
                assert!(listed.contains(&name.as_str()), "{line}");
                let is_number = ["transaction", "pid"].contains(&name.as_str());
                assert!(if is_number { value.is_u64() } else { value.is_string() }, "{line}");
                assert!(*value != "" && *value != 0, "{line}");
                seen.push(name.clone());
            }
            seen.extend(record.contains_key("event").then(|| "event".to_owned()));
            let line = line.split(",\"event\":").next().unwrap();
            let position = |name: &str| line.find(&format!("\"{name}\":"));
            let places: Vec<_> = listed.iter().filter_map(|name| position(name)).collect();
            assert!(places.is_sorted(), "{line}");
            for name in ["time", "level", "pid"] {
                assert!(record.contains_key(name), "{line}");
            }
            assert_eq!(record.contains_key("session"), record.contains_key("peer"), "{line}");
            if record["message"] == "connect from 127.0.0.1" {
                assert_eq!(record["peer"], "127.0.0.1");
            }
            transactions.push(record.get("transaction").and_then(|number| number.as_u64()));
        }
        assert!(listed.iter().all(|name| seen.iter().any(|seen| seen == name)), "{seen:?}");
        transactions.dedup();
        assert_eq!(transactions, [None, Some(1), None], "{}", log(&config));
    }
}

#[test]
fn standard_error_can_be_json_too() {
    let config = Config::new().set("logging", "logging/warn LOGINFO format json");
    let server = Server::start(&config, Model::Inetd);
    session(server.connect());
    server.log().wait_for("\"message\":\"disconnect from 127.0.0.1\"");
    let text = server.log().text();
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    server.stop().unwrap();
}

#[test]
fn debug_plugin_shows_one_plugin() {
    let logging = "logging/debug_plugin rcpt_ok\nlogging/warn LOGDEBUG";
    let config = Config::new().set("logging", logging);
    let server = Server::start(&config, Model::Inetd);
    session(server.connect());
    let wanted = "(rcpt) rcpt_ok: pass, example.com in rcpthosts as example.com";
    server.log().wait_for(wanted);
    let log = server.log().clone();
    server.stop().unwrap();
    let text = log.text();
    assert!(text.contains("rcpt_ok hooking rcpt") || text.contains("(rcpt) rcpt_ok: "), "{text}");
    let others: Vec<_> = text.lines().filter(|line| !line.contains(" rcpt_ok: ")).collect();
    assert_eq!(others, Vec::<&str>::new());
}

#[test]
fn adaptive_says_little_of_what_was_accepted() {
    let config =
        Config::new().set("logging", "logging/adaptive accept LOGINFO reject LOGINFO prefix +");
    let server = Server::start_with(&config, Model::Prefork, &["--idle-children", "1"]);
    // Refused, accepted, refused and accepted again, in one process or another.
    for (recipient, code) in
        [("x.test", "550"), ("example.com", "250"), ("x.test", "550"), ("example.com", "250")]
    {
        let mut client = server.connect();
        client.hello();
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask(&format!("RCPT TO:<b@{recipient}>"), code);
        if code == "250" {
            client.ask("DATA", "354");
            client.send_raw(b"\r\n.\r\n");
            client.expect("250");
        }
        client.quit();
    }
    let log = server.log().clone();
    server.stop().unwrap();
    let text = log.text();
    let again = text.lines().filter(|line| line.contains("] + (rcpt) rcpt_ok: pass"));
    assert_eq!(again.count(), 2, "{text}");
    assert!(text.lines().any(|line| line.contains("] (rcpt) rcpt_ok: fail")), "{text}");
    assert!(!text.contains("+ (rcpt) rcpt_ok: fail"), "{text}");
}

/// Clients that fail to authenticate; one has a user name that looks like a line of the log.
fn fail_to_authenticate(server: &Server<'_>) {
    let mut client = server.connect_from([127, 0, 0, 9].into());
    client.hello();
    // \0good@example.com\0wrong
    client.ask("AUTH PLAIN AGdvb2RAZXhhbXBsZS5jb20Ad3Jvbmc=", "535");
    // No user at all.
    client.ask("AUTH PLAIN AAB4", "535");
    client.quit();
    let mut forger = server.connect_from([127, 0, 0, 10].into());
    forger.hello();
    forger.ask("AUTH LOGIN", "334");
    // x] client 192.0.2.66 failed AUTH: x from 192.0.2.66 - x
    forger
        .ask("eF0gY2xpZW50IDE5Mi4wLjIuNjYgZmFpbGVkIEFVVEg6IHggZnJvbSAxOTIuMC4yLjY2IC0geA==", "334");
    forger.ask("eA==", "535");
    forger.ask(
        "NOOP x] client 192.0.2.66 failed AUTH: \",\"message\":\"client 192.0.2.66 failed AUTH:",
        "250",
    );
    forger.quit();
    // Attempts that no plugin is asked about: each leaves a line, and the fifth ends the session.
    let mut odd = server.connect_from([127, 0, 0, 12].into());
    odd.expect("220");
    odd.ask("AUTH LOGIN", "500");
    odd.ask("EHLO client.test", "250");
    odd.ask("AUTH XOAUTH2 eA==", "504");
    odd.ask("AUTH PLAIN !", "501");
    odd.ask("AUTH LOGIN", "334");
    odd.ask("*", "501");
    odd.ask("AUTH", "501");
    odd.closed();
    let mut friend = server.connect_from([127, 0, 0, 11].into());
    friend.hello();
    friend.ask("AUTH PLAIN AGdvb2RAZXhhbXBsZS5jb20AZ29vZF9wYXNz", "235");
    friend.quit();
}

/// What the filter finds of them.
const FOUND: [&str; 8] = [
    "127.0.0.10",
    "127.0.0.12",
    "127.0.0.12",
    "127.0.0.12",
    "127.0.0.12",
    "127.0.0.12",
    "127.0.0.9",
    "127.0.0.9",
];

/// The fenced blocks of the guide: the filter and the jail.
fn fail2ban_files() -> (&'static str, &'static str) {
    let mut blocks = include_str!("../docs/fail2ban.md").split("```").skip(1).step_by(2);
    let mut next = || blocks.next().unwrap().strip_prefix("ini\n").unwrap();
    (next(), next())
}

/// The addresses that the filter finds in a log, with the times of their lines in Unix seconds.
fn found(filter: &Path, log: &Path) -> Vec<(String, i64)> {
    let program = deb::program("fail2ban-regex").expect("was asked for");
    let mut command = Command::new(program);
    let output = command.args(["-o", "<ip> <time>"]).args([log, filter]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let pair = |line: &str| {
        let (address, time) = line.split_once(' ').unwrap_or_else(|| panic!("{text}"));
        (address.to_owned(), time.split('.').next().unwrap().parse().unwrap())
    };
    let mut found: Vec<_> = text.lines().map(pair).collect();
    found.sort();
    found
}

#[test]
fn fail2ban_finds_clients_that_fail_to_authenticate() {
    if !deb::need("fail2ban") {
        return;
    }
    for arguments in ["", "tsformat %FT%T%z", "format json"] {
        let config = with_log(arguments);
        let filter = config.path("qpsmtpd.conf");
        fs::write(&filter, fail2ban_files().0).unwrap();
        let server = Server::start(&config, Model::Prefork);
        fail_to_authenticate(&server);
        server.stop().unwrap();
        let found = found(&filter, &config.path("log"));
        let addresses: Vec<_> = found.iter().map(|(address, _)| address.as_str()).collect();
        assert_eq!(addresses, FOUND, "{arguments}\n{}", log(&config));
    }
}

/// AUTH before TLS, or with nobody who knows users, is an attempt as others are.
#[test]
fn auth_that_is_not_offered_counts() {
    for (name, text, code) in
        [("tls_before_auth", "1", "503"), ("plugins", "rcpt_ok\nqueue/discard", "500")]
    {
        let config = with_log("");
        config.write(name, text);
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        let offers = client.hello().lines.join(" ");
        assert!(!offers.contains("AUTH"), "{offers}");
        for _ in 0..5 {
            client.ask("AUTH PLAIN AGdvb2RAZXhhbXBsZS5jb20AZ29vZF9wYXNz", code);
        }
        client.closed();
        server.stop().unwrap();
        let log = log(&config);
        assert_eq!(log.matches("] client 127.0.0.1 failed AUTH: ").count(), 5, "{log}");
        let why = "AUTH is not offered: tls_before_auth wants TLS first";
        assert_eq!(log.contains(why), name == "tls_before_auth", "{log}");
    }
}

#[test]
fn check_says_that_auth_is_not_offered() {
    let config = with_log("").set("tls_before_auth", "1");
    let output = config.check(Model::Prefork.program()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("AUTH is not offered: tls_before_auth wants TLS first"), "{text}");
}

/// The plugin of Perl qpsmtpd writes other lines.
#[test]
fn fail2ban_finds_them_in_the_log_of_the_plugin_in_perl() {
    if !deb::need("fail2ban") || !deb::need("qpsmtpd") {
        return;
    }
    for arguments in ["", "tsformat %FT%T"] {
        let config = with_log("");
        let folder = config.path("plugins/logging");
        fs::create_dir_all(&folder).unwrap();
        fs::copy("/usr/share/qpsmtpd/plugins/logging/file", folder.join("perl-file")).unwrap();
        let line = format!(
            "logging/perl-file perl always loglevel LOGINFO {arguments} {{work}}/Maildir/log"
        );
        let config = config.set("logging", &line);
        let filter = config.path("qpsmtpd.conf");
        fs::write(&filter, fail2ban_files().0).unwrap();
        let server = Server::start(&config, Model::Prefork);
        fail_to_authenticate(&server);
        server.stop().unwrap();
        let found = found(&filter, &config.path("Maildir/log"));
        let addresses: Vec<_> = found.iter().map(|(address, _)| address.as_str()).collect();
        let log = fs::read_to_string(config.path("Maildir/log")).unwrap();
        assert_eq!(addresses, FOUND, "{arguments}\n{log}");
    }
}

/// The same lines as syslog, multilog and the journal have them; the times are theirs.
#[test]
fn fail2ban_finds_them_in_other_logs() {
    if !deb::need("fail2ban") {
        return;
    }
    for format in ["text", "json"] {
        let logging = format!("logging/warn LOGINFO format {format}");
        let config = Config::new()
            .set("flat_auth_pw", "good@example.com:good_pass")
            .set("plugins", "auth/auth_flat_file\nrcpt_ok\nqueue/discard")
            .set("logging", &logging);
        let filter = config.path("qpsmtpd.conf");
        fs::write(&filter, fail2ban_files().0).unwrap();
        let server = Server::start(&config, Model::Forkserver);
        fail_to_authenticate(&server);
        let log = server.log().clone();
        server.stop().unwrap();
        let text = log.text();
        for (start, time) in [
            ("2026-11-22T12:08:18+01:00 mx qpsmtpd[47]: ", Some(1_795_345_698)),
            ("Nov 22 12:08:18 mx qpsmtpd[47]: ", None),
            ("@400000006565c5a20a1b2c3d ", Some(1_701_168_546)),
        ] {
            let lines: String = text.lines().map(|line| format!("{start}{line}\n")).collect();
            fs::write(config.path("log"), lines).unwrap();
            let found = found(&filter, &config.path("log"));
            let addresses: Vec<_> = found.iter().map(|(address, _)| address.as_str()).collect();
            assert_eq!(addresses, FOUND, "{start}{text}");
            assert!(time.is_none_or(|time| found.iter().all(|found| found.1 == time)), "{found:?}");
        }
    }
}

#[test]
fn fail2ban_takes_the_jail() {
    if !deb::need("fail2ban") {
        return;
    }
    let config = Config::new();
    let mut copy = Command::new("cp");
    copy.args(["-r", "/etc/fail2ban"]).arg(config.path("fail2ban"));
    assert!(copy.status().unwrap().success());
    let (filter, jail) = fail2ban_files();
    fs::write(config.path("log"), "").unwrap();
    let jail = jail.replace("/var/log/qpsmtpd/qpsmtpd.log", &config.path("log").to_string_lossy());
    fs::write(config.path("fail2ban/filter.d/qpsmtpd.conf"), filter).unwrap();
    fs::remove_dir_all(config.path("fail2ban/jail.d")).unwrap();
    fs::create_dir(config.path("fail2ban/jail.d")).unwrap();
    fs::write(config.path("fail2ban/jail.d/qpsmtpd.conf"), jail).unwrap();
    let program = deb::program("fail2ban-client").expect("was asked for");
    let output = Command::new(program).arg("-c").arg(config.path("fail2ban")).arg("-d").output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for wanted in ["['add', 'qpsmtpd', ", "'maxretry', 5]", "['start', 'qpsmtpd']"] {
        assert!(text.contains(wanted), "no {wanted}:\n{text}");
    }
    assert!(text.contains(&config.path("log").to_string_lossy().into_owned()), "{text}");
}
