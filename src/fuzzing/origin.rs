//! For the fuzz targets: what strangers write into the DNS and into messages about who sent them.

use std::cell::Cell;

use super::authentication_results;
use super::input::halves;
use crate::dns::{Answer, Dns, Kind, Question, Record, Table, read_any};
use crate::mail::{Header, text};
use crate::origin::dkim::{MOST_SIGNATURES, Verifier};
use crate::origin::{arc, dkim, dmarc, spf};
use crate::state::results::{Results, Spf, folded};

/// More questions than SPF may ask in two checks: ten terms, with ten names each (RFC 7208 4.6.4).
const MOST_QUESTIONS: u32 = 500;

/// Answers from a table, and counts.
struct Counted(Table, Cell<u32>);

impl Dns for Counted {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        self.1.set(self.1.get() + u32::try_from(questions.len()).unwrap_or(u32::MAX));
        self.0.ask(questions)
    }
}

fn texts<'a>(name: &str, texts: impl Iterator<Item = &'a [u8]>) -> Table {
    let records: Vec<Record> = texts.map(|text| Record::Txt(text.to_vec())).collect();
    Table::default().with(Question::new(name, Kind::Txt), Answer::found(records))
}

/// What is written of findings is the value of Authentication-Results, and every finding is read in
/// it again.
fn write(results: &Results) {
    let texts = results.texts();
    let all = [vec!["mx.test".to_owned()], texts.clone()].concat();
    let value = folded(&all);
    assert!(value.lines().all(|line| line.chars().count() < 998), "{value:?}");
    assert!(!value.contains(|c: char| c.is_control() && !"\n\t".contains(c)), "{value:?}");
    let methods = authentication_results::methods(&value);
    let methods = methods.unwrap_or_else(|| panic!("no Authentication-Results: {value:?}"));
    let wanted = texts.iter().map(|text| text.split(' ').next().unwrap_or_default());
    assert!(methods.iter().map(String::as_str).eq(wanted), "{methods:?} of {value:?}");
}

/// Strings of strangers, separated by line ends: where they are written, nothing else can be read.
pub(super) fn results(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut words = text.split('\n').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let explained =
        |reason| spf::Finding { outcome: spf::Outcome::Fail, explanation: None, reason };
    let signature = dkim::Finding {
        outcome: dkim::Outcome::Fail,
        domain: word(),
        selector: word(),
        identity: word(),
        algorithm: Some(dkim::Algorithm::RsaSha256),
        beginning: word(),
        reason: word(),
        testing: false,
    };
    write(&Results {
        spf: Some(Spf { domain: word(), finding: explained(word()) }),
        helo: Some(Spf { domain: word(), finding: explained(word()) }),
        dkim: Some(vec![signature.clone(), signature]),
        arc: Some(arc::Finding { reason: word(), ..arc::Finding::default() }),
        ..Results::default()
    });
}

/// An answer: it has records of the kind that was asked for, or none.
pub(super) fn dns(input: &[u8]) {
    for kind in [Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Ptr, Kind::Ns, Kind::Tlsa] {
        let answer = read_any(input, &Question::new("example.com", kind));
        let Some(Answer::Found { records, .. }) = answer else { continue };
        assert!(!records.is_empty());
        let is_right = |record: &Record| match record {
            Record::A(_) => kind == Kind::A,
            Record::Aaaa(_) => kind == Kind::Aaaa,
            Record::Mx(..) => kind == Kind::Mx,
            Record::Txt(_) => kind == Kind::Txt,
            Record::Ptr(_) => kind == Kind::Ptr,
            Record::Ns(_) => kind == Kind::Ns,
            Record::Tlsa(_) => kind == Kind::Tlsa,
        };
        assert!(records.iter().all(is_right), "{kind:?} {records:?}");
    }
}

/// Records of example.com, and behind an octet 255 of a.example.com: an end is found, the same each
/// time, and not too much is asked.
pub(super) fn spf(input: &[u8]) {
    let mut parts = input.split(|octet| *octet == 0xff);
    let own = parts.next().unwrap_or_default();
    let other: Vec<Record> = parts.map(|text| Record::Txt(text.to_vec())).collect();
    let mut table = texts("example.com", [own].into_iter());
    if !other.is_empty() {
        table = table.with(Question::new("a.example.com", Kind::Txt), Answer::found(other));
    }
    let dns = Counted(table, Cell::new(0));
    let query = spf::Query {
        ip: [192, 0, 2, 1].into(),
        helo: "mx.example.com",
        sender: "user+x@example.com",
        receiver: "mx.test",
        now: 0,
    };
    let finding = spf::check_sender(&dns, &query);
    assert_eq!(spf::check_sender(&dns, &query), finding);
    assert!(dns.1.get() < MOST_QUESTIONS, "{} questions", dns.1.get());
    let domain = String::from_utf8_lossy(own).into_owned();
    write(&Results { spf: Some(Spf { domain, finding }), ..Results::default() });
}

/// The value of a DKIM-Signature, and behind an octet 0 the record with its key.
pub(super) fn dkim(input: &[u8]) {
    let (value, key) = halves(input);
    let field = [b"DKIM-Signature: ", value, b"\r\n"].concat();
    let header = Header::parse(&[&field[..], b"From: a@example.com\r\nSubject: x\r\n"].concat());
    let mut verifier = Verifier::new(header.fields().collect());
    let questions = verifier.questions();
    verifier.body(b"Hello\r\n");
    let answer = Answer::found(vec![Record::Txt(key.to_vec())]);
    let table = questions
        .into_iter()
        .fold(Table::default(), |table, question| table.with(question, answer.clone()));
    let findings = verifier.finish(&table, 1_000_000_000);
    assert!(findings.len() <= MOST_SIGNATURES);
    write(&Results { dkim: Some(findings), ..Results::default() });
}

/// The value of From, and behind an octet 0 a record of its domain.
pub(super) fn dmarc(input: &[u8]) {
    let (from, record) = halves(input);
    let domains = dmarc::author_domains(&String::from_utf8_lossy(from));
    let evidence = dmarc::Evidence { spf: Some(("example.com", spf::Outcome::Pass)), dkim: &[] };
    let mut found = Vec::new();
    for domain in domains.iter().take(3) {
        let table = texts(&format!("_dmarc.{domain}"), [record].into_iter());
        found.push(dmarc::check(&table, domain, &evidence, dmarc::Discovery::Walk));
    }
    write(&Results { dmarc: found, ..Results::default() });
}

/// A message in parts: their text is not much longer than what it is made of.
pub(super) fn parts(input: &[u8]) {
    let end = input.windows(4).position(|four| four == b"\r\n\r\n");
    let (header, body) = input.split_at(end.map_or(input.len(), |at| at + 2));
    let found = text::texts(&Header::parse(header), body);
    // A part is found once, and an octet becomes at most two.
    let length: usize = found.iter().map(|part| part.text.len()).sum();
    assert!(length <= 2 * input.len(), "{length} of {}", input.len());
}
