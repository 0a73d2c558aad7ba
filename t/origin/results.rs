//! Authentication-Results as the library authres reads it, whatever strangers write.

use std::io::Write;
use std::process::{Command, Stdio};

use domain::base::iana::Rcode;

use super::servers::NameServer;
use crate::harness::{Config, Model, Server, deb};

/// Prints the name of the server, and method, result and properties of each entry.
const READ: &str = "
import sys, authres
text = sys.stdin.buffer.read().decode('utf-8')
found = authres.all_features().parse(text)
print(found.authserv_id)
for result in found.results:
    print(result.method, result.result, *[f'{p.type}.{p.name}={p.value}' for p in result.properties])
";

/// What authres reads in a field; panics where it does not know it for one.
fn read(field: &str) -> Vec<String> {
    // Debian's, whichever other one is first in $PATH.
    let mut command = Command::new("/usr/bin/python3");
    let command = command.args(["-c", READ]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = command.stderr(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(field.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{field:?}: {why}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The Authentication-Results of a message that a stranger brings.
fn field(hello: &str, sender: &str, header: &str) -> String {
    let server = NameServer::new(|asked| vec![asked.reply(Rcode::NXDOMAIN, |_| {})]);
    let config = Config::new()
        .set(
            "plugins",
            "fcrdns\nsender_permitted_from\ndkim\ndmarc\narc\nrcpt_ok\n\
             queue/maildir {work}/Maildir",
        )
        .set("proxy_from", "127.0.0.1")
        .set("dns_servers", &server.address.to_string());
    let daemon = Server::start(&config, Model::Prefork);
    let mut client = daemon.connect();
    client.send_raw(b"PROXY TCP6 2001:db8::7 2001:db8::25 40000 25\r\n");
    client.expect("220");
    client.ask(&format!("EHLO {hello}"), "250");
    client.ask(&format!("MAIL FROM:<{sender}>"), "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(format!("{header}\r\nHello\r\n.\r\n").as_bytes());
    client.expect("250");
    client.quit();
    daemon.stop().unwrap();
    let mail = String::from_utf8(config.take_mails().remove(0)).unwrap().replace("\r\n", "\n");
    let (_, field) = mail.split_once("\nAuthentication-Results:").unwrap();
    let mut lines = field.split_inclusive('\n');
    let mut text = format!("Authentication-Results:{}", lines.next().unwrap());
    lines.take_while(|line| line.starts_with(['\t', ' '])).for_each(|line| text += line);
    assert!(text.lines().all(|line| line.len() < 998), "{text}");
    text.trim_end().replace('\n', "\r\n")
}

#[test]
fn what_is_written_is_read_whole() {
    if !deb::need("python3-authres") {
        return;
    }
    let plain = read(&field("mx.x.test", "a@x.test", "From: a@x.test\r\n"));
    assert_eq!(plain[0], "mail.test");
    let entries: Vec<&str> = plain[1..].iter().map(String::as_str).collect();
    assert_eq!(
        entries,
        [
            "auth none",
            "iprev permerror policy.iprev=2001:db8::7",
            "spf none smtp.helo=mx.x.test",
            "spf none smtp.mailfrom=x.test",
            "dkim none",
            "dmarc none header.from=x.test",
            "arc none"
        ]
    );
    // Ten signatures that say what they like, and a chain that does.
    let long = "x".repeat(300);
    let odd = ["a;b", "\"; spf=pass (", "\\\\", "a@b@c", "()", "=", "x y", "\u{fc}", "..", &long];
    let mut header = String::from("From: \"; dmarc=pass\" <a@x.test>\r\n");
    for text in odd {
        header += &format!(
            "DKIM-Signature: v=1; a=rsa-sha256; d=x.test; s=s1; i={text}@x.test;\r\n\
             \th=from; bh=AAAA; b=/+AA; q={text}; c={text}\r\n"
        );
    }
    header += "ARC-Seal: i=\"; spf=pass; cv=none\r\n";
    let hostile = read(&field("[IPv6:2001:db8::7]", "\"; dkim=pass\"@x.test", &header));
    let methods = |of: &str| hostile.iter().filter(|line| line.starts_with(of)).count();
    assert_eq!(hostile[0], "mail.test");
    assert_eq!(methods("dkim "), 10, "{hostile:?}");
    assert_eq!(methods("spf ") + methods("arc fail") + methods("dmarc none"), 4, "{hostile:?}");
    assert_eq!(hostile.len(), 17, "{hostile:?}");
    assert!(!hostile.iter().any(|line| line.contains(" pass ")), "{hostile:?}");
}
