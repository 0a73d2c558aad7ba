//! `--try`: a session on the terminal.

use std::fs::{self, File};

use super::{look, look_with};
use crate::backends::tls::make_certificate;
use crate::harness::config::unprivileged;
use crate::harness::deb::need;
use crate::harness::{Config, Model};

const OURS: &str = r#"
sub hook_rcpt {
    my ($self, $transaction, $recipient) = @_;
    return (DENY, 'nobody is here') if $recipient->user eq 'nobody';
    return DECLINED;
}
sub hook_data_post {
    my ($self, $transaction) = @_;
    $transaction->header->add('X-Ours', 'looked at');
    return DECLINED;
}
sub hook_queue { die 'the queue is asked' }
sub hook_queue_post { die 'the queue was asked' }
"#;

const SCRIPT: &str = "EHLO mx.example.net
MAIL FROM:<bad@example.net>
MAIL FROM:<me@example.org>
RCPT TO:<nobody@example.com>
RCPT TO:<you@example.com>
STARTTLS
DATA
From: me@example.org
Subject: hello

starttls
..dot
.
QUIT
";

fn config() -> Config {
    let config = Config::new();
    fs::create_dir(config.path("perl")).unwrap();
    fs::write(config.path("perl/ours"), OURS).unwrap();
    let dirs = config.path("perl").display().to_string();
    config
        .set("plugin_dirs", &dirs)
        .set("badmailfrom", "bad@example.net not wanted")
        .set("loglevel", "2")
        .set(
            "plugins",
            "relay\nkarma\nbadmailfrom\nours\nrcpt_ok\ncontent_log\n\
             queue/smtp-forward 127.0.0.1 1\nqueue/maildir {work}/Maildir",
        )
        .set("content_log_file", "{work}/content")
}

const CLIENT: [&str; 5] = ["--try", "--client", "192.0.2.7", "--client-name", "mx.example.net"];

/// Who said what stands behind each command; nothing is written, no queue is asked.
#[test]
fn a_script_is_played_and_nothing_is_queued() {
    let config = config();
    for model in Model::ALL {
        let (status, said, errors) = look_with(&config, model, &CLIENT, SCRIPT);
        assert_eq!(status, 0, "{said}{errors}");
        assert_eq!(errors, "", "{said}");
        let parts: Vec<&str> = said.split("C: ").collect();
        let after = |command: &str| {
            let found = parts.iter().find(|part| part.starts_with(command));
            found
                .unwrap_or_else(|| panic!("no {command}:\n{said}"))
                .lines()
                .skip(1)
                .collect::<Vec<_>>()
        };
        assert!(parts[0].contains("The client is 192.0.2.7 (mx.example.net)"), "{said}");
        assert!(parts[0].contains("   connect: relay DECLINED\n"), "{said}");
        assert_eq!(
            after("MAIL FROM:<bad@example.net>"),
            [
                "   mail: karma DECLINED",
                "   mail: badmailfrom DENY: not wanted",
                "S: 550 5.7.1 not wanted",
            ]
        );
        let nobody = after("RCPT TO:<nobody@example.com>");
        assert!(nobody.contains(&"   rcpt: ours DENY: nobody is here"), "{said}");
        let you = after("RCPT TO:<you@example.com>");
        assert_eq!(
            you[you.len() - 3..],
            [
                "   rcpt: ours DECLINED",
                "   rcpt: rcpt_ok OK",
                "S: 250 2.1.5 <you@example.com>, recipient ok",
            ]
        );
        assert_eq!(after("STARTTLS"), ["S: 500 5.5.1 Unrecognized command"]);
        let message = after(".\n");
        for line in [
            "   data_post: ours DECLINED",
            "   would be handed to ours (plugins:4)",
            "   or, if that declines, to queue/smtp-forward 127.0.0.1 1 (plugins:7)",
            "   from <me@example.org>",
            "   to   <you@example.com>",
            "   | X-Ours: looked at",
            "   | Subject: hello",
            "S: 250 2.0.0 Not queued, this is a rehearsal",
        ] {
            assert!(message.contains(&line), "{line} is not in:\n{said}");
        }
        let end = "Have a wonderful day.\n   the server has closed the connection\n";
        assert!(said.ends_with(end), "{said}");
        assert!(config.mails().is_empty() && !config.path("content").exists());
        let left = fs::read_dir("/tmp").unwrap().flatten();
        let left =
            left.filter(|entry| entry.file_name().to_string_lossy().starts_with("qpsmtpd-try-"));
        // Those of other tests have processes.
        for entry in left {
            let pid = entry.file_name().to_string_lossy().rsplit('-').next().unwrap().to_owned();
            assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "{entry:?} is left");
        }
    }
}

