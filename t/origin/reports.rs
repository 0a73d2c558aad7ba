//! Reports on DMARC: what a daemon has counted is sent once, and others read it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use super::chain::make_key;
use super::servers::{Text, unbound};
use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Server, deb, free_port};

/// Reads a message with a report from standard input, and writes what is in it.
const READER: &str = r#"
import email, email.policy, gzip, sys, xml.etree.ElementTree as tree
message = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
part = next(message.iter_attachments())
assert part.get_content_type() == "application/gzip"
root = tree.fromstring(gzip.decompress(part.get_content()))
names = {"d": "urn:ietf:params:xml:ns:dmarc-2.0"}
assert root.tag == "{urn:ietf:params:xml:ns:dmarc-2.0}feedback"
def show(path):
    print(path, *[found.text for found in root.findall("/".join("d:" + x for x in path.split("/")), names)])
for name in "From", "To":
    print(name.lower(), *[address.addr_spec for address in message[name].addresses])
print("subject", " ".join(message["Subject"].split()))
print("file", part.get_filename())
for path in ["version", "report_metadata/org_name", "report_metadata/email", "report_metadata/report_id",
             "report_metadata/date_range/begin", "report_metadata/date_range/end",
             "policy_published/domain", "policy_published/p", "record/row/source_ip", "record/row/count",
             "record/row/policy_evaluated/disposition", "record/row/policy_evaluated/dkim",
             "record/row/policy_evaluated/spf", "record/identifiers/header_from",
             "record/auth_results/dkim/domain", "record/auth_results/dkim/selector",
             "record/auth_results/dkim/result"]:
    show(path)
"#;

fn program(config: &Config, words: &[&str]) -> Command {
    let mut command = config.command(Model::Inetd.program());
    command.args(words).args(unprivileged().map(|user| format!("--user={}", user.name)));
    command
}

fn said(config: &Config, words: &[&str]) -> String {
    let Output { status, stdout, stderr } = program(config, words).output().unwrap();
    let (said, why) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{words:?}: {why}");
    said
}

/// Returns when it will not be midnight soon, when all that is counted would be of two days.
fn not_at_midnight() {
    let rest = 86_400 - jiff::Timestamp::now().as_second() % 86_400;
    if rest < 60 {
        std::thread::sleep(std::time::Duration::from_secs(rest as u64));
    }
}

fn import(config: &Config, table: &str, lines: &str) {
    fs::write(config.path("lines"), lines).unwrap();
    let mut command = program(config, &["--store", "import", table]);
    command.stdin(File::open(config.path("lines")).unwrap());
    assert!(command.output().unwrap().status.success());
}

/// Makes today's entries of a table those of yesterday.
fn age(config: &Config, table: &str) {
    let listed = said(config, &["--store", "list", table]);
    let yesterday = |line: &str| {
        let (day, rest) = line.split_at(10);
        let date: jiff::civil::Date = day.parse().unwrap();
        format!("{}{rest}\n", date.yesterday().unwrap())
    };
    let aged: String = listed.lines().map(yesterday).collect();
    assert!(!aged.is_empty());
    said(config, &["--store", "clear", table]);
    import(config, table, &aged);
}

