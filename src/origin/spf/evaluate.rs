//! The function check_host() (RFC 7208 4).

use std::cell::{Cell, OnceCell};
use std::net::IpAddr;

use super::macros::{Letter, Template, dotted};
use super::record::{self, Directive, Mechanism, Prefixes, Record};
use super::{Finding, MOST_TERMS, MOST_VOIDS, Outcome, Query};
use crate::dns::{Answer, Dns, Kind, Question, Record as DnsRecord};

/// The most mail exchangers of a domain, and the most names of an address, that are looked at
/// (RFC 7208 4.6.4).
const MOST_NAMES: usize = 10;

/// The longest explanation, in octets: it goes into a reply.
const LONGEST_EXPLANATION: usize = 500;

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

    /// Asks at once what the terms of a record are about to ask one after the other, up to the
    /// first that matches without a question.  The answers are in the memory of the session then.
    fn look_ahead(&self, record: &Record, domain: &str) {
        let mut questions = Vec::new();
        let left = MOST_TERMS.saturating_sub(self.terms.get()) as usize;
        let mut redirected = true;
        for directive in &record.directives {
            if matches!(&directive.mechanism, Mechanism::All)
                || matches!(&directive.mechanism, Mechanism::Ip(network, bits)
                    if same_network(*network, self.ip, *bits))
            {
                redirected = false;
                break;
            }
            questions.extend(self.question_of(&directive.mechanism, domain));
        }
        let redirect = record.redirect.as_ref().filter(|_| redirected);
        if let Some(target) = redirect.filter(|target| !target.has(Letter::Name)) {
            questions.push(Question::new(&self.expand(target, domain), Kind::Txt));
        }
        questions.truncate(left);
        if questions.len() > 1 {
            self.dns.ask(&questions);
        }
    }

    /// The first question of a mechanism; None if it has none, or has to know the client's name.
    fn question_of(&self, mechanism: &Mechanism, domain: &str) -> Option<Question> {
        let name = |spec: &Template| {
            Some(self.expand(spec, domain))
                .filter(|name| !spec.has(Letter::Name) && is_domain(name))
        };
        let own = |spec: &Option<Template>| match spec {
            Some(spec) => name(spec),
            None => Some(domain.to_owned()),
        };
        Some(match mechanism {
            Mechanism::Include(spec) => Question::new(&name(spec)?, Kind::Txt),
            Mechanism::A(spec, _) => Question::address_like(&own(spec)?, self.ip),
            Mechanism::Mx(spec, _) => Question::new(&own(spec)?, Kind::Mx),
            Mechanism::Exists(spec) => Question::new(&name(spec)?, Kind::A),
            Mechanism::Ptr(_) => Question::name_of(self.ip),
            Mechanism::All | Mechanism::Ip(..) => return None,
        })
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

    fn expand(&self, spec: &Template, domain: &str) -> String {
        spec.expand_domain(|letter| self.value(letter, domain))
    }

    /// The domain's own words about a failure; None if there are none that can be used.
    fn explanation(&self, spec: &Template, domain: &str) -> Option<String> {
        let answer = self.dns.ask_one(Question::new(&self.expand(spec, domain), Kind::Txt));
        let mut texts = answer.texts();
        let (Some(text), None) = (texts.next(), texts.next()) else { return None };
        let template = Template::explanation(std::str::from_utf8(text).ok()?).ok()?;
        let text = template.expand(|letter| self.value(letter, domain));
        (text.len() <= LONGEST_EXPLANATION).then_some(text)
    }

    fn value(&self, letter: Letter, domain: &str) -> String {
        match letter {
            Letter::Sender => format!("{}@{}", self.local_part, self.sender_domain),
            Letter::LocalPart => self.local_part.to_owned(),
            Letter::SenderDomain => self.sender_domain.to_owned(),
            Letter::Domain => domain.to_owned(),
            Letter::Address => dotted(self.ip),
            Letter::Name => self.name.get_or_init(|| self.name_like(domain)).clone(),
            Letter::Family if self.ip.is_ipv4() => "in-addr".into(),
            Letter::Family => "ip6".into(),
            Letter::Helo => self.query.helo.to_owned(),
            Letter::ReadableAddress => self.ip.to_string(),
            Letter::Receiver => self.query.receiver.to_owned(),
            Letter::Time => self.query.now.to_string(),
        }
    }

    /// The client's name for the macro `p` (RFC 7208 7.3): the domain itself before a name below
    /// it before any other.
    fn name_like(&self, domain: &str) -> String {
        let domain = domain.to_ascii_lowercase();
        let names = self.names_of_client(false).unwrap_or_default();
        let best = names.iter().min_by_key(|name| match **name == domain {
            true => 0,
            false => 1 + u8::from(!is_below(name, &domain)),
        });
        best.map_or("unknown".into(), String::clone)
    }
}

/// Can a domain have a record: two labels at least, none empty or longer than 63 octets?
fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253
        && name.contains('.')
        && !name.starts_with('[')
        && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Is it the domain, or a name below it?
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
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
