//! The elements of a report that say what a domain has published, and what became of a message.

use crate::hook::Session;
use crate::origin::dkim;
use crate::origin::dmarc::{Discovery, Finding, Outcome, Policy, Record};

use super::xml::{element, text};

/// What stands in a row where the count will be.
pub(super) const COUNT: &str = "<count/>";

/// A row with more signatures than fit into that many octets has no more of them.
const LONGEST_ROW: usize = 3000;

/// The element `policy_published`.
pub(super) fn policy_published(domain: &str, record: &Record, discovery: Discovery<'_>) -> String {
    let alignment = |strict| if strict { "s" } else { "r" };
    let method = match discovery {
        Discovery::Walk => "treewalk",
        Discovery::Suffixes(_) => "psl",
    };
    let content = [
        ("domain", domain),
        ("discovery_method", method),
        ("p", record.policy.name()),
        ("sp", record.below.name()),
        ("np", record.nonexistent.name()),
        ("adkim", alignment(record.strict_dkim)),
        ("aspf", alignment(record.strict_spf)),
        ("testing", if record.testing { "y" } else { "n" }),
    ]
    .map(|(name, value)| text(name, value));
    element("policy_published", &content.concat())
}

/// The element `record` of a message, without the count.
pub(super) fn record(
    session: &Session,
    finding: &Finding,
    published: &Record,
    refused: bool,
) -> String {
    let results = &session.transaction.results;
    let verdict = |aligned| if aligned { "pass" } else { "fail" };
    let (disposition, reasons) = disposition(finding, published, refused);
    let mut evaluated = text("disposition", disposition)
        + &text("dkim", verdict(finding.dkim_aligned))
        + &text("spf", verdict(finding.spf_aligned));
    for (kind, comment) in reasons {
        evaluated += &element("reason", &(text("type", kind) + &text("comment", comment)));
    }
    let source = session.connection.remote_ip.to_canonical().to_string();
    let row = text("source_ip", &source) + COUNT + &element("policy_evaluated", &evaluated);
    let mut identifiers = text("header_from", &finding.domain);
    if let Some(spf) = &results.spf {
        identifiers += &text("envelope_from", &spf.domain);
    }
    let mut auth = String::new();
    let mut signatures: Vec<&dkim::Finding> = results.dkim.iter().flatten().collect();
    signatures.retain(|signature| !signature.domain.is_empty() && !signature.selector.is_empty());
    signatures.sort_by_key(|signature| signature.outcome != dkim::Outcome::Pass);
    for dkim::Finding { domain, selector, outcome, .. } in signatures {
        let names = text("domain", domain) + &text("selector", selector);
        let signature = element("dkim", &(names + &text("result", outcome.name())));
        if auth.len() + signature.len() <= LONGEST_ROW {
            auth += &signature;
        }
    }
    if let Some((domain, outcome)) = results.spf_for_dmarc() {
        let scope = text("domain", domain) + &text("scope", "mfrom");
        auth += &element("spf", &(scope + &text("result", outcome.name())));
    }
    let content = element("row", &row)
        + &element("identifiers", &identifiers)
        + &element("auth_results", &auth);
    element("record", &content)
}

/// What was done to the message, and why it is not what the domain has asked for.
fn disposition(
    finding: &Finding,
    published: &Record,
    refused: bool,
) -> (&'static str, Vec<(&'static str, &'static str)>) {
    if finding.outcome == Outcome::Pass {
        return ("pass", vec![]);
    }
    let mut reasons = vec![];
    if published.testing {
        reasons.push(("policy_test_mode", "t=y"));
    }
    if refused {
        return ("reject", reasons);
    }
    if finding.policy != Policy::None {
        reasons.push(("local_policy", "delivered, with the result in Authentication-Results"));
    }
    ("none", reasons)
}
