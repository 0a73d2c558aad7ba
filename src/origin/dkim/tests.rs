//! Signatures of other programs.

use std::collections::HashMap;

use super::*;
use crate::dns::Record;
use crate::origin::say;

/// Mail::DKIM's corpus.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/suites/dkim");

struct Keys(HashMap<String, Answer>);

impl Dns for Keys {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        let answer =
            |question: &Question| self.0.get(question.name()).cloned().unwrap_or(Answer::Nothing);
        questions.iter().map(answer).collect()
    }
}

fn keys() -> Keys {
    let text = std::fs::read_to_string(format!("{CORPUS}/FAKE_DNS.dat")).unwrap();
    let mut keys = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.split_once(char::is_whitespace) else { continue };
        let answer = match value.trim() {
            "NXDOMAIN" => Answer::Nothing,
            error if error.starts_with('~') => Answer::Failed(error.into()),
            "\"\"" => Answer::found(vec![Record::Txt(Vec::new())]),
            text => Answer::found(vec![Record::Txt(text.into())]),
        };
        keys.insert(name.to_lowercase(), answer);
    }
    Keys(keys)
}

fn verify(message: &[u8], dns: &dyn Dns) -> Vec<Finding> {
    let (fields, body) = split(message);
    let mut verifier = Verifier::new(fields);
    verifier.body(body);
    verifier.finish(dns, 1_400_000_000)
}

/// A message as its fields and its body.
pub(in crate::origin) fn split(message: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut fields: Vec<&[u8]> = Vec::new();
    let mut at = 0;
    while at < message.len() {
        if message[at..].starts_with(b"\r\n") {
            return (fields, &message[at + 2..]);
        }
        let mut end = at;
        loop {
            end += message[end..]
                .iter()
                .position(|o| *o == b'\n')
                .map_or(message.len() - end, |n| n + 1);
            if end == message.len() || !b" \t".contains(&message[end]) {
                break;
            }
        }
        fields.push(&message[at..end]);
        at = end;
    }
    (fields, b"")
}

/// What comes of Mail::DKIM's corpus.  Most of it was signed with rsa-sha1, which proves nothing
/// since RFC 8301, or by drafts of RFC 4871 that had no `v=1`.
#[test]
fn the_corpus_of_mail_dkim() {
    let Ok(folder) = std::fs::read_dir(format!("{CORPUS}/corpus")) else {
        return say("left out: the corpus of Mail::DKIM is not there");
    };
    let dns = keys();
    let (mut passed, mut seen) = (Vec::new(), 0);
    for entry in folder {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let message = text.replace("\r\n", "\n").replace('\n', "\r\n");
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for finding in verify(message.as_bytes(), &dns) {
            seen += 1;
            if finding.outcome == Outcome::Pass {
                passed.push(name.clone());
            }
            let sha1 = message.contains("a=rsa-sha1");
            let expected = match name.as_str() {
                "badkey1_ed25519.txt" | "badkey2_ed25519.txt" | "badkey3_ed25519.txt" => {
                    Outcome::Fail
                }
                "badkey4_ed25519.txt" | "badkey5_ed25519.txt" | "badkey_11.txt" => {
                    Outcome::PermError
                }
                "goodkey_ed25519.txt" => Outcome::Pass,
                _ if sha1 && finding.outcome == Outcome::Policy => Outcome::Policy,
                _ => Outcome::Neutral,
            };
            assert_eq!(finding.outcome, expected, "{name}: {finding:?}");
        }
    }
    say(&format!("{seen} signatures looked at"));
    assert_eq!(passed, ["goodkey_ed25519.txt"]);
}

/// The example of RFC 8463 A.2.
const SEED: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

const FIELDS: &str = "From: a@example.com\r\nSubject: hi\r\nTo: b@example.org\r\n";
const BODY: &str = "Hello\r\n";

/// A field that signs these with any tags in front of `h=`.
fn signed(tags: &str, names: &str, fields: &str, body: &str) -> String {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD as BASE64;
    let key = SecretKey::from_der(&BASE64.decode(SEED).unwrap()).unwrap();
    let mut hash = BodyHash::new(Form::Simple, None);
    hash.update(body.as_bytes());
    let hash = BASE64.encode(hash.finish().0);
    let field = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; s=s; {tags}h={names}; bh={hash}; b=AAAA\r\n"
    );
    let all = format!("{field}{fields}\r\n");
    let (split, _) = split(all.as_bytes());
    let octets = Signature::parse(0, split[0]).unwrap().signed(&split);
    let value = BASE64.encode(key.sign(&octets).unwrap());
    format!("{}{value}\r\n", field.strip_suffix("AAAA\r\n").unwrap())
}

fn outcome_of(message: &str, records: &[&str]) -> (Outcome, String) {
    let records: Vec<Record> = records.iter().map(|text| Record::Txt((*text).into())).collect();
    let keys = HashMap::from([("s._domainkey.example.com".into(), Answer::found(records))]);
    let finding = verify(message.as_bytes(), &Keys(keys)).remove(0);
    (finding.outcome, finding.reason)
}