#[test]
fn refusals_are_as_for_clients_and_tls_may_be_pretended() {
    let config = Config::new()
        .set("plugins", "hosts_allow\nrcpt_ok\nqueue/maildir {work}/Maildir")
        .set("hosts_allow", "192.0.2.9 DENY go away");
    let (status, said, _) =
        look_with(&config, Model::Inetd, &["--try", "--client", "192.0.2.9"], "NOOP\n");
    assert_eq!(status, 0);
    assert!(said.contains("   pre-connection: hosts_allow DENY: go away\n"), "{said}");
    assert!(said.ends_with("S: 550 go away\n"), "{said}");
    let script =
        "EHLO me\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.com>\nDATA\nSubject: x\n\n.\n";
    let arguments = ["--try", "--client", "2001:db8::7", "--client-name", "x", "--client-tls"];
    let (status, said, _) = look_with(&config, Model::Inetd, &arguments, script);
    assert_eq!(status, 0);
    assert!(said.contains("   TLS is only pretended: there was no handshake.\n"), "{said}");
    assert!(!said.contains("STARTTLS") && said.contains("ESMTPS"), "{said}");
}

/// A configuration with a certificate, which asks for TLS before AUTH.
fn with_tls() -> Config {
    let config = Config::new();
    fs::create_dir(config.path("ssl")).unwrap();
    make_certificate(&config.path("ssl/default.pem"), "mail.test");
    let plugins = "tls certs {work}/ssl\nauth/auth_flat_file\nrcpt_ok\nqueue/discard";
    config
        .set("plugins", plugins)
        .set("flat_auth_pw", "ann@example.com:secret")
        .set("tls_before_auth", "1")
        .set("proxy_from", "127.0.0.1")
}

const UNDER_TLS: &str = "   under TLS now: TLSv1.3 ";

#[test]
fn starttls_has_its_handshake() {
    let script = "EHLO a\nAUTH PLAIN\nSTARTTLS\nMAIL FROM:<a@example.org>\nEHLO b\nSTARTTLS\n\
        AUTH PLAIN AGFubkBleGFtcGxlLmNvbQBzZWNyZXQ=\nMAIL FROM:<a@example.org>\n\
        RCPT TO:<b@elsewhere.test>\nDATA\nSubject: x\n\nSTARTTLS\n.\nQUIT\n";
    let (status, said, errors) = look_with(&with_tls(), Model::Inetd, &["--try"], script);
    assert_eq!(status, 0, "{said}{errors}");
    let (before, after) = said.split_once(UNDER_TLS).unwrap_or_else(|| panic!("{said}{errors}"));
    assert!(before.contains("S: 250 STARTTLS\n"), "{said}");
    assert!(before.contains("S: 503 5.7.11 SSL/TLS required before AUTH\n"), "{said}");
    assert!(before.ends_with("C: STARTTLS\nS: 220 2.0.0 Go ahead with TLS\n"), "{said}");
    for line in [
        // The client has to greet again.
        "C: MAIL FROM:<a@example.org>\nS: 503 ",
        "S: 250 AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS\nC: STARTTLS\nS: 503 ",
        "S: 235 2.7.0 PLAIN authentication successful for ann@example.com",
        "ESMTPSA (TLSv1.3 ",
        "Not queued, this is a rehearsal\n",
        "   the server has closed the connection\n",
    ] {
        assert!(after.contains(line), "{line}\n{said}");
    }
    assert!(!after.contains("-STARTTLS"), "{said}");
}

