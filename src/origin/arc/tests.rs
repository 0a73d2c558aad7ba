//! The public suite for RFC 8617.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use saphyr::{LoadableYamlNode, Yaml};

use super::*;
use crate::dns::Record;
use crate::origin::say;

const SUITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/suites/arc");

struct Keys(HashMap<String, String>);

impl Dns for Keys {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        let answer = |question: &Question| match self.0.get(question.name()) {
            Some(text) => Answer::found(vec![Record::Txt(text.clone().into_bytes())]),
            None => Answer::Nothing,
        };
        questions.iter().map(answer).collect()
    }
}

fn text<'a>(yaml: &'a Yaml<'_>, key: &str) -> &'a str {
    yaml.as_mapping_get(key).and_then(|value| value.as_str()).unwrap_or("")
}

#[test]
fn the_validation_suite() {
    let Ok(suite) = std::fs::read_to_string(format!("{SUITE}/validate.yml")) else {
        return say("left out: the suite of RFC 8617 is not there");
    };
    let (mut cases, mut wrong) = (0, Vec::new());
    for scenario in Yaml::load_from_str(&suite).unwrap() {
        let records = scenario.as_mapping_get("txt-records").and_then(|r| r.as_mapping());
        let keys = records.into_iter().flatten().map(|(name, value)| {
            (name.as_str().unwrap().to_lowercase(), value.as_str().unwrap().to_owned())
        });
        let keys = Keys(keys.collect());
        for (name, test) in scenario.as_mapping_get("tests").unwrap().as_mapping().unwrap() {
            let wanted = text(test, "cv").trim().to_lowercase();
            if wanted.is_empty() {
                continue;
            }
            cases += 1;
            let message = text(test, "message").replace('\n', "\r\n");
            let (fields, body) = dkim::tests::split(message.as_bytes());
            let mut verifier = Verifier::new(fields);
            verifier.body(body);
            let finding = verifier.finish(&keys);
            if finding.outcome.name() != wanted {
                wrong.push(format!("{}: {finding:?}, wanted {wanted}", name.as_str().unwrap()));
            }
        }
    }
    say(&format!("{} of {cases} right", cases - wrong.len()));
    assert!(wrong.is_empty(), "{} of {cases} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_seal_of_a_broken_chain_covers_its_own_set_alone() {
    // The example of RFC 8463 A.2, as PKCS #8.
    let der = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
    let key = dkim::SecretKey::from_der(&STANDARD.decode(der).unwrap()).unwrap();
    let record = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let record = Answer::found(vec![Record::Txt(record.into())]);
    let sealed = |before: &[&str]| {
        let mut fields: Vec<&[u8]> = before.iter().map(|field| field.as_bytes()).collect();
        fields.push(b"From: a@example.net\r\n");
        let finding = Verifier::new(fields.clone()).finish(&Keys(HashMap::new()));
        let sealing = Sealing {
            domain: "example.com",
            selector: "ed",
            results: "mx.test; arc=fail",
            instance: finding.next?,
            state: finding.outcome,
            now: 1,
        };
        Some((finding.outcome, seal(&key, sealing, &fields, &[0; 32]).unwrap()))
    };
    // The second set is not whole.
    let (state, [seal, message, results]) =
        sealed(&["ARC-Seal: i=2; a=rsa-sha256; cv=pass; d=x.test; s=x; b=AAAA\r\n"]).unwrap();
    assert_eq!(state, Outcome::Fail);
    assert!(seal.starts_with("ARC-Seal: i=3; a=ed25519-sha256; cv=fail;"), "{seal}");
    let own = [results.as_bytes(), message.as_bytes()].into_iter();
    let octets = super::seal::sealed_octets(own, seal.as_bytes());
    let signature = Tags::parse(dkim::value_of(seal.as_bytes()).unwrap()).unwrap();
    let signature = signature.octets("b").unwrap();
    verify("", Some(&record), key.algorithm(), &octets, &signature).unwrap();
    // Nobody adds to it, nor to the highest number.
    assert!(sealed(&[&seal, &message, &results]).is_none());
    assert!(sealed(&["ARC-Seal: i=50; cv=pass\r\n"]).is_none());
    assert!(sealed(&["ARC-Seal: i=51; cv=pass\r\n"]).is_some());
}
