//! Filters that other people wrote, as Debian has them.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use crate::backends::start;
use crate::harness::{Config, Log, Model, Process, Server, TIMEOUT, deb, free_port, poll, say};
use crate::programs::postfix::Postfix;
use crate::virus;

/// What a scanner of viruses and one of spam take for one in tests.
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

const FIELDS: &str = "From: a@example.net\r\nTo: b@example.com\r\n\
    Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-Id: <1@a.test>\r\nSubject:  two blanks\r\n\
    X-Folded: one\r\n\ttwo \r\n";

/// A configuration with a filter at a port.
fn with_filter(port: u16, more: &str) -> Config {
    let plugins = format!(
        "milter real inet:{port}@127.0.0.1 {more}\nrcpt_ok\nqueue/maildir {{work}}/Maildir"
    );
    Config::new().set("plugins", &plugins).set("me", "mx.test").set("databytes", "1000000")
}

/// Sends messages in one session, and each in one of its own as well: the replies, and what was stored.
fn send(server: &Server, config: &Config, texts: &[&str]) -> Vec<(String, Option<String>)> {
    let one_by_one = texts.chunks(1);
    let sessions = std::iter::once(texts).chain(one_by_one);
    let mut found = vec![];
    for texts in sessions {
        let mut client = server.connect();
        client.hello();
        for text in texts {
            // A transaction that comes to nothing.
            client.ask("MAIL FROM:<x@example.net>", "250");
            client.ask("RSET", "250");
            client.envelope();
            client.send_raw(format!("{FIELDS}\r\n{text}\r\n.\r\n").as_bytes());
            let reply = client.reply().lines.join("\n");
            let mails = config.take_mails();
            let mail = mails.first().map(|mail| String::from_utf8_lossy(mail).into_owned());
            found.push((reply, mail));
        }
        client.quit();
    }
    found
}

