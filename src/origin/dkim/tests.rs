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
