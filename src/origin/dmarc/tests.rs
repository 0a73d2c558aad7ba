//! Judgements over a table of names.

use std::collections::HashMap;

use super::*;
use crate::dns::Record as DnsRecord;

struct Table(HashMap<Question, Answer>);

impl Dns for Table {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        questions.iter().map(|q| self.0.get(q).cloned().unwrap_or(Answer::Nothing)).collect()
    }
}

/// Records by the name whose they are; `?` is a name that nobody can answer for.
fn table(records: &[(&str, &str)]) -> Table {
    let answer = |text: &str| match text {
        "?" => Answer::Failed("timeout".into()),
        text => Answer::found(vec![DnsRecord::Txt(text.into())]),
    };
    let mut table: HashMap<Question, Answer> =
        records.iter().map(|(name, text)| (record::question(name), answer(text))).collect();
    let mx = Answer::found(vec![DnsRecord::Mx(0, "mx.example".into())]);
    table.insert(Question::new("real.example.com", Kind::Mx), mx);
    Table(table)
}

fn signed(domain: &str, outcome: dkim::Outcome) -> dkim::Finding {
    dkim::Finding {
        outcome,
        domain: domain.into(),
        selector: "s".into(),
        identity: format!("@{domain}"),
        algorithm: None,
        beginning: String::new(),
        reason: String::new(),
        testing: false,
    }
}

fn judged(
    dns: &Table,
    author: &str,
    spf: Option<(&str, spf::Outcome)>,
    dkim: &[dkim::Finding],
) -> Finding {
    check(dns, author, &Evidence { spf, dkim }, Discovery::Walk)
}

fn by_spf(dns: &Table, author: &str, domain: &str) -> Outcome {
    judged(dns, author, Some((domain, spf::Outcome::Pass)), &[]).outcome
}

#[test]
fn alignment_is_relaxed_or_strict() {
    let dns = table(&[
        ("example.com", "v=DMARC1; p=reject"),
        ("example.net", "v=DMARC1; p=reject; aspf=s; adkim=s"),
    ]);
    assert_eq!(by_spf(&dns, "example.com", "example.com"), Outcome::Pass);
    assert_eq!(by_spf(&dns, "example.com", "Bounce.Example.Com."), Outcome::Pass);
    assert_eq!(by_spf(&dns, "news.example.com", "bounce.example.com"), Outcome::Pass);
    assert_eq!(by_spf(&dns, "example.com", "badexample.com"), Outcome::Fail);
    assert_eq!(by_spf(&dns, "example.com", "example.org"), Outcome::Fail);
    assert_eq!(by_spf(&dns, "example.net", "bounce.example.net"), Outcome::Fail);
    assert_eq!(by_spf(&dns, "example.net", "example.net"), Outcome::Pass);
    assert_eq!(by_spf(&dns, "example.org", "example.org"), Outcome::None);
    let dkim = [
        signed("example.org", dkim::Outcome::Pass),
        signed("mail.example.com", dkim::Outcome::Pass),
    ];
    let finding = judged(&dns, "example.com", None, &dkim);
    assert!(finding.dkim_aligned && !finding.spf_aligned);
    let dkim = [signed("example.com", dkim::Outcome::Fail)];
    assert_eq!(judged(&dns, "example.com", None, &dkim).outcome, Outcome::Fail);
}

/// RFC 9989 4.10.2: who belongs together.
#[test]
fn organizations_are_found_by_walking() {
    let dns = table(&[
        ("a.mail.example.com", "v=DMARC1; p=none"),
        ("mail.example.com", "v=DMARC1; p=none; psd=n"),
        ("example.com", "v=DMARC1; p=reject"),
        ("example", "v=DMARC1; p=none; sp=reject; psd=y"),
        ("giant.bank.example", "v=DMARC1; p=quarantine"),
    ]);
    let organization = |name: &str| Walk::from(&dns, name).unwrap().organization();
    assert_eq!(organization("a.mail.example.com"), "mail.example.com");
    assert_eq!(organization("b.example.com"), "example.com");
    assert_eq!(organization("mega.bank.example"), "bank.example");
    assert_eq!(organization("giant.bank.example"), "bank.example");
    assert_eq!(organization("example"), "example");
    assert_eq!(organization("a.b.test"), "a.b.test");
    assert_eq!(by_spf(&dns, "a.mail.example.com", "example.com"), Outcome::Fail);
    // The policy of a public domain is for those who have none.
    let finding = judged(&dns, "mega.bank.example", None, &[]);
    assert_eq!((finding.outcome, finding.policy), (Outcome::Fail, Policy::Reject));
    assert_eq!(finding.record.unwrap().0, "example");
}

