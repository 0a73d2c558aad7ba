//! A filter's verdicts as ours.

use crate::hook::{Code, Verdict};

use super::packet::Answer;

/// What a filter has decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It wants to hear no more.
    Accept,
    /// The client is told that the message was taken, and it is thrown away.
    Discard,
    /// It refuses.
    Refuse(Verdict),
}

/// What an answer decides; None: it decides nothing.
///
/// # Errors
/// The filter says that it failed, or its reply is none.
pub(crate) fn ruling(answer: Answer) -> Result<Option<Ruling>, String> {
    let refuse = |code, reply, text: &'static str| {
        Ok(Some(Ruling::Refuse(Verdict::new(code, text).with_reply(reply))))
    };
    match answer {
        Answer::Accept => Ok(Some(Ruling::Accept)),
        Answer::Discard => Ok(Some(Ruling::Discard)),
        Answer::Reject => refuse(Code::Deny, 550, "Command rejected (#5.7.1)"),
        Answer::Tempfail => {
            refuse(Code::DenySoft, 451, "Service unavailable - try again later (#4.7.1)")
        }
        Answer::Shutdown => {
            refuse(Code::DenySoftDisconnect, 421, "Server closing connection (#4.7.0)")
        }
        Answer::Reply(text) => match reply(&text) {
            Some(verdict) => Ok(Some(Ruling::Refuse(verdict))),
            None => Err(format!("not a reply: {:.100}", text.escape_ascii().to_string())),
        },
        Answer::ConnectionFailed => Err("the filter says that it failed (CONN_FAIL)".into()),
        Answer::Continue | Answer::Skip | Answer::Progress | Answer::Change(_) => Ok(None),
    }
}

/// A reply such as `550 5.7.1 text`, also in several lines with the code and the status in each;
/// None: it is none that refuses.
fn reply(octets: &[u8]) -> Option<Verdict> {
    let text = without_percent(&String::from_utf8_lossy(octets));
    let code: u16 =
        text.get(..3).filter(|code| code.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    let verdict = match code {
        421 => Code::DenySoftDisconnect,
        521 => Code::DenyDisconnect,
        400..500 => Code::DenySoft,
        500..600 => Code::Deny,
        _ => return None,
    };
    let (mut lines, mut status) = (vec![], None);
    for line in text.lines() {
        let rest = line.strip_prefix(&text[..3]).unwrap_or(line);
        let rest = rest.strip_prefix([' ', '-']).unwrap_or(rest);
        let (own, words) = split_status(rest, code);
        status = status.or(own);
        lines.push(words.trim_end().to_owned());
    }
    let mut text = lines.join("\n");
    if let Some(status) = status.filter(|_| !text.trim().is_empty()) {
        text += &format!(" (#{status})");
    }
    Some(Verdict::new(verdict, text).with_reply(code))
}

/// The status before a text, if it is one of the code's class, and the text.
fn split_status(text: &str, code: u16) -> (Option<String>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut numbers = word.split('.');
    let is_class = numbers.next().is_some_and(|class| class == (code / 100).to_string());
    let rest_of_it: Vec<&str> = numbers.collect();
    let is_number = |part: &&str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit())
    };
    match is_class && rest_of_it.len() == 2 && rest_of_it.iter().all(is_number) {
        true => (Some(word.to_owned()), rest),
        false => (None, text),
    }
}

/// The text without the sign before each percent sign: to Sendmail a reply is a pattern, so that filters
/// write two for one.
fn without_percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken_apart() {
        for (text, code, reply, want) in [
            ("550 5.7.1 no", Code::Deny, 550, "no (#5.7.1)"),
            ("451 4.7.1 100%% later", Code::DenySoft, 451, "100% later (#4.7.1)"),
            (
                "554-5.6.0 one\r\n554-5.6.0 two\r\n554 5.6.0 three",
                Code::Deny,
                554,
                "one\ntwo\nthree (#5.6.0)",
            ),
            ("550 no status", Code::Deny, 550, "no status"),
            ("550 4.7.1 another class", Code::Deny, 550, "4.7.1 another class"),
            ("421 4.7.0 bye", Code::DenySoftDisconnect, 421, "bye (#4.7.0)"),
            ("521 5.7.0 bye", Code::DenyDisconnect, 521, "bye (#5.7.0)"),
            ("550", Code::Deny, 550, ""),
            ("550 5.7.1", Code::Deny, 550, ""),
        ] {
            let verdict = super::reply(text.as_bytes()).unwrap();
            assert_eq!(verdict, Verdict::new(code, want).with_reply(reply), "{text}");
        }
        for text in ["", "250 2.0.0 ok", "55", "abc no", "\u{e9}50 no", "650 x"] {
            assert!(super::reply(text.as_bytes()).is_none(), "{text}");
            assert!(ruling(Answer::Reply(text.into())).is_err());
        }
    }
}
