//! The public suite for RFC 7208.

use std::collections::HashMap;

use saphyr::{LoadableYamlNode, Yaml};

use super::*;
use crate::dns::{Answer, Kind, Question, Record};
use crate::origin::say;

/// Where the suite may lie; Debian's package python3-spf has it.
const PLACES: &[&str] = &[
    concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/suites/spf/rfc7208-tests.yml"),
    "/usr/share/doc/python3-spf/rfc7208-tests.yml",
];

/// The zone data of one scenario.
struct Table(HashMap<Question, Answer>);

impl Dns for Table {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        questions.iter().map(|question| self.answer(question, 0)).collect()
    }
}

impl Table {
    fn answer(&self, question: &Question, depth: u8) -> Answer {
        if let Some(answer) = self.0.get(question) {
            return answer.clone();
        }
        // A name of an alias stands under NS here, which SPF never asks for.
        if let Some(Answer::Found { records: alias, .. }) =
            self.0.get(&Question::new(question.name(), Kind::Ns))
            && let [Record::Ns(target)] = alias.as_slice()
            && depth < 5
        {
            return self.answer(&Question::new(target, question.kind()), depth + 1);
        }
        match self.0.keys().any(|known| known.name() == question.name()) {
            true => Answer::NoData,
            false => Answer::Nothing,
        }
    }
}

fn text_of(yaml: &Yaml<'_>) -> Vec<u8> {
    match yaml {
        Yaml::Sequence(parts) => parts.iter().flat_map(text_of).collect(),
        // YAML's characters stand for octets here.
        _ => yaml.as_str().unwrap_or_default().chars().map(|c| c as u8).collect(),
    }
}

fn table(zone: &Yaml<'_>) -> Table {
    let mut table: HashMap<Question, Answer> = HashMap::new();
    for (name, entries) in zone.as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        let entries = entries.as_sequence().unwrap();
        let has_txt = entries.iter().any(|entry| entry.as_mapping_get("TXT").is_some());
        for entry in entries {
            if entry.as_str() == Some("TIMEOUT") {
                for kind in [Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Ptr] {
                    let question = Question::new(name, kind);
                    table.entry(question).or_insert(Answer::Failed("timeout".into()));
                }
                continue;
            }
            for (kind, value) in entry.as_mapping().unwrap() {
                let text = || value.as_str().unwrap().to_owned();
                let timeout = value.as_str() == Some("TIMEOUT");
                let (kind, record) = match kind.as_str().unwrap() {
                    "SPF" if has_txt => continue,
                    "TXT" if value.as_str() == Some("NONE") => continue,
                    "TXT" | "SPF" => (Kind::Txt, Record::Txt(text_of(value))),
                    "A" => (Kind::A, Record::A(text().parse().unwrap())),
                    "AAAA" => (Kind::Aaaa, Record::Aaaa(text().parse().unwrap())),
                    "PTR" => (Kind::Ptr, Record::Ptr(text())),
                    "CNAME" => (Kind::Ns, Record::Ns(text())),
                    "MX" => {
                        let parts = value.as_sequence().unwrap();
                        let preference = parts[0].as_integer().unwrap() as u16;
                        (Kind::Mx, Record::Mx(preference, parts[1].as_str().unwrap().into()))
                    }
                    other => panic!("{other}"),
                };
                let question = Question::new(name, kind);
                if timeout {
                    table.insert(question, Answer::Failed("timeout".into()));
                } else if let Answer::Found { records, .. } =
                    table.entry(question).or_insert(Answer::found(Vec::new()))
                {
                    records.push(record);
                }
            }
        }
    }
    Table(table)
}

/// A record and an explanation as large as they may be, of macros with the longest values.
#[test]
fn macros_do_not_grow_without_end() {
    let macros = "%{s}%{l}%{h}%{o1r-.+}".repeat(2000);
    let dns = crate::dns::Table::new(&format!(
        "example.com TXT v=spf1 exists:{macros}.example.com -all \
         exp=why.example.com\nwhy.example.com TXT {macros}"
    ));
    let query = Query {
        ip: [192, 0, 2, 1].into(),
        helo: &"h".repeat(250),
        sender: &format!("{}@example.com", "a-.+".repeat(15)),
        receiver: "mx.test",
        now: 0,
    };
    let finding = check_sender(&dns, &query);
    assert_eq!(finding.outcome.name(), "fail", "{}", finding.reason);
    assert_eq!(finding.explanation, None);
    assert!(finding.reason.len() < 1000, "{} octets", finding.reason.len());
}

#[test]
fn the_suite_of_rfc_7208() {
    let Some(text) = PLACES.iter().find_map(|place| std::fs::read_to_string(place).ok()) else {
        return say("left out: the suite of RFC 7208 is not there");
    };
    let (mut cases, mut wrong) = (0, Vec::new());
    for scenario in Yaml::load_from_str(&text).unwrap() {
        let dns = table(scenario.as_mapping_get("zonedata").unwrap());
        for (name, test) in scenario.as_mapping_get("tests").unwrap().as_mapping().unwrap() {
            cases += 1;
            let field = |key: &str| {
                test.as_mapping_get(key).and_then(|v| v.as_str()).unwrap_or("").to_owned()
            };
            let ip = field("host");
            let (helo, sender) = (field("helo"), field("mailfrom"));
            let query = Query {
                ip: ip.parse().unwrap(),
                helo: &helo,
                sender: &sender,
                receiver: "receiver.example",
                now: 0,
            };
            let finding = check_sender(&dns, &query);
            let result = test.as_mapping_get("result").unwrap();
            let allowed = match result.as_sequence() {
                Some(any) => any.iter().any(|one| one.as_str() == Some(finding.outcome.name())),
                None => result.as_str() == Some(finding.outcome.name()),
            };
            let wanted = test.as_mapping_get("explanation").and_then(|v| v.as_str());
            let said = finding.explanation.as_deref().unwrap_or("DEFAULT");
            if !allowed || wanted.is_some_and(|wanted| wanted != said) {
                wrong.push(format!("{name:?}: {finding:?}, wanted {result:?} {wanted:?}"));
            }
        }
    }
    say(&format!("{} of {cases} right", cases - wrong.len()));
    assert!(wrong.is_empty(), "{} of {cases} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
