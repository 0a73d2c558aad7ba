//! Asks at once what a record will ask.

use super::{Evaluation, same_network};
use crate::dns::{Kind, Question};
use crate::origin::spf::MOST_TERMS;
use crate::origin::spf::domain::is_domain;
use crate::origin::spf::macros::{Letter, Template};
use crate::origin::spf::record::{Mechanism, Record};

impl Evaluation<'_> {
    /// Asks at once what the terms of a record are about to ask one after the other, up to the
    /// first that matches without a question.  The answers are in the memory of the session then.
    pub(super) fn look_ahead(&self, record: &Record, domain: &str) {
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
}
