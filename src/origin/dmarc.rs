//! DMARC: is mail from its author's domain, and what does that domain want to be done with mail
//! that is not (RFC 9989)?

mod author;
mod consent;
mod record;
#[cfg(test)]
mod tests;
mod walk;

pub use author::author_domains;
pub use consent::Consent;
pub use record::{Policy, Public, Record};

use super::dkim::is_at_or_below;
use super::{dkim, spf};
use crate::dns::{Answer, Dns, Kind, Question};
use walk::Walk;

/// The most domains that authors of a message may be at.
pub const MOST_AUTHORS: usize = 10;

/// How the domain of an organization is found.
#[derive(Clone, Copy)]
pub enum Discovery<'a> {
    /// By a walk up the tree of names (RFC 9989 4.10).
    Walk,
    /// By a list of public suffixes (RFC 7489 3.2): the function gives the domain of the
    /// organization for a name.
    Suffixes(&'a dyn Fn(&str) -> String),
}

/// What is known of a message.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What SPF says, and of which domain: that of the reverse-path, or of HELO where it is empty.
    pub spf: Option<(&'a str, spf::Outcome)>,
    /// What DKIM says.
    pub dkim: &'a [dkim::Finding],
}

/// The results of RFC 9989 and RFC 8601.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The author's domain has no record.
    None,
    /// The mail is from the author's domain.
    Pass,
    /// It is not.
    Fail,
    /// Nobody knows at the moment.
    TempError,
}

impl Outcome {
    /// The result as it stands in Authentication-Results.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::TempError => "temperror",
        }
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The result.
    pub outcome: Outcome,
    /// The author's domain.
    pub domain: String,
    /// What the domain wants to be done with this mail if it fails.
    pub policy: Policy,
    /// The record that counts, and the domain whose it is.
    pub record: Option<(String, Record)>,
    /// Did a signature of the author's domain pass?
    pub dkim_aligned: bool,
    /// Did SPF pass for the author's domain?
    pub spf_aligned: bool,
    /// Why it is not a pass.
    pub reason: String,
}

/// What will be asked to find the organization to which a domain belongs, and its record, so that
/// it can be asked together with other questions.
pub fn questions(domain: &str) -> Vec<Question> {
    walk::questions(&lower(domain))
}

/// The domain of the organization to which a name belongs.
///
/// # Errors
/// Nobody knows at the moment; the text says why.
pub fn organization(dns: &dyn Dns, name: &str, discovery: Discovery<'_>) -> Result<String, String> {
    let name = lower(name);
    match discovery {
        Discovery::Walk => {
            let walk = Walk::from(dns, &name)?;
            walk.failed.clone().map_or_else(|| Ok(walk.organization()), Err)
        }
        Discovery::Suffixes(organization) => Ok(organization(&name)),
    }
}

/// Whether reports on `domain` may go to addresses at `host` (RFC 9990 4): within one organization
/// they may, and else where `host` says so in the record `DOMAIN._report._dmarc.HOST`.
///
/// # Errors
/// Nobody knows at the moment; the text says why.
pub fn consent(
    dns: &dyn Dns,
    domain: &str,
    host: &str,
    discovery: Discovery<'_>,
) -> Result<Consent, String> {
    let (domain, host) = (lower(domain), lower(host));
    let of = |name: &str| organization(dns, name, discovery);
    match domain == host || of(&domain)? == of(&host)? {
        true => Ok(Consent::Yes),
        false => consent::asked(dns, &domain, &host),
    }
}

/// Judges a message whose author is at `author`, an A-label name.
pub fn check(
    dns: &dyn Dns,
    author: &str,
    evidence: &Evidence<'_>,
    discovery: Discovery<'_>,
) -> Finding {
    let author = lower(author);
    let mut finding = Finding {
        outcome: Outcome::None,
        domain: author.clone(),
        policy: Policy::None,
        record: None,
        dkim_aligned: false,
        spf_aligned: false,
        reason: String::new(),
    };
    let judge = Judge { dns, author: &author, evidence, discovery };
    if let Err(why) = judge.judge(&mut finding) {
        finding.outcome = Outcome::TempError;
        finding.reason = why;
    }
    finding
}

struct Judge<'a> {
    dns: &'a dyn Dns,
    author: &'a str,
    evidence: &'a Evidence<'a>,
    discovery: Discovery<'a>,
}

