//! What a client sends while it may be sending a password is in no log and in no title, whatever
//! it looks like.

use std::fs;

use base64::prelude::*;

use crate::harness::{Client, Model, Server, TIMEOUT, poll};
use crate::lmtp;
use crate::perl_host;

/// A password that is nowhere else.
const SECRET: &str = "Kv9+xQ/wLm3 Zr7=TyUo5(Bn";

/// The name in front of it, which is no secret.
const USER: &str = "good@example.com";

/// So many octets of a secret that stand in a log are no accident.
const PIECE: usize = 8;

/// Dialogues after the greeting, sent at once.  `{s}` is the password, `{b}` the same in base64,
/// `{u}` the user in base64, `{p}` the message of PLAIN, `{m}` that of PLAIN without the NULs,
/// `{long}` more octets than a line may have.
const DIALOGUES: [&str; 42] = [
    "AUTH PLAIN {p}",
    "AUTH PLAIN\n{p}",
    "AUTH PLAIN =\n{p}",
    "AUTH PLAIN\n*\n{p}\n{b}",
    "AUTH PLAIN {p} {b}",
    "AUTH PLAIN {b}",
    "AUTH PLAIN {m}",
    "AUTH {p}",
    "AUTH {b}",
    "AUTH {s}",
    "AUTH PLAIN {s}",
    "AUTH PLAIN\n{s}",
    "AUTH LOGIN\n{u}\n{b}",
    "AUTH LOGIN {u}\n{b}",
    "AUTH LOGIN {u} {b}\n{b}",
    "AUTH LOGIN\n{u}\n{s}",
    "AUTH LOGIN\n*\n{u}\n{b}",
    "AUTH CRAM-MD5\n{p}",
    "AUTH CRAM-MD5\n{b}\n{b}",
    "AUTH CRAM-MD5 {p}",
    "AUTH SCRAM-SHA-256 {p}",
    "AUTH SCRAM-SHA-256\n{p}\n{b}",
    "AUTH XOAUTH2 {p}",
    "AUTH XOAUTH2\n{p}",
    "auth plain {p}",
    "aUtH\tPLAIN {p}",
    "AUTH\tLOGIN\t{u}\n{u}\n{b}",
    " AUTH PLAIN {p}",
    "AUTH  PLAIN  {p}",
    "AUTH=PLAIN {p}",
    "AUHT PLAIN {p}\n{p}",
    "{u}\n{b}",
    "{s}",
    "\u{7f}AUTH PLAIN {p}\n\u{1}{b}",
    "AUTH PLAIN {p}{long}",
    "{p}{long}",
    "AUTH PLAIN\n{p}{long}\n{b}",
    "AUTH LOGIN\nNOOP {b}\nHELP {b}\nQUIT {b}",
    "EHLO x\nAUTH PLAIN {p}\nMAIL FROM:<a@example.net>\nAUTH LOGIN\n{u}\n{b}\nDATA {b}",
    "MAIL FROM:<a@example.net>\nRCPT TO:<nobody@elsewhere.test>\nDATA\n{p}\n{s}\n.",
    "MAIL FROM:<a@example.net>\nAUTH PLAIN {p}\nVRFY {b}\nRCPT {s}\nRSET {b}\nSTARTTLS {b}",
    "AUTH PLAIN x\nAUTH PLAIN y\nBDAT {b}\nNOOP {s}\nHELP {s}",
];

/// Hears everything that a plugin can hear, and tells it.
const LISTENER: &str = r#"
sub hook_unrecognized_command { shift->tell(@_) }
sub hook_auth_parse { shift->tell(@_) }
sub hook_noop { shift->tell(@_) }
sub hook_help { shift->tell(@_) }
sub hook_auth_plain { shift->tell(@_) }
sub hook_auth_login { shift->tell(@_) }
sub hook_auth { shift->tell(@_) }
sub tell {
    my ($self, $transaction, @said) = @_;
    $self->log(LOGINFO, map { lc($_ || ''), uc($_ || '') } @said);
    return (DECLINED, "you said @said[1 .. $#said]");
}
"#;

const LOGGER: &str = r#"
sub hook_logging {
    my ($self, $transaction, $trace, $hook, $plugin, @log) = @_;
    open my $file, '>>', '{work}/Maildir/perl' or return DECLINED;
    print {$file} "@log\n";
    return DECLINED;
}
"#;

/// All ways to log, with everything.
const LOGGING: &str = "\
logging/own
logging/file loglevel LOGDEBUG {work}/Maildir/text
logging/file:1 loglevel LOGDEBUG format json {work}/Maildir/json
logging/syslog loglevel LOGDEBUG
logging/adaptive accept LOGDEBUG reject LOGDEBUG
logging/warn LOGDEBUG
logging/warn:1 LOGDEBUG format json";

