//! Answers from a table, for tests.

use std::collections::HashMap;

use super::{Answer, Dns, Kind, Question, Record, Tlsa};

/// Answers that are known beforehand.
#[derive(Debug, Clone, Default)]
pub struct Table(HashMap<Question, Answer>);

impl Table {
    /// Reads lines `NAME KIND VALUE`: `example.com MX 10 mx.example.com`.  The value `failed` is an
    /// answer that nobody can give; names that have no line do not exist.
    ///
    /// ```
    /// use qpsmtpd::dns::{Dns, Kind, Question, Table};
    ///
    /// let table = Table::new("example.com A 192.0.2.1\nexample.net TXT failed");
    /// assert_eq!(table.ask_one(Question::new("example.com", Kind::A)).addresses().count(), 1);
    /// ```
    ///
    /// # Panics
    /// A line is none of these.
    pub fn new(text: &str) -> Table {
        let mut answers = HashMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some((question, record)) = parse(line) else { panic!("no record: {line}") };
            let Some(record) = record else {
                answers.insert(question, Answer::Failed("no answer in time".into()));
                continue;
            };
            let known = answers.entry(question).or_insert_with(|| Answer::found(Vec::new()));
            if let Answer::Found { records, .. } = known {
                records.push(record);
            }
        }
        Table(answers)
    }

    /// The same with that answer to a question.
    #[must_use]
    pub fn with(mut self, question: Question, answer: Answer) -> Table {
        self.0.insert(question, answer);
        self
    }

    /// The same, as a trusted server says it that has found all of it signed (RFC 4035 3.2.3).
    #[must_use]
    pub fn signed(mut self) -> Table {
        for answer in self.0.values_mut() {
            if let Answer::Found { authentic, .. } = answer {
                *authentic = true;
            }
        }
        self
    }
}

impl Dns for Table {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        let exists = |question: &Question| self.0.keys().any(|own| own.name() == question.name());
        let answer = |question: &Question| match self.0.get(question) {
            Some(answer) => answer.clone(),
            None if exists(question) => Answer::NoData,
            None => Answer::Nothing,
        };
        questions.iter().map(answer).collect()
    }
}

/// A line: the question, and a record; None for an answer that nobody can give.
fn parse(line: &str) -> Option<(Question, Option<Record>)> {
    let (name, rest) = line.split_once(' ')?;
    let (kind, value) = rest.split_once(' ')?;
    let kind = kind_of(kind)?;
    let record = if value == "failed" { None } else { Some(record_of(kind, value)?) };
    Some((Question::new(name, kind), record))
}

fn kind_of(word: &str) -> Option<Kind> {
    Some(match word {
        "A" => Kind::A,
        "AAAA" => Kind::Aaaa,
        "MX" => Kind::Mx,
        "TXT" => Kind::Txt,
        "PTR" => Kind::Ptr,
        "NS" => Kind::Ns,
        "TLSA" => Kind::Tlsa,
        _ => return None,
    })
}

fn record_of(kind: Kind, value: &str) -> Option<Record> {
    Some(match kind {
        Kind::A => Record::A(value.parse().ok()?),
        Kind::Aaaa => Record::Aaaa(value.parse().ok()?),
        Kind::Txt => Record::Txt(value.into()),
        Kind::Ptr => Record::Ptr(value.into()),
        Kind::Ns => Record::Ns(value.into()),
        Kind::Tlsa => Record::Tlsa(tlsa_of(value)?),
        Kind::Mx => {
            let (preference, name) = value.split_once(' ')?;
            Record::Mx(preference.parse().ok()?, name.trim_end_matches('.').into())
        }
    })
}

/// `3 1 1 00ff`: three numbers, and hexadecimal digits.
fn tlsa_of(value: &str) -> Option<Tlsa> {
    let words: Vec<&str> = value.split(' ').collect();
    let [usage, selector, matching, digits] = words[..] else { return None };
    let octet = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    Some(Tlsa {
        usage: usage.parse().ok()?,
        selector: selector.parse().ok()?,
        matching: matching.parse().ok()?,
        data: (0..digits.len()).step_by(2).map(octet).collect::<Option<_>>()?,
    })
}