/// The folder for everybody's eyes.
fn opened(keep: &Config) {
    fs::set_permissions(keep.work(), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Makes a key; what belongs into the DNS of it.
fn make_key(file: &Path) -> String {
    assert!(deb::need("openssl"));
    let made = Command::new("openssl").args(["genrsa", "-out"]).arg(file).arg("2048").output();
    assert!(made.unwrap().status.success());
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    let shown = Command::new("openssl").args(["rsa", "-pubout", "-in"]).arg(file).output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let key: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    format!("v=DKIM1; k=rsa; p={key}")
}

/// Starts opendkim, which signs for example.net with this canonicalization, and verifies.
fn opendkim(keep: &Config, canonicalization: &str, mode: &str) -> (Process, u16) {
    let port = free_port();
    opened(keep);
    let key = keep.path("key");
    let record = if key.exists() { String::new() } else { make_key(&key) };
    if !record.is_empty() {
        fs::write(keep.path("keys"), format!("s._domainkey.example.net {record}\n")).unwrap();
    }
    let text = format!(
        "Syslog no\nMode {mode}\nDomain example.net\nSelector s\nKeyFile {}\nTestPublicKeys {}\n\
         Canonicalization {canonicalization}\nInternalHosts {}\nSocket inet:{port}@127.0.0.1\n\
         AlwaysAddARHeader yes\nRequireSafeKeys no\nAuthservID mx.test\n",
        key.display(),
        keep.path("keys").display(),
        // Mail from there is signed, and other mail verified.
        if mode == "s" { "127.0.0.1" } else { "192.0.2.1" }
    );
    keep.write("opendkim.conf", &text);
    let mut command = keep.command(deb::program("opendkim").unwrap());
    command.args(["-f", "-x"]).arg(keep.path("config/opendkim.conf")).stdout(Stdio::null());
    (start(command, port), port)
}

/// The fields of a stored message below those of the server, and its text.
fn signed(mail: &str) -> String {
    let at = mail.find("DKIM-Signature:").unwrap_or_else(|| panic!("no signature: {mail}"));
    mail[at..].replace('\n', "\r\n")
}

/// opendkim signs what it gets, simple and relaxed, and it verifies that by the octets that were
/// queued; and so it does with Postfix.
#[test]
fn opendkim_signs_and_verifies() {
    if !deb::need("opendkim") {
        return;
    }
    let keep = Config::new();
    for (canonicalization, model) in
        [("simple/simple", Model::Prefork), ("relaxed/relaxed", Model::Forkserver)]
    {
        let (signer, port) = opendkim(&keep, canonicalization, "s");
        let config = with_filter(port, "").set("me-auth-results", "none");
        let server = Server::start(&config, model);
        let mut messages = vec![];
        for (reply, mail) in send(&server, &config, &["text", "other text \r\n\r\n\r\n"]) {
            assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
            messages.push(signed(&mail.unwrap()));
        }
        server.stop().unwrap();
        drop(signer);

        let (_verifier, port) = opendkim(&keep, canonicalization, "v");
        let config = with_filter(port, "").set("me-auth-results", "none");
        let main = format!(
            "smtpd_milters = inet:127.0.0.1:{port}\nsmtpd_discard_ehlo_keywords = chunking\n"
        );
        let postfix = Postfix::start_with(&config, &main, "");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        for message in &messages {
            client.envelope();
            client.send_raw(format!("{message}.\r\n").as_bytes());
            client.expect("250");
            let mails = config.take_mails();
            let mail = String::from_utf8_lossy(&mails[0]).into_owned();
            assert!(mail.contains("dkim=pass (2048-bit key"), "{mail}");
            // A text that was changed is no longer what was signed.
            client.envelope();
            client.send_raw(format!("{message}more\r\n.\r\n").as_bytes());
            client.expect("250");
            let mails = config.take_mails();
            let broken = String::from_utf8_lossy(&mails[0]).into_owned();
            assert!(broken.contains("dkim=fail"), "{broken}");
            if let Some(postfix) = &postfix {
                let mut client = server.connect_to(postfix.smtpd());
                client.hello();
                client.envelope();
                client.send_raw(format!("{message}.\r\n").as_bytes());
                let reply = client.expect("250");
                let id = reply.lines[0].rsplit(' ').next().unwrap();
                let theirs = String::from_utf8(postfix.postcat("-bh", id)).unwrap();
                assert_eq!(without_trace(&mail), without_trace(&theirs));
                client.quit();
            }
        }
        client.quit();
        drop(postfix);
        server.stop().unwrap();
    }
}

/// A stored message without the lines of the server.
fn without_trace(mail: &str) -> String {
    let mut is_own = false;
    let mut kept = vec![];
    for line in mail.split('\n') {
        is_own = (is_own && line.starts_with([' ', '\t']))
            || ["Return-Path:", "Delivered-To:", "Received: from"]
                .iter()
                .any(|own| line.starts_with(own));
        if !is_own {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// opendmarc puts its results above all, and finds those that stand there already.
#[test]
fn opendmarc_adds_its_results() {
    if !deb::need("opendmarc") {
        return;
    }
    let keep = Config::new();
    let port = free_port();
    opened(&keep);
    let text = format!(
        "Syslog no\nSocket inet:{port}@127.0.0.1\nAuthservID mx.test\nTrustedAuthservIDs mx.test\n\
         IgnoreHosts {}\nSPFSelfValidate no\nSoftwareHeader yes\n",
        keep.path("nobody").display()
    );
    fs::write(keep.path("nobody"), "192.0.2.1\n").unwrap();
    keep.write("opendmarc.conf", &text);
    let mut command = keep.command(deb::program("opendmarc").unwrap());
    command.args(["-f", "-c"]).arg(keep.path("config/opendmarc.conf")).stdout(Stdio::null());
    let _opendmarc = start(command, port);
    let config = with_filter(port, "");
    let server = Server::start(&config, Model::Prefork);
    for (reply, mail) in send(&server, &config, &["text", "more"]) {
        assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
        let mail = mail.unwrap();
        assert!(mail.contains("\nDMARC-Filter: OpenDMARC Filter v1"), "{mail}");
        assert!(mail.contains("\nAuthentication-Results: mx.test; auth=none\n"), "{mail}");
    }
    server.stop().unwrap();
}

/// clamav-milter refuses what its clamd does not like, and puts everybody off while that is away, unless
/// it is not to.
#[test]
fn clamav_milter_asks_clamd() {
    if !deb::need("clamav-milter") || !deb::need("clamav-daemon") {
        return;
    }
    let keep = Config::new();
    opened(&keep);
    let (clamd, clamd_port) = virus::clamd(&keep);
    let port = free_port();
    let text = format!(
        "Foreground yes\nMilterSocket inet:{port}@127.0.0.1\nClamdSocket tcp:127.0.0.1:{clamd_port}\n\
         OnInfected Reject\nOnFail Defer\nAddHeader Replace\nRejectMsg infected with %v\n"
    );
    keep.write("clamav-milter.conf", &text);
    let mut command = keep.command(deb::program("clamav-milter").unwrap());
    command.arg("-c").arg(keep.path("config/clamav-milter.conf")).stdout(Stdio::null());
    let milter = start(command, port);
    let config = with_filter(port, "");
    let server = Server::start(&config, Model::Prefork);
    for (reply, mail) in send(&server, &config, &["text"]) {
        assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
        assert!(mail.unwrap().contains("\nX-Virus-Status: Clean\n"));
    }
    for (reply, mail) in send(&server, &config, &[virus::BAD]) {
        assert_eq!(reply, "550 5.7.1 infected with Test.Harmless.UNOFFICIAL");
        assert!(mail.is_none());
    }
    drop(clamd);
    for (reply, mail) in send(&server, &config, &["text", "text"]) {
        assert_eq!(reply, "451 4.7.1 Service unavailable - try again later");
        assert!(mail.is_none());
    }
    // Without the milter itself on_error decides.
    drop(milter);
    let mut client = server.connect();
    client.expect("421");
    client.closed();
    server.log().wait_for("FATAL PLUGIN ERROR: real: 127.0.0.1:");
    server.stop().unwrap();
    let config = with_filter(port, "on_error ignore");
    let server = Server::start(&config, Model::Prefork);
    for (reply, mail) in send(&server, &config, &[virus::BAD]) {
        assert!(reply.starts_with("250 "), "{reply}");
        assert!(mail.is_some());
    }
    server.stop().unwrap();
}

/// spamass-milter has spamd judge the message, and changes its fields.
#[test]
fn spamass_milter_asks_spamd() {
    if !geteuid().is_root() {
        return say("skipped: spamd needs root");
    }
    if !deb::need("spamass-milter") || !deb::need("spamd") || !deb::need("spamc") {
        return;
    }
    let keep = Config::new();
    let (_spamd, spamd_port) = virus::spamd(&keep);
    let port = free_port();
    let mut command = keep.command(deb::program("spamass-milter").unwrap());
    command.args(["-p", &format!("inet:{port}@127.0.0.1"), "-r", "7", "--"]);
    command.args(["-d", "127.0.0.1", "-p", &spamd_port.to_string()]).stdout(Stdio::null());
    let _milter = start(command, port);
    let config = with_filter(port, "");
    let server = Server::start(&config, Model::Prefork);
    for (reply, mail) in send(&server, &config, &["text", "more"]) {
        assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
        assert!(mail.unwrap().contains("\nX-Spam-Status: No"));
    }
    for (reply, mail) in send(&server, &config, &[virus::BAD]) {
        assert_eq!(reply, "550 5.7.1 Blocked by SpamAssassin");
        assert!(mail.is_none());
    }
    server.stop().unwrap();
}

/// rspamd_proxy, which answers nothing before the end of the message.
#[test]
fn rspamd_proxy_is_asked() {
    if !deb::need("rspamd") {
        return;
    }
    let keep = Config::new();
    let port = free_port();
    opened(&keep);
    let local = keep.path("local.d");
    fs::create_dir(&local).unwrap();
    let off = "enabled = false;\n";
    let proxy = format!(
        "milter = yes;\ncount = 1;\ntimeout = 60s;\nbind_socket = \"127.0.0.1:{port}\";\n\
         upstream \"local\" {{ default = yes; self_scan = yes; }}\n"
    );
    for (name, text) in [
        ("worker-proxy.inc", proxy.as_str()),
        ("worker-normal.inc", off),
        ("worker-controller.inc", off),
        ("worker-fuzzy.inc", off),
        (
            "options.inc",
            "disable_hyperscan = true;\ndns { timeout = 0.2s; retransmits = 1; nameserver = [\"127.0.0.1:1\"]; }\n",
        ),
        ("logging.inc", "type = \"console\";\nlevel = \"error\";\n"),
        (
            "milter_headers.conf",
            "use = [\"x-spamd-bar\"];\nskip_local = false;\nskip_authenticated = false;\n",
        ),
    ] {
        fs::write(local.join(name), text).unwrap();
    }
    let mut command = keep.command(deb::program("rspamd").unwrap());
    command.args(["-f", "-i"]).arg(format!("--var=LOCAL_CONFDIR={}", keep.work().display()));
    command.arg(format!("--var=DBDIR={}", keep.work().display()));
    command.arg(format!("--var=RUNDIR={}", keep.work().display())).stdout(Stdio::null());
    // Its configuration is compiled at the start, which takes a while on a busy machine.
    let log = Log::default();
    let _rspamd = Process::spawn(command, &log);
    let listens = || TcpStream::connect(("127.0.0.1", port)).ok();
    assert!(poll(5 * TIMEOUT, listens).is_some(), "rspamd does not listen:\n{}", log.tail());
    let config = with_filter(port, "keep yes");
    let server = Server::start(&config, Model::Prefork);
    // It listens before its workers are ready.
    let is_ready = || {
        let (reply, mail) = send(&server, &config, &["text"]).remove(0);
        (reply.starts_with("250 ") && mail.unwrap().contains("X-Spamd-Bar: ")).then_some(())
    };
    assert!(poll(5 * TIMEOUT, is_ready).is_some(), "{}", server.log().tail());
    for (reply, mail) in send(&server, &config, &["text", "more"]) {
        assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
        assert!(mail.unwrap().contains("\nX-Spamd-Bar: "));
    }
    for (reply, mail) in send(&server, &config, &[GTUBE]) {
        assert_eq!(reply, "554 5.7.1 Gtube pattern", "{}", server.log().tail());
        assert!(mail.is_none());
    }
    server.stop().unwrap();
}