#[test]
fn the_policy_depends_on_whose_it_is() {
    let dns = table(&[
        ("example.com", "v=DMARC1; p=none; sp=quarantine; np=reject"),
        ("test.example", "v=DMARC1; p=reject; t=y"),
    ]);
    assert_eq!(judged(&dns, "example.com", None, &[]).policy, Policy::None);
    assert_eq!(judged(&dns, "real.example.com", None, &[]).policy, Policy::Quarantine);
    assert_eq!(judged(&dns, "unreal.example.com", None, &[]).policy, Policy::Reject);
    assert_eq!(judged(&dns, "test.example", None, &[]).policy, Policy::Quarantine);
}

#[test]
fn a_temporary_failure_is_never_a_failure_of_the_message() {
    let dns = table(&[
        ("example.com", "v=DMARC1; p=reject"),
        ("unknown.example", "?"),
        ("lost.example.com", "?"),
    ]);
    let outcome = |author, spf, dkim: &[dkim::Finding]| judged(&dns, author, spf, dkim).outcome;
    let later = [signed("example.com", dkim::Outcome::TempError)];
    assert_eq!(outcome("unknown.example", None, &[]), Outcome::TempError);
    assert_eq!(outcome("example.com", None, &later), Outcome::TempError);
    assert_eq!(judged(&dns, "example.com", None, &later).policy, Policy::Reject);
    let spf = Some(("example.com", spf::Outcome::TempError));
    assert_eq!(outcome("example.com", spf, &[]), Outcome::TempError);
    assert_eq!(
        outcome("example.com", Some(("example.com", spf::Outcome::Pass)), &later),
        Outcome::Pass
    );
    // What could not have helped does not matter.
    let other = [signed("example.org", dkim::Outcome::TempError)];
    assert_eq!(outcome("example.com", None, &other), Outcome::Fail);
    let lost = [signed("lost.example.com", dkim::Outcome::Pass)];
    assert_eq!(outcome("example.com", None, &lost), Outcome::TempError);
}

#[test]
fn two_records_are_as_good_as_none() {
    let mut dns = table(&[("example.com", "v=DMARC1; p=reject")]);
    let two = vec![
        DnsRecord::Txt(b"v=DMARC1; p=reject".into()),
        DnsRecord::Txt(b"v=DMARC1; p=none".into()),
    ];
    dns.0.insert(record::question("mail.example.com"), Answer::found(two));
    let finding = judged(&dns, "mail.example.com", None, &[]);
    assert_eq!(finding.record.unwrap().0, "example.com");
}

#[test]
fn organizations_may_be_found_by_a_list_of_suffixes() {
    let dns = table(&[("example.co.uk", "v=DMARC1; p=reject"), ("co.uk", "v=DMARC1; p=none")]);
    let organization = |name: &str| {
        let labels: Vec<&str> = name.split('.').collect();
        labels[labels.len().saturating_sub(3)..].join(".")
    };
    let judged = |author, spf| {
        let evidence = Evidence { spf: Some((spf, spf::Outcome::Pass)), dkim: &[] };
        check(&dns, author, &evidence, Discovery::Suffixes(&organization)).outcome
    };
    assert_eq!(judged("a.example.co.uk", "b.example.co.uk"), Outcome::Pass);
    assert_eq!(judged("a.example.co.uk", "other.co.uk"), Outcome::Fail);
    assert_eq!(judged("other.co.uk", "other.co.uk"), Outcome::None);
}
