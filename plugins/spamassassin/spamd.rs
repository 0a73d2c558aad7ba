//! The protocol of spamd, SPAMC/1.4.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::Instant;

use super::wrong_answer;
use crate::net::{Endpoint, Wire};
use crate::state::Transaction;

/// The longest answer in octets: a header section.
const LONGEST: usize = 4 << 20;

/// What spamd says of a message.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) is_spam: bool,
    pub(super) score: f64,
    /// The score from which on it is spam.
    pub(super) required: f64,
    /// The words of X-Spam-Status, and is_spam.
    pub(super) words: BTreeMap<String, String>,
    /// The fields X-Spam-... in order.
    pub(super) fields: Vec<(String, String)>,
}

/// Asks about the message of the transaction.
///
/// # Errors
/// No connection, no answer until `until`, or one that is no score.
pub(super) fn ask(
    endpoint: &Endpoint,
    until: Instant,
    user: &str,
    transaction: &Transaction,
) -> io::Result<Answer> {
    let sender = transaction.sender().map_or_else(|| "<>".to_owned(), ToString::to_string);
    let envelope = format!("X-Envelope-From: {sender}\r\n");
    let length = envelope.len() as u64 + transaction.message_len();
    let mut wire = Wire::connect(endpoint, until)?;
    let mut out = BufWriter::with_capacity(1 << 16, &mut wire);
    write!(out, "HEADERS SPAMC/1.4\r\nContent-length: {length}\r\nUser: {user}\r\n\r\n")?;
    out.write_all(envelope.as_bytes())?;
    transaction.write_message(&mut out)?;
    out.flush()?;
    drop(out);
    let answer = wire.rest(LONGEST, until)?;
    read(&String::from_utf8_lossy(&answer))
}

/// Reads an answer: a line, lines about it, and the header section.
fn read(text: &str) -> io::Result<Answer> {
    let text = text.replace("\r\n", "\n");
    let first = text.lines().next().unwrap_or_default();
    if !first.contains("EX_OK") {
        return Err(wrong_answer(if first.is_empty() { "none at all" } else { first }));
    }
    let (about, header) = text.split_once("\n\n").ok_or_else(|| wrong_answer("it is not whole"))?;
    let mut fields: Vec<(String, String)> = vec![];
    let mut is_ours = false;
    for line in header.lines().take_while(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut().filter(|_| is_ours) {
                value.push('\n');
                value.push_str(line);
            }
            continue;
        }
        let field = line.split_once(':');
        let field = field.filter(|(name, _)| {
            name.split_at_checked(7).is_some_and(|(start, _)| start.eq_ignore_ascii_case("X-Spam-"))
        });
        is_ours = field.is_some();
        fields.extend(field.map(|(name, value)| (name.to_owned(), value.trim().to_owned())));
    }
    // Spam: True ; 15.2 / 5.0
    let spam = about.lines().find_map(|line| line.strip_prefix("Spam:"));
    let spam = spam.ok_or_else(|| wrong_answer("no score"))?;
    let wrong = || wrong_answer(spam.trim());
    let (verdict, scores) = spam.split_once(';').ok_or_else(wrong)?;
    let (score, required) = scores.split_once('/').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
    let is_spam = matches!(verdict.trim().to_ascii_lowercase().as_str(), "true" | "yes");
    let (score, required) = (number(score)?, number(required)?);
    let status = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("X-Spam-Status"));
    let words = status.map_or("", |(_, value)| value.as_str()).split_whitespace();
    let pairs = words.filter_map(|word| word.split_once('='));
    let mut words: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    words.insert("is_spam".into(), if is_spam { "Yes" } else { "No" }.into());
    words.entry("score".into()).or_insert_with(|| score.to_string());
    words.entry("required".into()).or_insert_with(|| required.to_string());
    Ok(Answer { is_spam, score, required, words, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = read(
            "SPAMD/1.1 0 EX_OK\r\nContent-length: 1\r\nSpam: True ; 15.2 / 5.0\r\n\r\n\
             Received: from x\r\n\tby y\r\nX-Spam-Flag: YES\r\n\
             X-Spam-Status: Yes, score=15.2 required=5.0 tests=A,\r\n\tB autolearn=spam\r\n\
             Subject: X-Spam-\r\n\tX-Spam-Fold: x\r\n\r\nX-Spam-Body: x\r\n",
        )
        .unwrap();
        assert_eq!((answer.is_spam, answer.score, answer.required), (true, 15.2, 5.0));
        let status = "Yes, score=15.2 required=5.0 tests=A,\n\tB autolearn=spam";
        let fields = [("X-Spam-Flag", "YES"), ("X-Spam-Status", status)];
        assert_eq!(answer.fields, fields.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(answer.words["autolearn"], "spam");
        assert_eq!(answer.words["is_spam"], "Yes");
        let bare = read("SPAMD/1.1 0 EX_OK\r\nSpam: False ; -0.1 / 5\r\n\r\n").unwrap();
        assert_eq!((bare.is_spam, bare.score, bare.fields.len()), (false, -0.1, 0));
        assert_eq!(bare.words["score"], "-0.1");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for (text, error) in [
            ("", "a wrong answer: none at all"),
            ("SPAMD/1.0 76 Bad header line\r\n", "a wrong answer: SPAMD/1.0 76 Bad header line"),
            ("SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.2 / 5.0\r\n", "a wrong answer: it is not whole"),
            ("SPAMD/1.1 0 EX_OK\r\n\r\n", "a wrong answer: no score"),
            ("SPAMD/1.1 0 EX_OK\r\nSpam: True ; x / 5\r\n\r\n", "a wrong answer: True ; x / 5"),
            ("SPAMD/1.1 0 EX_OK\r\nSpam: True\r\n\r\n", "a wrong answer: True"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), error);
        }
    }
}
