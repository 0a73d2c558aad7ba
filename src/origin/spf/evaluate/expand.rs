//! What macros stand for (RFC 7208 7.2).

use super::Evaluation;
use crate::dns::{Kind, Question};
use crate::origin::spf::domain::is_below;
use crate::origin::spf::macros::{Letter, Template, dotted};

/// The longest explanation, in octets: it goes into a reply.
const LONGEST_EXPLANATION: usize = 500;

impl Evaluation<'_> {
    pub(super) fn expand(&self, spec: &Template, domain: &str) -> String {
        spec.expand_domain(|letter| self.value(letter, domain))
    }

    /// The domain's own words about a failure; None if there are none that can be used.
    pub(super) fn explanation(&self, spec: &Template, domain: &str) -> Option<String> {
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
