//! What the domain name system says of a client's name and address.

use std::net::IpAddr;

use crate::dns::{Answer, Dns, Kind, Question, is_near};

/// What was found out about a name in HELO and the address that it comes from.
pub(super) struct Names {
    ip: IpAddr,
    /// What is wrong with the name: it has no address.
    forward: Finding,
    /// What is wrong with the address: it has no name.
    reverse: Finding,
    /// Does one of the name's addresses belong to the client, or to its neighbours?
    pub forward_match: bool,
    /// Is one of the address's names the one in HELO, or of the same domain?
    pub reverse_match: bool,
}

enum Finding {
    /// There is something.
    Found,
    /// There is nothing, and the name does not exist.
    Nothing,
    /// The name exists, but has nothing of that kind.
    NoData,
    /// Nobody knows at the moment.
    Failed(String),
}

impl Names {
    /// Looks up the addresses of `name` and the names of `ip` at once; only the latter where there
    /// is no name.
    pub(super) fn look_up(dns: &dyn Dns, name: Option<&str>, ip: IpAddr) -> Names {
        let mut questions = vec![Question::name_of(ip)];
        questions.extend(
            name.into_iter()
                .flat_map(|name| [Kind::A, Kind::Aaaa].map(|kind| Question::new(name, kind))),
        );
        let answers = dns.ask(&questions);
        let (reverse, forward) = answers.split_at(1);
        let name = name.unwrap_or_default();
        Names {
            ip,
            forward_match: forward.iter().flat_map(Answer::addresses).any(|own| is_near(own, ip)),
            reverse_match: reverse.iter().flat_map(Answer::names).any(|own| is_same(own, name)),
            forward: if forward.is_empty() { Finding::Found } else { Finding::of(forward) },
            reverse: Finding::of(reverse),
        }
    }

    /// What is wrong: a text for the client, and one for the log.  `strict` wants the name and the
    /// address to belong together.
    pub(super) fn fault(&self, strict: bool) -> Option<(String, &'static str)> {
        let ip = self.ip;
        match &self.forward {
            Finding::Nothing => {
                return Some(("HELO hostname does not exist".into(), "no such host"));
            }
            Finding::NoData => {
                return Some(("HELO hostname did not resolve".into(), "no forward DNS"));
            }
            Finding::Found | Finding::Failed(_) => {}
        }
        match &self.reverse {
            Finding::Nothing => return Some((format!("no rDNS for {ip}"), "no rDNS")),
            Finding::NoData => return Some((format!("no reverse DNS for {ip}"), "no rDNS")),
            Finding::Found | Finding::Failed(_) => {}
        }
        let is_known = self.failure().is_none();
        let fails = strict && is_known && !self.forward_match && !self.reverse_match;
        fails.then(|| ("That HELO hostname fails FCrDNS".into(), "no matching DNS"))
    }

    /// Why something is not known.
    pub(super) fn failure(&self) -> Option<&str> {
        [&self.forward, &self.reverse].into_iter().find_map(|finding| match finding {
            Finding::Failed(why) => Some(why.as_str()),
            _ => None,
        })
    }
}

impl Finding {
    fn of(answers: &[Answer]) -> Finding {
        let failed = answers.iter().find_map(|answer| match answer {
            Answer::Failed(why) => Some(why.clone()),
            _ => None,
        });
        if answers.iter().any(|answer| !answer.records().is_empty()) {
            Finding::Found
        } else if answers.contains(&Answer::Nothing) {
            Finding::Nothing
        } else {
            failed.map_or(Finding::NoData, Finding::Failed)
        }
    }
}

/// The same name, or one whose last two labels are the same.
fn is_same(one: &str, other: &str) -> bool {
    let lower = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let (one, other) = (lower(one), lower(other));
    let domain = |name: &str| -> Option<String> {
        let (rest, top) = name.rsplit_once('.')?;
        Some(format!("{}.{top}", rest.rsplit('.').next().unwrap_or(rest)))
    };
    one == other || (domain(&one).is_some() && domain(&one) == domain(&other))
}