impl Judge<'_> {
    fn judge(&self, finding: &mut Finding) -> Result<(), String> {
        let walk = Walk::from(self.dns, self.author)?;
        let found = self.policy(&walk);
        // What is not known counts only if the author's domain has no record of its own.
        let own = found.filter(|(name, _)| *name == self.author);
        if let (Some(why), None) = (&walk.failed, own) {
            return Err(why.clone());
        }
        let Some((name, record)) = found else {
            finding.reason = "no record".into();
            return Ok(());
        };
        finding.record = Some((name.to_owned(), record.clone()));
        finding.policy = self.applied(name, record)?;
        let organization = self.organization_of(&walk);
        let aligned = |domain: &str, strict| self.is_aligned(domain, strict, &organization);
        let mut unsure = None;
        for signature in self.evidence.dkim {
            let passes = signature.outcome == dkim::Outcome::Pass;
            let later = signature.outcome == dkim::Outcome::TempError;
            if !finding.dkim_aligned && (passes || later) {
                let same = aligned(&signature.domain, record.strict_dkim);
                note(same, passes, &mut finding.dkim_aligned, &mut unsure, "DKIM");
            }
        }
        if let Some((domain, outcome)) = self.evidence.spf {
            let passes = outcome == spf::Outcome::Pass;
            if passes || outcome == spf::Outcome::TempError {
                let same = aligned(domain, record.strict_spf);
                note(same, passes, &mut finding.spf_aligned, &mut unsure, "SPF");
            }
        }
        if finding.dkim_aligned || finding.spf_aligned {
            finding.outcome = Outcome::Pass;
            return Ok(());
        }
        if let Some(why) = unsure {
            return Err(why);
        }
        finding.outcome = Outcome::Fail;
        finding.reason = "neither SPF nor DKIM passed for the author's domain".into();
        Ok(())
    }

    fn policy<'w>(&self, walk: &'w Walk) -> Option<(&'w str, &'w Record)> {
        match self.discovery {
            Discovery::Walk => walk.policy(),
            Discovery::Suffixes(organization) => {
                walk.named(self.author).or_else(|| walk.named(&organization(self.author)))
            }
        }
    }

    /// The domain of the author's organization, or why nobody knows it.
    fn organization_of(&self, walk: &Walk) -> Result<String, String> {
        match self.discovery {
            Discovery::Walk => match &walk.failed {
                Some(why) => Err(why.clone()),
                None => Ok(walk.organization()),
            },
            Discovery::Suffixes(organization) => Ok(organization(self.author)),
        }
    }

    /// What is to be done with mail of the author's domain that fails.
    fn applied(&self, name: &str, record: &Record) -> Result<Policy, String> {
        let is_own = name == self.author;
        // Whether the domain exists is asked only where it makes a difference.
        let exists = is_own || record.nonexistent == record.below || self.exists()?;
        Ok(record.applied(is_own, exists))
    }

    /// Has the author's domain addresses or mail exchangers (RFC 9989 3.2.12)?
    fn exists(&self) -> Result<bool, String> {
        let kinds = [Kind::A, Kind::Aaaa, Kind::Mx];
        let answers = self.dns.ask(&kinds.map(|kind| Question::new(self.author, kind)));
        if answers.iter().any(|answer| !answer.records().is_empty()) {
            return Ok(true);
        }
        match answers.into_iter().find_map(|answer| match answer {
            Answer::Failed(why) => Some(why),
            _ => None,
        }) {
            Some(why) => Err(format!("whether {} exists: {why}", self.author)),
            None => Ok(false),
        }
    }

    /// Does that domain speak for the author's (RFC 9989 4.4)?
    fn is_aligned(
        &self,
        domain: &str,
        strict: bool,
        organization: &Result<String, String>,
    ) -> Result<bool, String> {
        let domain = lower(domain);
        if domain == self.author || strict {
            return Ok(domain == self.author);
        }
        let organization = organization.as_ref().map_err(String::clone)?;
        // Names of one organization are below its domain, so most need no walk.
        if !is_at_or_below(&domain, organization) {
            return Ok(false);
        }
        match self.discovery {
            Discovery::Walk => {
                let walk = Walk::from(self.dns, &domain)?;
                walk.failed.clone().map_or_else(|| Ok(walk.organization() == *organization), Err)
            }
            Discovery::Suffixes(other) => Ok(other(&domain) == *organization),
        }
    }
}

/// Notes that a domain that passed is aligned, or that nobody knows whether one is that did, or
/// whether one did that is.
fn note(
    same: Result<bool, String>,
    passes: bool,
    aligned: &mut bool,
    unsure: &mut Option<String>,
    what: &str,
) {
    match same {
        Ok(true) if passes => *aligned = true,
        Ok(true) => *unsure = Some(format!("{what} could not be checked")),
        Ok(false) => {}
        Err(why) => *unsure = Some(why),
    }
}

fn lower(domain: &str) -> String {
    domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase()
}