#[test]
fn what_comes_before_the_greeting_is_played() {
    let config = with_tls();
    let played = |arguments: &[&str], script: &str| {
        let arguments = [&["--try", "--to-port", "465"], arguments].concat();
        let (status, said, errors) = look_with(&config, Model::Inetd, &arguments, script);
        assert_eq!(status, 0, "{said}{errors}");
        said
    };
    let said = played(&[], "EHLO a\nQUIT\n");
    let (before, _) = said.split_once("S: 220 ").unwrap();
    assert!(before.contains(UNDER_TLS) && said.contains("S: 221 "), "{said}");
    let proxied = "PROXY TCP4 192.0.2.9 192.0.2.25 40000 465\nEHLO a\nQUIT\n";
    let said = played(&["--client", "127.0.0.1"], proxied);
    let (before, after) = said.split_once(UNDER_TLS).unwrap();
    assert!(before.contains("a PROXY header comes first\nC: PROXY TCP4 192.0.2.9 "), "{said}");
    assert!(after.contains("[192.0.2.9]") && after.contains("S: 221 "), "{said}");
    // Nobody says it.
    let said = played(&["--client", "127.0.0.1"], "");
    assert!(!said.contains("S: "), "{said}");
}

/// At a terminal each line has its prompt, and is not shown a second time.
#[test]
fn people_have_a_prompt() {
    if !need("bsdutils") {
        return;
    }
    let config = with_tls();
    let user = unprivileged().map_or(String::new(), |user| format!("--user {}", user.name));
    let line = format!("stty -echo; {} --try {user}", Model::Inetd.program());
    let input = config.path("input");
    fs::write(&input, "EHLO a\nSTARTTLS\nEHLO b\nVRFY me\n").unwrap();
    let mut script = config.command("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(File::open(input).unwrap());
    let output = script.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("your spam.\nC: S: 250-") && said.contains(UNDER_TLS), "{said}");
    // The last one is where the input ends.
    assert_eq!(said.matches("C: ").count(), 5, "{said}");
    assert!(said.ends_with("C: \n"), "{said}");
}

/// A long message goes through, as does one that ends in the middle.
#[test]
fn large_scripts_are_played_to_their_end() {
    let config = Config::new().set("databytes", "0");
    let line = "x".repeat(900) + "\n";
    let script = format!(
        "HELO me\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.com>\nDATA\nSubject: x\n\n{}.\nMAIL FROM:<>\n\
         RCPT TO:<b@example.com>\nDATA\nSubject",
        line.repeat(2000)
    );
    let (status, said, _) = look_with(&config, Model::Inetd, &CLIENT, &script);
    assert_eq!(status, 0);
    assert!(
        said.contains("S: 250 Not queued, this is a rehearsal\n"),
        "{}",
        &said[said.len() - 900..]
    );
    assert_eq!(said.matches("Not queued").count(), 1);
}

#[test]
fn a_configuration_that_cannot_be_started_is_not_played() {
    let config = Config::new().set("plugins", "rcpt_ok\nno_such");
    let (status, said, errors) = look(&config, Model::Prefork, &["--try"]);
    assert_eq!(status, 1);
    assert!(errors.contains("plugins:2: unknown plugin 'no_such'"), "{errors}");
    assert!(!said.contains("S: "), "{said}");
    // What goes with it means nothing without it.
    let (status, _, errors) = look(&config, Model::Inetd, &["--client", "192.0.2.7"]);
    assert_eq!(status, 2, "{errors}");
}

/// A handler that does not come to an end ends the session, and is named; the site's log says nothing.
#[test]
fn a_handler_that_hangs_is_named() {
    let config = Config::new();
    fs::create_dir(config.path("perl")).unwrap();
    fs::write(config.path("perl/hangs"), "sub hook_helo { sleep 600 }\n").unwrap();
    let dirs = config.path("perl").display().to_string();
    let config = config
        .set("plugin_dirs", &dirs)
        .set("logging", "logging/file {work}/log")
        .set("plugins", "hangs timeout 1\nrcpt_ok\nqueue/maildir {work}/Maildir");
    let (status, said, _) = look_with(&config, Model::Inetd, &["--try"], "HELO me\nQUIT\n");
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("   helo: hangs failed: "), "{said}");
    assert!(said.contains("S: 451 Internal error"), "{said}");
}
