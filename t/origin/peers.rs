//! Signatures of dkimpy, libopendkim and Mail::DKIM, and what they make of ours: over messages made at
//! random, half of which are changed after they were signed, all say the same.
//!
//! `DKIM_MESSAGES=2000 cargo test --test t peers` compares more of them, and 20 MB once.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine};
use qpsmtpd::dns::{Answer, Record, Table};
use qpsmtpd::origin::dkim::{Outcome, SecretKey, Signing, TextHash, Verifier, sign};

use crate::chunks::numbers;
use crate::harness::{deb, say};

const DOMAIN: &str = "example.com";

/// How many messages each signs, unless the environment says otherwise.
const USUAL: usize = 60;

/// The program of each, and its text.
const PEERS: [(&str, &str, &str); 3] = [
    ("dkimpy", "/usr/bin/python3", include_str!("peers/dkimpy.py")),
    ("opendkim", "/usr/bin/python3", include_str!("peers/opendkim.py")),
    ("Mail::DKIM", "/usr/bin/perl", include_str!("peers/mail_dkim.pl")),
];

/// The example of RFC 8463 A.2: as PKCS #8, and its seed alone.
const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const ED25519_RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// The secret key of a selector, which is the kind of key, and its record.
struct Key {
    selector: &'static str,
    secret: SecretKey,
    pem: String,
    record: String,
}

impl Key {
    fn ed25519() -> Key {
        let der = BASE64_STANDARD.decode(ED25519).unwrap();
        Key {
            selector: "ed25519",
            secret: SecretKey::from_der(&der).unwrap(),
            pem: format!("-----BEGIN PRIVATE KEY-----\n{ED25519}\n-----END PRIVATE KEY-----\n"),
            record: ED25519_RECORD.into(),
        }
    }

    fn rsa() -> Key {
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let path = path.to_str().unwrap();
        openssl(&["genrsa", "-traditional", "-out", path, "2048"]);
        let public = openssl(&["rsa", "-in", path, "-pubout"]);
        let inner =
            |pem: &str| pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        let pem = fs::read_to_string(path).unwrap();
        let der = BASE64_STANDARD.decode(inner(&pem)).unwrap();
        let record = format!("v=DKIM1; k=rsa; p={}", inner(&public));
        Key { selector: "rsa", secret: SecretKey::from_der(&der).unwrap(), pem, record }
    }
}

