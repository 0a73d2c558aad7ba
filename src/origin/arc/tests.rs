//! The public suite for RFC 8617.

use std::collections::HashMap;

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