/// What the clients say that is secret.
struct Secrets {
    values: [(&'static str, String); 5],
}

impl Secrets {
    fn new() -> Secrets {
        let plain = format!("\0{USER}\0{SECRET}");
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        Secrets {
            values: [
                ("{s}", SECRET.to_owned()),
                ("{b}", encoded(SECRET)),
                ("{u}", encoded(USER)),
                ("{p}", encoded(&plain)),
                ("{m}", encoded(&plain.replace('\0', " "))),
            ],
        }
    }

    fn fill(&self, dialogue: &str) -> String {
        let filled = self
            .values
            .iter()
            .fold(dialogue.to_owned(), |text, (name, value)| text.replace(name, value));
        filled.replace("{long}", &"x".repeat(13_000)).replace('\n', "\r\n")
    }

    /// A piece of one of them that stands in `text`, in any case.
    fn found(&self, text: &str) -> Option<String> {
        let text = text.to_lowercase();
        self.values.iter().find_map(|(_, value)| {
            let value = value.to_lowercase();
            let mut pieces = (0..=value.len() - PIECE).map(|at| &value[at..at + PIECE]);
            pieces.find(|piece| text.contains(piece)).map(str::to_owned)
        })
    }
}

/// Says a dialogue and hears what comes until the end.
fn say(mut client: Client, greeting: &str, lines: &str) {
    client.expect("220");
    client.ask(greeting, "250");
    client.send_raw(format!("{lines}\r\n\r\nQUIT\r\n").as_bytes());
    while client.line().unwrap_or_else(|story| panic!("{story}")).is_some() {}
}

/// Everything that was logged by a server with these plugins, and what the titles were meanwhile.
fn logged(plugins: &str, more: &[(&str, &str)], model: Model, is_lmtp: bool) -> String {
    let config = perl_host::config(plugins, &[("logging/own", LOGGER), ("listener", LISTENER)]);
    let config = more.iter().fold(config, |config, (name, text)| config.set(name, text));
    let config = config
        .set("flat_auth_pw", &format!("{USER}:another"))
        .set("logging", LOGGING)
        .set("loglevel", "7");
    let server = match is_lmtp {
        true => lmtp::start(&config, model),
        false => Server::start(&config, model),
    };
    let secrets = Secrets::new();
    let mut titles = String::new();
    for dialogue in DIALOGUES {
        let greeting = if is_lmtp { "LHLO client.test" } else { "EHLO client.test" };
        say(server.connect(), greeting, &secrets.fill(dialogue));
        for pid in config.processes() {
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            titles += &String::from_utf8_lossy(&title);
            titles.push('\n');
        }
    }
    let ends = || server.log().text().matches("disconnect from 127.0.0.1").count();
    let log = server.log().clone();
    poll(TIMEOUT, || (ends() >= DIALOGUES.len()).then_some(()))
        .unwrap_or_else(|| panic!("{} sessions have ended", ends()));
    server.stop().unwrap();
    let files = ["perl", "text", "json"].map(|name| {
        let text = fs::read_to_string(config.path("Maildir").join(name)).unwrap();
        assert!(text.contains("failed AUTH") && text.contains("disconnect from"), "{name}: {text}");
        text
    });
    files.concat() + &log.text() + &titles
}

#[test]
fn nothing_that_may_be_a_password_is_logged() {
    let secrets = Secrets::new();
    let queue = "rcpt_ok\nqueue/discard";
    for (plugins, more, model, is_lmtp) in [
        (format!("auth/auth_flat_file\n{queue}"), &[][..], Model::Prefork, false),
        (
            format!("listener\nauth/auth_flat_file\ncount_unrecognized_commands 9\n{queue}"),
            &[("tls_before_auth", "1")],
            Model::Forkserver,
            false,
        ),
        (format!("noop_counter 9\nhelp\n{queue}"), &[], Model::Inetd, false),
        (format!("auth/authdeny\n{queue}"), &[("auth_mechanisms", "LOGIN")], Model::Prefork, true),
    ] {
        let log = logged(&plugins, more, model, is_lmtp);
        if let Some(piece) = secrets.found(&log) {
            let lines = log.lines().filter(|line| line.to_lowercase().contains(&piece));
            let lines: Vec<&str> = lines.take(5).collect();
            panic!("{plugins}: '{piece}' is in the log:\n{}", lines.join("\n"));
        }
    }
}

#[test]
fn pieces_are_found() {
    let secrets = Secrets::new();
    assert_eq!(secrets.found("dispatching HELO client.test"), None);
    assert!(secrets.found(&format!("dispatching {SECRET}")).is_some());
    assert!(secrets.found(&secrets.fill("x{p}").to_uppercase()).is_some());
    assert!(secrets.found(&format!("x{}y", &SECRET[3..11])).is_some());
}
