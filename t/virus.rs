//! Scanners: a real clamd, with a database of its own, and a real spamd, with rules of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::backends::start;
use crate::harness::{Config, Model, Process, Server, TIMEOUT, deb, free_port, poll, say};

const CLAMD: &str = "\
Foreground yes
LocalSocket {work}/clamd.ctl
LocalSocketMode 666
TCPSocket {port}
TCPAddr 127.0.0.1
DatabaseDirectory {work}/database
StreamMaxLength 1M
";

/// What its database knows.
pub(crate) const BAD: &str = "this is a harmless text that clamd does not like";

pub(crate) fn clamd(keep: &Config) -> (Process, u16) {
    let port = free_port();
    keep.write("clamd.conf", &CLAMD.replace("{port}", &port.to_string()));
    let folder = keep.path("database");
    fs::create_dir(&folder).unwrap();
    let hex: String = BAD.bytes().map(|octet| format!("{octet:02x}")).collect();
    fs::write(folder.join("test.ndb"), format!("Test.Harmless:0:*:{hex}\n")).unwrap();
    fs::set_permissions(keep.work(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = keep.command(deb::program("clamd").expect("was asked for"));
    command.arg("--config-file").arg(keep.path("config/clamd.conf")).stdout(Stdio::null());
    (start(command, port), port)
}

/// Sends a message; the reply.
fn send(server: &Server, text: &str) -> String {
    let mut client = server.connect();
    client.hello();
    client.envelope();
    client.send_raw(format!("Subject: x\r\n\r\n{text}\r\n.\r\n").as_bytes());
    let reply = client.reply().lines.join("\n");
    client.quit();
    reply
}

#[test]
fn clamd_is_asked() {
    if !deb::need("clamav-daemon") {
        return;
    }
    let keep = Config::new();
    let (clamd, port) = clamd(&keep);
    let socket = format!("clamd_socket {}", keep.path("clamd.ctl").display());
    let large = format!("{}{BAD}", "nothing in here\r\n".repeat(100_000));
    for (place, model) in [
        (format!("clamd_host 127.0.0.1 clamd_port {port}"), Model::Forkserver),
        (socket, Model::Prefork),
    ] {
        let config = Config::new().set("databytes", "0").set(
            "plugins",
            &format!(
                "virus/clamdscan {place} max_size 4000 defer_on_error yes\nrcpt_ok\n\
                 queue/maildir {{work}}/Maildir"
            ),
        );
        let server = Server::start(&config, model);
        let reply = send(&server, "nothing in here");
        assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
        let mails = config.take_mails();
        let mail = String::from_utf8_lossy(&mails[0]);
        assert!(mail.contains("\nX-Virus-Checked: by ClamAV "), "{mail}");
        assert!(mail.contains("\nX-Virus-Found: No\n"), "{mail}");
        let reply = send(&server, BAD);
        let want = "552 5.7.1 Virus found: Test.Harmless.UNOFFICIAL";
        assert!(reply.starts_with(want), "{reply} {}", server.log().tail());
        // More than the daemon takes: it says so, and hangs up.
        let reply = send(&server, &large);
        assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
        server.log().wait_for("skip, more than clamd takes");
        assert_eq!(config.take_mails().len(), 1);
        if model == Model::Prefork {
            drop(clamd);
            let reply = send(&server, "nothing in here");
            assert!(reply.ends_with("Unable to scan for viruses"), "{reply}");
            server.stop().unwrap();
            break;
        }
        server.stop().unwrap();
    }
}

/// Starts spamd with two rules.
pub(crate) fn spamd(keep: &Config) -> (Process, u16) {
    let port = free_port();
    let rules = keep.path("rules");
    fs::create_dir(&rules).unwrap();
    // Of its plugins only the one without which nothing goes.
    let plugin = "loadplugin Mail::SpamAssassin::Plugin::Check\n";
    fs::write(rules.join("init.pre"), plugin).unwrap();
    let text = "util_rb_tld com net org\nbody BAD /clamd does not like/\nscore BAD 7.5\nrequired_score 5\nuse_bayes 0\n\
                add_header all Status \"_YESNO_, score=_SCORE_ \
                required=_REQD_ tests=_TESTS_ autolearn=_AUTOLEARN_\"\n";
    fs::write(rules.join("local.cf"), text).unwrap();
    fs::set_permissions(keep.work(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = keep.command(deb::program("spamd").expect("was asked for"));
    command.args(["--local", "--nouser-config", "--max-children=1", "--syslog=stderr"]);
    command.args(["--listen=127.0.0.1", &format!("--port={port}"), "--username=nobody"]);
    command.arg("--configpath").arg(&rules).arg("--siteconfigpath").arg(&rules);
    command.arg("--helper-home-dir").arg(keep.work()).stdout(Stdio::null());
    let process = start(command, port);
    // It listens before it is ready.
    let ready = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"PING SPAMC/1.2\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.contains("PONG").then_some(())
    };
    poll(TIMEOUT, ready).expect("spamd answers");
    (process, port)
}

#[test]
fn spamd_is_asked() {
    if !nix::unistd::geteuid().is_root() {
        return say("skipped: spamd needs root");
    }
    if !deb::need("spamd") {
        return;
    }
    let keep = Config::new();
    let (spamd, port) = spamd(&keep);
    let plugins = format!(
        "spamassassin spamd_socket 127.0.0.1:{port} reject {{reject}} \
         munge_subject_threshold 6\nrcpt_ok\nqueue/maildir {{work}}/Maildir"
    );
    let config = Config::new().set("plugins", &plugins.replace("{reject}", "20"));
    let server = Server::start(&config, Model::Prefork);
    for (text, status, subject) in
        [("nothing in here", "No, score=", "x"), (BAD, "Yes, score=7.5", "*** SPAM *** x")]
    {
        let reply = send(&server, text);
        assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
        let mails = config.take_mails();
        let mail = String::from_utf8_lossy(&mails[0]);
        assert!(mail.contains(&format!("\nX-Spam-Status: {status}")), "{mail}");
        assert!(mail.contains(&format!("\nSubject: {subject}\n")), "{mail}");
    }
    server.stop().unwrap();
    let config = Config::new().set("plugins", &plugins.replace("{reject}", "7"));
    let server = Server::start(&config, Model::Forkserver);
    let reply = send(&server, BAD);
    assert_eq!(reply, "552 5.7.1 spam score exceeded threshold", "{}", server.log().tail());
    // Without spamd everything is accepted.
    drop(spamd);
    let reply = send(&server, BAD);
    assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
    server.log().wait_for("skip, spamd: 127.0.0.1:");
    server.stop().unwrap();
}
