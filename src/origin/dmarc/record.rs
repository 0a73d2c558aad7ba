//! A record `v=DMARC1; ...` (RFC 9989 4.7).

use crate::dns::{Answer, Kind, Question};
use crate::origin::dkim::tags::Tags;

/// What a domain wants to be done with mail that only claims to be its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nothing.
    None,
    /// It is suspicious.
    Quarantine,
    /// It is to be refused.
    Reject,
}

impl Policy {
    /// The policy of that name, in any case.
    fn parse(name: &str) -> Option<Policy> {
        [Policy::None, Policy::Quarantine, Policy::Reject]
            .into_iter()
            .find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    /// What is done while the domain is only testing (`t=y`).
    fn one_less(self) -> Policy {
        match self {
            Policy::Reject => Policy::Quarantine,
            Policy::Quarantine | Policy::None => Policy::None,
        }
    }
}

/// Does a domain belong to the public, so that names below it belong to different people?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Public {
    /// `psd=y`: it does.
    Yes,
    /// `psd=n`: it does not, and those below it belong to it.
    No,
    /// The record does not say.
    Unsaid,
}

/// A record, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// For mail of the domain.
    pub policy: Policy,
    /// For mail of names below it (`sp=`).
    pub below: Policy,
    /// For mail of names below it that do not exist (`np=`).
    pub nonexistent: Policy,
    /// Has the domain of a signature to be the author's own (`adkim=s`)?
    pub strict_dkim: bool,
    /// Has the domain of the reverse-path (`aspf=s`)?
    pub strict_spf: bool,
    /// Whether it belongs to the public.
    pub public: Public,
    /// Is the domain only testing?
    pub testing: bool,
    /// Where reports go (`rua=`).
    pub reports: Vec<String>,
}

impl Record {
    /// Takes a record apart; None if the text is none.  Tags with values that are not known count as
    /// missing, and without a policy it is `none` if reports are wanted (RFC 9989 4.7).
    pub fn parse(text: &[u8]) -> Option<Record> {
        let tags = tags(text)?;
        let reports = uris(&tags);
        let policy = match tags.get("p").and_then(Policy::parse) {
            Some(policy) => policy,
            None if !reports.is_empty() => Policy::None,
            None => return None,
        };
        let below = tags.get("sp").and_then(Policy::parse).unwrap_or(policy);
        let is = |tag, value: &str| tags.get(tag).is_some_and(|v| v.eq_ignore_ascii_case(value));
        Some(Record {
            policy,
            below,
            nonexistent: tags.get("np").and_then(Policy::parse).unwrap_or(below),
            strict_dkim: is("adkim", "s"),
            strict_spf: is("aspf", "s"),
            public: match tags.get("psd") {
                Some("y" | "Y") => Public::Yes,
                Some("n" | "N") => Public::No,
                _ => Public::Unsaid,
            },
            testing: is("t", "y"),
            reports,
        })
    }

    /// The record in an answer.  Two records are as good as none (RFC 9989 4.10).
    pub(super) fn of(answer: &Answer) -> Option<Record> {
        let mut records = answer.texts().filter_map(Record::parse);
        records.next().filter(|_| records.next().is_none())
    }

    /// What is to be done with mail that fails.
    pub(super) fn applied(&self, is_own: bool, exists: bool) -> Policy {
        let policy = match (is_own, exists) {
            (true, _) => self.policy,
            (false, true) => self.below,
            (false, false) => self.nonexistent,
        };
        if self.testing { policy.one_less() } else { policy }
    }
}

/// Where reports go by the text of a record; None if it is none.  It needs no policy.
pub(super) fn reports(text: &[u8]) -> Option<Vec<String>> {
    tags(text).map(|tags| uris(&tags))
}

fn tags(text: &[u8]) -> Option<Tags<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    let (version, _) = text.split_once(';').unwrap_or((text, ""));
    let (name, value) = version.split_once('=')?;
    if name.trim() != "v" || value.trim() != "DMARC1" {
        return None;
    }
    Tags::parse(text).ok()
}

fn uris(tags: &Tags<'_>) -> Vec<String> {
    let uris = tags.get("rua").into_iter().flat_map(|uris| uris.split(','));
    uris.map(|uri| uri.trim().to_owned()).filter(|uri| !uri.is_empty()).collect()
}

/// Where the record of a domain is.
pub(super) fn question(domain: &str) -> Question {
    Question::new(&format!("_dmarc.{domain}"), Kind::Txt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_apart() {
        let record = Record::parse(
            b"v=DMARC1; p=Reject; sp=quarantine; adkim=s; psd=n; t=y; pct=5; rua=mailto:a@b.c, mailto:d@e.f",
        );
        let record = record.unwrap();
        assert_eq!((record.policy, record.below), (Policy::Reject, Policy::Quarantine));
        assert_eq!(record.nonexistent, Policy::Quarantine);
        assert!(record.strict_dkim && !record.strict_spf && record.testing);
        assert_eq!(record.public, Public::No);
        assert_eq!(record.reports, ["mailto:a@b.c", "mailto:d@e.f"]);
        assert_eq!(record.applied(true, true), Policy::Quarantine);
        assert_eq!(record.applied(false, true), Policy::None);
    }

    #[test]
    fn what_is_no_record_is_none() {
        for text in [
            "",
            "v=DMARC1",
            "v=DMARC10; p=none",
            "p=none; v=DMARC1",
            "v=dmarc1; p=none",
            "v=DMARC1; p=none; p=reject",
            "v=DMARC1; p=maybe",
            "v=spf1 -all",
        ] {
            assert_eq!(Record::parse(text.as_bytes()), None, "{text}");
        }
        let none = Record::parse(b"v = DMARC1;p=maybe;rua=mailto:a@b.c").unwrap();
        assert_eq!(none.policy, Policy::None);
    }
}
