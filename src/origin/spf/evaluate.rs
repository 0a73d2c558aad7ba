//! The function check_host() (RFC 7208 4).

mod expand;
mod look_ahead;

use std::cell::{Cell, OnceCell};
use std::net::IpAddr;

use super::domain::{is_below, is_domain};
use super::macros::Template;
use super::record::{self, Directive, Mechanism, Prefixes, Record};
use super::{Finding, MOST_TERMS, MOST_VOIDS, Outcome, Query};
use crate::dns::{Answer, Dns, Kind, Question, Record as DnsRecord};

/// The most mail exchangers of a domain, and the most names of an address, that are looked at
/// (RFC 7208 4.6.4).
const MOST_NAMES: usize = 10;

/// Checks `domain` for the client and the sender `local_part`@`domain`.
pub(super) fn check(dns: &dyn Dns, query: &Query<'_>, local_part: &str, domain: &str) -> Finding {
    let evaluation = Evaluation {
        dns,
        query,
        ip: query.ip.to_canonical(),
        local_part: if local_part.is_empty() { "postmaster" } else { local_part },
        sender_domain: domain,
        terms: Cell::new(0),
        voids: Cell::new(0),
        name: OnceCell::new(),
    };
    match evaluation.check_host(domain, Some(Explains)) {
        Ok(finding) => finding,
        Err(stop) => Finding { outcome: stop.outcome, explanation: None, reason: stop.reason },
    }
}

/// A check on its way, through all records that lead to each other.
struct Evaluation<'a> {
    dns: &'a dyn Dns,
    query: &'a Query<'a>,
    ip: IpAddr,
    local_part: &'a str,
    sender_domain: &'a str,
    /// Terms so far that asked the domain name system.
    terms: Cell<u32>,
    /// Questions of terms so far that found nothing.
    voids: Cell<u32>,
    /// The client's name, once a macro wanted it.
    name: OnceCell<String>,
}

/// A failure is explained in the words of the record that is asked for, not in those of a record
/// that it includes (RFC 7208 6.2).
#[derive(Clone, Copy)]
struct Explains;

/// Why a check ends before its end: temperror or permerror.
struct Stop {
    outcome: Outcome,
    reason: String,
}

fn temporary(reason: String) -> Stop {
    Stop { outcome: Outcome::TempError, reason }
}

fn permanent(reason: impl Into<String>) -> Stop {
    Stop { outcome: Outcome::PermError, reason: reason.into() }
}