fn read(mail: &[u8], config: &Config) -> Vec<String> {
    fs::write(config.path("mail"), mail).unwrap();
    let input = File::open(config.path("mail")).unwrap();
    let output = Command::new("python3").args(["-c", READER]).stdin(input).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_report_is_sent_once_to_who_agrees_and_others_read_it() {
    if !deb::need("unbound") || !deb::need("python3") {
        return;
    }
    not_at_midnight();
    let port = free_port();
    let plugins = "dmarc reports dmarc@mx.test\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = Config::new()
        .set("plugins", plugins)
        .set("me", "mx.test")
        .set("dns_servers", &format!("127.0.0.1:{port}"));
    let key = make_key(&config, "mx.test", "ed25519");
    let text = |name: &str, value: &str| -> Text { (name.to_owned(), vec![value.to_owned()]) };
    let records = [
        key,
        text(
            "_dmarc.author.test",
            "v=DMARC1; p=none; rua=mailto:in@author.test,mailto:a@agrees.test!10m,mailto:b@not.test,\
             mailto:c@agrees.test!10",
        ),
        text("author.test._report._dmarc.agrees.test", "v=DMARC1"),
        text("author.test", "v=spf1 ip4:127.0.0.1 -all"),
    ];
    let _dns = unbound(port, &records, &config);
    let server = Server::start(&config, Model::Prefork);
    for sender in ["a@author.test", "a@author.test", "b@other.test"] {
        let mut client = server.connect();
        client.hello();
        client.ask(&format!("MAIL FROM:<{sender}>"), "250");
        client.ask("RCPT TO:<b@example.com>", "250");
        client.ask("DATA", "354");
        client.send_raw(
            b"DKIM-Signature: v=1; a=ed25519-sha256; d=<odd>&.test; s=x\r\n\
              DKIM-Signature: v=1; a=ed25519-sha256; d=other.test; s=key; h=from; bh=AAAA; b=AAAA\r\n\
              From: a@author.test\r\n\r\nHello\r\n",
        );
        client.ask(".", "250");
        client.quit();
    }
    assert_eq!(config.take_mails().len(), 3);

    // The day is not over.
    said(&config, &["--dmarc-reports", "all"]);
    assert_eq!(config.take_mails().len(), 0);
    age(&config, "dmarc");
    age(&config, "dmarc_rows");
    let shown = said(&config, &["--dmarc-reports", "show"]);
    assert!(shown.contains("<count>2</count>"), "{shown}");
    assert_eq!(config.take_mails().len(), 0);

    // Two at once, while the daemon runs.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| said(&config, &["--dmarc-reports", "all"]));
        }
    });
    let mails = config.take_mails();
    assert_eq!(mails.len(), 1);
    let mail = String::from_utf8(mails[0].clone()).unwrap();
    assert!(mail.contains("\nDKIM-Signature: v=1; a=ed25519-sha256;"), "{mail}");
    assert!(mail.contains("Return-Path: <dmarc@mx.test>"), "{mail}");
    let read = read(&mails[0], &config);
    let find = |name: &str| {
        let line = read.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {read:?}")).to_owned()
    };
    assert_eq!(find("from"), "dmarc@mx.test");
    assert_eq!(find("to"), "in@author.test a@agrees.test");
    let id = find("report_metadata/report_id");
    assert_eq!(
        find("subject"),
        format!("Report Domain: author.test Submitter: mx.test Report-ID: <{id}>")
    );
    let (begin, end) =
        (find("report_metadata/date_range/begin"), find("report_metadata/date_range/end"));
    assert_eq!(end.parse::<u64>().unwrap() - begin.parse::<u64>().unwrap(), 86_399);
    assert_eq!(find("file"), format!("mx.test!author.test!{begin}!{end}!{id}.xml.gz"));
    for (name, value) in [
        ("version", "1.0"),
        ("report_metadata/org_name", "mx.test"),
        ("policy_published/domain", "author.test"),
        ("policy_published/p", "none"),
        ("record/row/source_ip", "127.0.0.1 127.0.0.1"),
        ("record/row/count", "2 1"),
        ("record/row/policy_evaluated/disposition", "pass none"),
        ("record/row/policy_evaluated/spf", "pass fail"),
        ("record/row/policy_evaluated/dkim", "fail fail"),
        ("record/identifiers/header_from", "author.test author.test"),
    ] {
        assert_eq!(find(name), value, "{read:?}");
    }

    // It is gone, and comes again only with new mail.
    said(&config, &["--dmarc-reports", "all"]);
    assert_eq!(config.take_mails().len(), 0);
    assert!(!said(&config, &["--store", "list", "dmarc_rows"]).contains("author.test"));
    server.stop().unwrap();
}

#[test]
fn what_is_killed_while_it_sends_is_not_sent_again() {
    let hop = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = format!("queue/smtp-forward 127.0.0.1 {}", hop.local_addr().unwrap().port());
    let plugins = |queue: &str| format!("dmarc reports dmarc@mx.test\nrcpt_ok\n{queue}");
    let config = Config::new().set("plugins", &plugins(&forward));
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let key = format!("{} author.test 01020304", today.yesterday().unwrap());
    let report = "1 0 0 mailto:in@author.test <policy_published/>";
    import(&config, "dmarc", &format!("{key}\t500000\t{report}\n"));
    let row = "1 <record><count/></record>";
    import(&config, "dmarc_rows", &format!("{key} 0102\t500000\t{row}\n"));

    let mut command = program(&config, &["--dmarc-reports", "all"]);
    let mut sender = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The next hop has a connection, and never says a word.
    let _connection = hop.accept().unwrap();
    sender.kill().unwrap();
    sender.wait().unwrap();

    config.write("plugins", &plugins("queue/maildir {work}/Maildir"));
    said(&config, &["--dmarc-reports", "all"]);
    assert_eq!(config.take_mails().len(), 0);
    let explained = said(&config, &["--store", "explain", "dmarc"]);
    assert!(explained.contains("it is being sent, or sending it was interrupted"), "{explained}");
}