/// A message at random: odd fields, folds, blanks and ends.
fn message(number: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let mut fields: Vec<Vec<u8>> = vec![
        b"From: A <a@example.com>\r\n".to_vec(),
        b"To: b@example.org,\r\n\tc@example.org\r\n".to_vec(),
    ];
    const FIELDS: &[&[u8]] = &[
        b"Subject: plain\r\n",
        b"SUBJECT:no blank\r\n",
        b"Subject :  blank before the colon\r\n",
        b"Subject: folded\r\n  here \r\n\tand there\t \r\n",
        b"Subject:\r\n folded at once\r\n",
        b"Subject: 8-bit \xe4\xf6\xfc \xc3\xa4\r\n",
        b"Subject:\r\n",
        b"Subject: \t \r\n",
        b"Date: Sat, 28 Nov 2026 10:00:00 +0000\r\n",
        b"Message-ID: <1@example.com>\r\n",
        b"Received: from a by b; Sat, 28 Nov 2026 10:00:00 +0000\r\n",
        b"X-Odd!#$%&'*+-^_`{|}~: any name\r\n",
        b"X-Tabs:\ta\tb  \t c\r\n",
        b"Cc: \"x; y\" <d@example.org> (comment\r\n with a fold)\r\n",
        b"MIME-Version: 1.0\r\n",
        b"Content-Type: text/plain; charset=iso-8859-1\r\n",
        b"Reply-To: a@example.com\r\nReply-To: b@example.com\r\n",
        b"References: <1@example.com>\r\n <2@example.com>\r\n\t<3@example.com>\r\n",
    ];
    for _ in 0..number(7) {
        fields.push(FIELDS[number(FIELDS.len())].to_vec());
    }
    while !fields.is_empty() {
        let field = fields.remove(number(fields.len()));
        out.extend_from_slice(&field);
    }
    out.extend_from_slice(b"\r\n");
    const LINES: &[&[u8]] = &[
        b"",
        b" ",
        b"\t",
        b" \t ",
        b"text",
        b"text ",
        b" text",
        b"a  b\tc \t",
        b"\xe4\xf6\xfc",
        b".",
        b"..",
        b"From x",
        b"From: b@example.com",
        b"-- ",
        b"=20",
        b"\x01\x7f",
        b"a\x0bb\x0c",
    ];
    for _ in 0..number(9) {
        out.extend_from_slice(LINES[number(LINES.len())]);
        out.extend_from_slice(b"\r\n");
    }
    for _ in 0..number(4) {
        out.extend_from_slice([&b"\r\n"[..], b" \r\n", b"\t\r\n"][number(3)]);
    }
    if number(4) == 0 {
        out.extend_from_slice(&[b'x'; 900]);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A message that somebody changed on the way, in ways that count in one form and not in another.
fn changed(mut message: Vec<u8>, number: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let start = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    match number(8) {
        0 => message.extend_from_slice(b"\r\n"),
        1 => message.extend_from_slice(b" \r\n"),
        2 => message.extend_from_slice(b"x\r\n"),
        3 => drop(message.splice(..0, *b"X-New: y\r\n")),
        4 => drop(message.splice(..0, *b"Subject: new\r\n")),
        5 => {
            // A blank at the end of a line of the body.
            let body = &message[start..];
            let ends = body.windows(2).enumerate().filter(|(_, two)| two == b"\r\n");
            let ends: Vec<usize> = ends.map(|(at, _)| start + at).collect();
            if !ends.is_empty() {
                message.insert(ends[number(ends.len())], b' ');
            }
        }
        6 => {
            let at = message.windows(5).position(|five| five == b"\r\nTo:").unwrap();
            message.splice(at..at + 5, *b"\r\ntO:");
        }
        _ => {
            let at = message.windows(7).position(|seven| seven == b"\r\nFrom:").unwrap();
            message.splice(at..at + 7, *b"\r\nFrom:\r\n ");
        }
    }
    message
}

/// The fields of a message, and its body.
fn split(message: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (head, body) = (&message[..end + 2], &message[end + 4..]);
    let mut fields: Vec<&[u8]> = Vec::new();
    let mut start = 0;
    for at in 2..=head.len() {
        let is_end = at == head.len() || !b" \t".contains(&head[at]);
        if head[..at].ends_with(b"\r\n") && is_end && at > start {
            fields.push(&head[start..at]);
            start = at;
        }
    }
    (fields, body)
}

fn signed_by_us(key: &Key, message: &[u8]) -> Vec<u8> {
    let (fields, body) = split(message);
    let mut hash = TextHash::default();
    hash.update(body);
    let signing = Signing { domain: DOMAIN, selector: key.selector, now: 1_700_000_000 };
    let value = sign(&key.secret, signing, &fields, &hash.finish()).unwrap();
    [format!("DKIM-Signature: {value}\r\n").as_bytes(), message].concat()
}

fn verified_by_us(key: &Key, message: &[u8]) -> String {
    let (fields, body) = split(message);
    let mut verifier = Verifier::new(fields);
    let mut table = Table::default();
    for question in verifier.questions() {
        let answer = Answer::found(vec![Record::Txt(key.record.clone().into_bytes())]);
        table = table.with(question, answer);
    }
    // In pieces, as it comes.
    body.chunks(7919).for_each(|piece| verifier.body(piece));
    let finding = verifier.finish(&table, 1_800_000_000).remove(0);
    match finding.outcome {
        Outcome::Pass => "pass".into(),
        Outcome::Fail => "fail".into(),
        other => format!("error {other:?} {}", finding.reason),
    }
}

/// What a peer says of each file with that ending in the folder.
fn ask(peer: usize, what: &str, folder: &Path, key: &Key) -> HashMap<String, String> {
    let (name, program, text) = PEERS[peer];
    let script = folder.join(if program.ends_with("perl") { "run.pl" } else { "run.py" });
    fs::write(&script, text).unwrap();
    fs::write(folder.join("record"), &key.record).unwrap();
    let keys = format!("{}._domainkey.{DOMAIN} {}\n", key.selector, key.record);
    fs::write(folder.join("keys"), keys).unwrap();
    fs::write(folder.join(format!("{}.pem", key.selector)), &key.pem).unwrap();
    let seed = BASE64_STANDARD.encode(&BASE64_STANDARD.decode(ED25519).unwrap()[16..]);
    let own = if key.selector == "rsa" { key.pem.clone() } else { seed };
    fs::write(folder.join(format!("{}.dkimpy", key.selector)), own).unwrap();
    let mut command = Command::new(program);
    command.arg(script).arg(what).arg(folder).arg(DOMAIN).arg(key.selector);
    let output = command.output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {why}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = said.lines().filter_map(|line| line.split_once(' '));
    rows.map(|(file, said)| (file.to_owned(), said.to_owned())).collect()
}

/// Why a peer may see it otherwise, by the RFCs; None: it may not.
fn explained(peer: &str, _message: &[u8], _ours: &str, theirs: &str) -> Option<&'static str> {
    match peer {
        "dkimpy" if theirs.contains("Unexpected characters in RFC822 header") => {
            Some("refused by dkimpy for a blank before the colon (RFC 5322 4.5, RFC 6376 3.4.2)")
        }
        _ => None,
    }
}

#[test]
fn peers_say_the_same() {
    let packages =
        ["python3-dkim", "python3-nacl", "libopendkim11", "libmail-dkim-perl", "openssl"];
    if !packages.iter().all(|package| deb::need(package)) {
        return;
    }
    let count = std::env::var("DKIM_MESSAGES").map_or(USUAL, |count| count.parse().unwrap());
    let mut number = numbers(17);
    let (mut compared, mut disagree) = (BTreeMap::new(), Vec::new());
    for (key, signers) in [(Key::rsa(), &[3, 0, 1, 2][..]), (Key::ed25519(), &[3, 0])] {
        for &signer in signers {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path();
            for at in 0..count {
                let mut message = message(&mut number);
                if at == 0 && count > USUAL {
                    message.extend(b"twenty megabytes \r\n".repeat(1_100_000));
                }
                let name = format!("{at:05}");
                match signer {
                    3 => {
                        let signed = signed_by_us(&key, &message);
                        fs::write(folder.join(format!("{name}.signed")), signed).unwrap();
                    }
                    _ => fs::write(folder.join(format!("{name}.sign")), message).unwrap(),
                }
            }
            if signer < 3 {
                let said = ask(signer, "sign", folder, &key);
                let signed = said.values().filter(|said| *said == "signed").count();
                assert!(signed * 2 > count, "{}: {said:?}", PEERS[signer].0);
            }
            let mut ours = HashMap::new();
            let mut messages = HashMap::new();
            for at in 0..count {
                let name = format!("{at:05}");
                let Ok(mut signed) = fs::read(folder.join(format!("{name}.signed"))) else {
                    continue;
                };
                if number(2) == 0 {
                    signed = changed(signed, &mut number);
                }
                fs::write(folder.join(format!("{name}.verify")), &signed).unwrap();
                ours.insert(name.clone(), verified_by_us(&key, &signed));
                messages.insert(name, signed);
            }
            let by = PEERS.get(signer).map_or("us", |peer| peer.0);
            for (peer, (peer_name, ..)) in PEERS.iter().enumerate() {
                // Mail::DKIM of Debian 12 knows no other keys.
                if key.selector == "ed25519" && *peer_name == "Mail::DKIM" {
                    continue;
                }
                let theirs = ask(peer, "verify", folder, &key);
                for (name, ours) in &ours {
                    let theirs = &theirs[name];
                    let same = ours.split(' ').next() == theirs.split(' ').next();
                    let why = match same {
                        true => Some("the same"),
                        false => explained(peer_name, &messages[name], ours, theirs),
                    };
                    let cell = (key.selector, by, *peer_name, why.unwrap_or("?"));
                    *compared.entry(cell).or_insert(0) += 1;
                    if why.is_none() {
                        let text = messages[name][..messages[name].len().min(9000)].escape_ascii();
                        disagree.push(format!("{by}, {peer_name}: {ours} / {theirs}: {text}"));
                    }
                }
            }
        }
    }
    for ((key, by, peer, why), count) in compared {
        say(&format!("{key}, signed by {by}, verified by {peer}: {count} {why}"));
    }
    disagree.sort_by_key(String::len);
    let (all, few) = (disagree.len(), disagree.into_iter().take(12).collect::<Vec<_>>());
    assert!(few.is_empty(), "{all} times not the same:\n{}", few.join("\n\n"));
}