impl Evaluation<'_> {
    fn check_host(&self, domain: &str, explains: Option<Explains>) -> Result<Finding, Stop> {
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let none = |reason: &str| Finding {
            outcome: Outcome::None,
            explanation: None,
            reason: reason.to_owned(),
        };
        if !is_domain(domain) {
            return Ok(none("no domain name"));
        }
        let answer = self.dns.ask_one(Question::new(domain, Kind::Txt));
        if let Answer::Failed(why) = answer {
            return Err(temporary(format!("TXT {domain}: {why}")));
        }
        let mut records = answer.texts().filter(|text| record::is_record(text));
        let Some(text) = records.next() else { return Ok(none("no record")) };
        if records.next().is_some() {
            return Err(permanent(format!("{domain} has more than one record")));
        }
        let record =
            record::parse(text).map_err(|why| permanent(format!("record of {domain}: {why}")))?;
        self.look_ahead(&record, domain);
        for directive in &record.directives {
            if self.matches(&directive.mechanism, domain)? {
                return Ok(self.decided(directive, &record, domain, explains));
            }
        }
        match &record.redirect {
            Some(redirect) => self.redirected(redirect, domain, explains),
            None => Ok(Finding {
                outcome: Outcome::Neutral,
                explanation: None,
                reason: "no mechanism matched".into(),
            }),
        }
    }

    /// What comes of a directive that matched.
    fn decided(
        &self,
        directive: &Directive,
        record: &Record,
        domain: &str,
        explains: Option<Explains>,
    ) -> Finding {
        let explained = explains.filter(|_| directive.outcome == Outcome::Fail);
        let template = record.explanation.as_ref().filter(|_| explained.is_some());
        Finding {
            outcome: directive.outcome,
            explanation: template.and_then(|template| self.explanation(template, domain)),
            reason: format!("{} of {domain}", directive.text),
        }
    }

    fn redirected(
        &self,
        redirect: &Template,
        domain: &str,
        explains: Option<Explains>,
    ) -> Result<Finding, Stop> {
        self.count_term()?;
        let target = self.expand(redirect, domain);
        let finding = self.check_host(&target, explains)?;
        match finding.outcome {
            Outcome::None => Err(permanent(format!("redirect to {target}, which has no record"))),
            _ => Ok(finding),
        }
    }

    fn matches(&self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        let target = |spec: &Option<Template>| match spec {
            Some(spec) => self.expand(spec, domain),
            None => domain.to_owned(),
        };
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(network, bits) => Ok(same_network(*network, self.ip, *bits)),
            Mechanism::Include(spec) => self.includes(&self.expand(spec, domain)),
            Mechanism::A(spec, prefixes) => {
                self.count_term()?;
                let answer = self.find(Question::address_like(&target(spec), self.ip))?;
                Ok(self.has_client(&answer, *prefixes))
            }
            Mechanism::Mx(spec, prefixes) => self.is_exchanger(&target(spec), *prefixes),
            Mechanism::Ptr(spec) => self.is_named_below(&target(spec)),
            Mechanism::Exists(spec) => {
                self.count_term()?;
                let answer = self.find(Question::new(&self.expand(spec, domain), Kind::A))?;
                Ok(answer.addresses().next().is_some())
            }
        }
    }

    /// RFC 7208 5.2: only a pass of the other record matches.
    fn includes(&self, target: &str) -> Result<bool, Stop> {
        self.count_term()?;
        match self.check_host(target, None)?.outcome {
            Outcome::Pass => Ok(true),
            Outcome::None => Err(permanent(format!("include of {target}, which has no record"))),
            _ => Ok(false),
        }
    }

    fn is_exchanger(&self, domain: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        self.count_term()?;
        let answer = self.find(Question::new(domain, Kind::Mx))?;
        let exchanger = |record: &DnsRecord| match record {
            DnsRecord::Mx(_, name) => Some(Question::address_like(name, self.ip)),
            _ => None,
        };
        let questions: Vec<Question> = answer.records().iter().filter_map(exchanger).collect();
        if questions.len() > MOST_NAMES {
            return Err(permanent(format!("{domain} has more than {MOST_NAMES} exchangers")));
        }
        let mut failure = None;
        for (question, answer) in questions.iter().zip(self.dns.ask(&questions)) {
            if self.has_client(&answer, prefixes) {
                return Ok(true);
            }
            if let Answer::Failed(why) = answer {
                failure.get_or_insert(format!("{}: {why}", question.name()));
            }
        }
        failure.map_or(Ok(false), |why| Err(temporary(why)))
    }

    fn is_named_below(&self, target: &str) -> Result<bool, Stop> {
        self.count_term()?;
        let target = target.to_ascii_lowercase();
        Ok(self.names_of_client(true)?.iter().any(|name| is_below(name, &target)))
    }

    /// The names of the client that lead back to its address (RFC 7208 5.5).  A failure is as
    /// good as no name.
    fn names_of_client(&self, counts: bool) -> Result<Vec<String>, Stop> {
        let answer = self.dns.ask_one(Question::name_of(self.ip));
        if counts {
            self.count_void(&answer)?;
        }
        let names: Vec<String> =
            answer.names().take(MOST_NAMES).map(str::to_ascii_lowercase).collect();
        let questions: Vec<Question> =
            names.iter().map(|name| Question::address_like(name, self.ip)).collect();
        let answers = self.dns.ask(&questions);
        let validated = names.into_iter().zip(answers).filter_map(|(name, answer)| {
            answer.addresses().any(|ip| ip == self.ip).then_some(name)
        });
        Ok(validated.collect())
    }

    fn has_client(&self, answer: &Answer, prefixes: Prefixes) -> bool {
        let bits = if self.ip.is_ipv4() { prefixes.v4 } else { prefixes.v6 };
        answer.addresses().any(|ip| same_network(ip, self.ip, bits))
    }

    /// Asks a question of a term.
    fn find(&self, question: Question) -> Result<Answer, Stop> {
        if !is_domain(question.name()) {
            return Ok(Answer::Nothing);
        }
        let text = format!("{:?} {}", question.kind(), question.name());
        let answer = self.dns.ask_one(question);
        if let Answer::Failed(why) = answer {
            return Err(temporary(format!("{text}: {why}")));
        }
        self.count_void(&answer)?;
        Ok(answer)
    }

    fn count_term(&self) -> Result<(), Stop> {
        self.terms.set(self.terms.get() + 1);
        match self.terms.get() > MOST_TERMS {
            true => Err(permanent(format!("more than {MOST_TERMS} terms that ask"))),
            false => Ok(()),
        }
    }

    fn count_void(&self, answer: &Answer) -> Result<(), Stop> {
        if matches!(answer, Answer::NoData | Answer::Nothing) {
            self.voids.set(self.voids.get() + 1);
            if self.voids.get() > MOST_VOIDS {
                return Err(permanent(format!("more than {MOST_VOIDS} look-ups found nothing")));
            }
        }
        Ok(())
    }
}

fn same_network(network: IpAddr, ip: IpAddr, bits: u8) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let shift = 32u32.saturating_sub(bits.into());
            (network.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let shift = 128u32.saturating_sub(bits.into());
            (network.to_bits() ^ ip.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}
