//! What was found out about who sent a message, and how it stands in Authentication-Results
//! (RFC 8601).

use crate::origin::{arc, dkim, dmarc, spf};

/// The longest line with several results; a value that strangers wrote has at most [`LONGEST`]
/// characters, so that a line with a single one is no longer than RFC 5322 2.1.1 allows.
const LINE: usize = 78;
const LONGEST: usize = 255;

/// Findings about a message.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// May the client send for the domain of the reverse-path?
    pub spf: Option<Spf>,
    /// May it use the name that it gave in HELO?
    pub helo: Option<Spf>,
    /// Who signed the message; empty: nobody did.
    pub dkim: Option<Vec<dkim::Finding>>,
    /// Is the message from its authors' domains?
    pub dmarc: Vec<dmarc::Finding>,
    /// What servers on the way found out.
    pub arc: Option<arc::Finding>,
}

/// What SPF says, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spf {
    /// The domain of the reverse-path, or the name in HELO.
    pub domain: String,
    /// What SPF says.
    pub finding: spf::Finding,
}

impl Results {
    /// The domain that SPF speaks of, and what it says, for DMARC: the reverse-path's, or that of
    /// HELO where the reverse-path is empty (RFC 9989 4.3).
    pub fn spf_for_dmarc(&self) -> Option<(&str, spf::Outcome)> {
        let spf = self.spf.as_ref().or(self.helo.as_ref())?;
        Some((spf.domain.as_str(), spf.finding.outcome))
    }

    /// The results of RFC 8601 2.2, one a method and what it is about.
    pub fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let spf = |property: &str, spf: &Spf| {
            let outcome = spf.finding.outcome.name();
            format!("spf={outcome} smtp.{property}={}", quoted(&spf.domain))
        };
        texts.extend(self.helo.as_ref().map(|helo| spf("helo", helo)));
        texts.extend(self.spf.as_ref().map(|sender| spf("mailfrom", sender)));
        if let Some(findings) = &self.dkim {
            texts.extend(findings.iter().map(dkim_text));
            if findings.is_empty() {
                texts.push("dkim=none".into());
            }
        }
        texts.extend(self.dmarc.iter().map(dmarc_text));
        texts.extend(self.arc.as_ref().map(arc_text));
        texts
    }
}

fn dkim_text(finding: &dkim::Finding) -> String {
    let mut text = format!("dkim={}", finding.outcome.name());
    if !finding.reason.is_empty() {
        text += &format!(" reason={}", quoted_string(&finding.reason));
    }
    let mut property = |name: &str, value: &str| {
        if !value.is_empty() {
            text += &format!(" header.{name}={}", quoted(value));
        }
    };
    property("d", &finding.domain);
    property("i", &finding.identity);
    property("s", &finding.selector);
    property("a", finding.algorithm.map_or("", dkim::Algorithm::name));
    property("b", &finding.beginning);
    text
}

fn dmarc_text(finding: &dmarc::Finding) -> String {
    let mut text = format!("dmarc={}", finding.outcome.name());
    if finding.record.is_some() {
        text += &format!(" (p={})", finding.policy.name());
    }
    text + &format!(" header.from={}", quoted(&finding.domain))
}

fn arc_text(finding: &arc::Finding) -> String {
    let mut text = format!("arc={}", finding.outcome.name());
    if !finding.reason.is_empty() {
        text += &format!(" reason={}", quoted_string(&finding.reason));
    }
    text
}

/// Results as the value of a field: in lines of no more than 78 characters, or one result.
pub fn folded(results: &[String]) -> String {
    // With room for what goes between them.
    let lengths = results.iter().map(|result| result.len() + 3);
    let mut text = String::with_capacity(lengths.sum());
    let mut column = "Authentication-Results: ".len();
    for result in results {
        let width = result.chars().count() + 2;
        if !text.is_empty() {
            let fits = column + width <= LINE;
            text += if fits { "; " } else { ";\n\t" };
            column = if fits { column } else { 0 };
        }
        text += result;
        column += width;
    }
    text
}

/// A value of RFC 8601 2.2: as it is, if it may stand without quotes.
pub fn quoted(value: &str) -> String {
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b))
    };
    let may_stand = match value.split_once('@') {
        Some((user, host)) => {
            let atoms = || user.split('.').all(is_word);
            (user.is_empty() || atoms()) && host.split('.').all(is_word) && !host.contains('+')
        }
        None => is_word(value),
    };
    if may_stand && value.len() <= LONGEST { value.to_owned() } else { quoted_string(value) }
}

/// A quoted string (RFC 5322 3.2.4), without what it must not have in it, and not as long as
/// strangers like.
pub fn quoted_string(value: &str) -> String {
    let kept = value.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c));
    format!("\"{}\"", kept.take(LONGEST).collect::<String>())
}

/// Text as it may stand in a comment (RFC 5322 3.2.2): nothing that ends it or starts another, and
/// not as long as strangers like.
pub fn comment(text: &str) -> String {
    let is_odd = |c: char| c.is_control() || matches!(c, '(' | ')' | '\\');
    let mut out = String::with_capacity(text.len().min(LONGEST));
    out.extend(text.chars().take(LONGEST).map(|c| if is_odd(c) { '?' } else { c }));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_they_have_to_be() {
        for value in ["mx.example", "a.b+c@mx_1.example", "@mx.example", "I6+fx"] {
            assert_eq!(quoted(value), value);
        }
        for value in
            ["", "a b", "a=b", "a@b@c", ".a@x.example", "a@x..example", "a@", "\u{f6}.example"]
        {
            assert_eq!(quoted(value), format!("\"{value}\""));
        }
        assert_eq!(quoted("a\"; spf=pass \\"), "\"a; spf=pass \"");
        assert_eq!(quoted(&"/".repeat(9000)).len(), LONGEST + 2);
        assert!(quoted(&"x".repeat(9000)).len() <= LONGEST + 2);
    }

    #[test]
    fn results_are_folded_between_each_other() {
        let results = ["mx.test".into(), "a=pass".into(), "b".repeat(60), "c=pass".into()];
        let expected = format!("mx.test; a=pass;\n\t{}; c=pass", "b".repeat(60));
        assert_eq!(folded(&results), expected);
    }
}