#[test]
fn forgeries() {
    let d = "d=example.com; ";
    let field = signed(d, "from:from:subject", FIELDS, BODY);
    let whole = format!("{field}{FIELDS}\r\n{BODY}");
    let is = |message: &str, wanted: Outcome| {
        let (outcome, why) = outcome_of(message, &[RECORD]);
        assert_eq!(outcome, wanted, "{why}: {message}");
    };
    is(&whole, Outcome::Pass);
    // Whatever is signed cannot be changed, taken away or doubled.
    is(&whole.replace("hi", "ho"), Outcome::Fail);
    is(&whole.replace("Subject: hi\r\n", ""), Outcome::Fail);
    is(&whole.replace("Subject", "Subject: new\r\nX"), Outcome::Fail);
    is(&whole.replace("To:", "From: evil@example.net\r\nTo:"), Outcome::Fail);
    is(&whole.replace("Hello", "Hello\0"), Outcome::Fail);
    is(&whole.replace("hi", "hi\0"), Outcome::Fail);
    is(&whole.replace("hi\r\n", "hi\r\r\n"), Outcome::Fail);
    // What is not signed may be anything.
    is(&whole.replace("b@example.org", "c@example.org"), Outcome::Pass);
    // Nor can the signature be turned to other ends.
    is(&whole.replace("d=example.com", "d=example.com; i=a@example.net"), Outcome::Neutral);
    is(&whole.replace("d=example.com", "d=example.com; i=a@notexample.com"), Outcome::Neutral);
    is(&whole.replace("d=example.com", "d=example.com; x=1"), Outcome::Policy);
    is(&whole.replace("v=1", "v=2"), Outcome::Neutral);
    is(&whole.replace("ed25519-sha256", "rsa-sha1"), Outcome::Policy);
    is(&whole.replace("ed25519-sha256", "rsa-sha256"), Outcome::PermError);
    is(&whole.replace("h=from", "l=5; h=from"), Outcome::Fail);
    is(&whole.replace("h=from:from:subject", "h=subject"), Outcome::Neutral);
    // Text behind what l= covers passes, and is reported (RFC 6376 8.2).
    let field = signed("d=example.com; l=7; ", "from", FIELDS, BODY);
    let (outcome, why) = outcome_of(&format!("{field}{FIELDS}\r\n{BODY}evil\r\n"), &[RECORD]);
    assert_eq!(
        (outcome, why.as_str()),
        (Outcome::Pass, "the last 6 octets of the body are not signed")
    );
    is(&format!("{field}{FIELDS}\r\nHell"), Outcome::Fail);
    // An A-label stands for its U-label, and no other letter looks like it (RFC 8616).
    assert_eq!(host("b\u{fc}cher.Example.").unwrap(), "xn--bcher-kva.example");
    assert_ne!(host("ex\u{430}mple.com").unwrap(), "example.com");
}

#[test]
fn keys_that_are_none() {
    let message = format!("{}{FIELDS}\r\n{BODY}", signed("d=example.com; ", "from", FIELDS, BODY));
    let is = |records: &[&str], wanted: Outcome| {
        let (outcome, why) = outcome_of(&message, records);
        assert_eq!(outcome, wanted, "{why}: {records:?}");
    };
    // Wildcards bring records of other kinds.
    is(&["v=spf1 -all", RECORD, "site-verification=x"], Outcome::Pass);
    is(&["v=spf1 -all"], Outcome::PermError);
    is(&["v=DMARC1; p=reject"], Outcome::PermError);
    is(&["site-verification=x"], Outcome::PermError);
    let change = |old: &str, new: &str| RECORD.replace(old, new);
    is(&[&change("v=DKIM1", "v=DKIM2")], Outcome::PermError);
    is(&[&change("k=ed25519", "k=rsa")], Outcome::PermError);
    is(&[&change("k=ed25519", "K=ed25519")], Outcome::PermError);
    is(&[&change("k=ed25519", "k=ed25519; h=sha1")], Outcome::PermError);
    is(&[&change("k=ed25519", "k=ed25519; s=tlsrpt")], Outcome::PermError);
    is(&[&change("k=ed25519", "k=ed25519; t=s")], Outcome::Pass);
    is(&[&change("p=11", "p=")], Outcome::PermError);
    is(&[&format!("v=DKIM1; k=ed25519; p={}", "A".repeat(60_000))], Outcome::PermError);
    is(&[&format!("{RECORD}; n={}", "x".repeat(60_000))], Outcome::Pass);
}

/// A header section as large as one may be, whose signatures name as many fields, has to be read once
/// for each signature, not once for each name: that would take minutes.
#[test]
fn many_fields_and_many_names_are_read_once() {
    let names = "x:".repeat(40_000) + "from";
    let field = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; s=s; d=example.com; h={names}; bh=AAAA; b=AAAA\r\n"
    );
    let tags = (0..100_000).map(|at| format!("x{at}=;")).collect::<String>();
    let fields = "x:\r\n".repeat(100_000);
    let message =
        format!("{}DKIM-Signature: {tags}\r\n{fields}{FIELDS}\r\n{BODY}", field.repeat(9));
    let findings = verify(message.as_bytes(), &Keys(HashMap::new()));
    assert_eq!(findings.len(), MOST_SIGNATURES);
    let (fields, _) = split(message.as_bytes());
    let signature = Signature::parse(0, fields[0]).unwrap();
    assert!(signature.signed(&fields).len() > 100_000);
}
