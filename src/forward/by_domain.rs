//! Each recipient's way by its domain: `config/smtproutes`, or its mail exchangers, with what these have
//! to prove.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::config::Derived;
use crate::dns::{Answer, Dns, Kind, Question, Record, Tlsa};
use crate::error::Result;
use crate::hook::{DECLINED, Hooks, Rest, Session, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::net::is_usable;

use super::exchangers::{Exchanger, Own, exchangers};
use super::routes::{Hop, Routes};
use super::sts::{Mode, Policy, Sts};
use super::target::{Proof, Target};
use super::{Backend, unable};

/// The file with the routes.
const FILE: &str = "smtproutes";

/// The most addresses of exchangers that are tried for one message.
const MOST: usize = 10;

/// Hands messages on by the domain of their recipients.
pub(crate) struct ByDomain {
    backend: Backend,
    routes: Rc<Derived<Rc<Routes>>>,
    dane: bool,
    sts: Option<Sts>,
}

impl ByDomain {
    /// Hands on with `backend`, which has no servers of its own.
    ///
    /// # Errors
    /// A line of the file is no route; or the file cannot be read.
    pub(crate) fn new(
        hooks: &mut Hooks,
        backend: Backend,
        dane: bool,
        sts: Option<Sts>,
    ) -> Result<ByDomain> {
        let first = Routes::parse(&hooks.config().load(FILE)?)?;
        let good = RefCell::new(Rc::new(first));
        // Mail for a domain whose line is wrong must not go somewhere else.
        let routes = hooks.derived_checked(FILE, move |lines, problems| {
            match Routes::parse(lines) {
                Ok(routes) => drop(good.replace(Rc::new(routes))),
                Err(error) => {
                    problems.push(error.within("the routes of before stay in use"));
                }
            }
            good.borrow().clone()
        });
        Ok(ByDomain { backend, routes, dane, sts })
    }

    /// Can the message go on to this recipient, too?  There is one answer to a message and no queue here,
    /// so all its recipients have to be on one way.
    pub(crate) fn onward(&self, session: &mut Session, recipient: &Address) -> Verdict {
        let hop = self.hop(session, recipient);
        if let Some(first) = session.transaction.recipients().first().cloned() {
            let other = self.hop(session, &first);
            if other == hop {
                return DECLINED;
            }
            session.log(Level::Info, format_args!("{recipient} goes to {hop}, not to {other}"));
            let text = "This recipient goes to another server than those before it; send it the \
                        message in another transaction (#4.5.3)";
            return Verdict::denysoft(text).with_reply(452);
        }
        match &hop {
            Hop::Server(_) => DECLINED,
            Hop::Exchangers(domain, port) => {
                self.exchangers(session, domain, *port).err().unwrap_or(DECLINED)
            }
        }
    }

    /// Hands the message to the servers on its recipients' way.  DECLINED, with a text, where none can be
    /// talked to.
    pub(crate) fn hand_over(&self, session: &mut Session) -> Verdict {
        let recipients = session.transaction.recipients().to_vec();
        let mut hops: Vec<Hop> =
            recipients.iter().map(|recipient| self.hop(session, recipient)).collect();
        hops.dedup();
        let targets = match &hops[..] {
            [] => return DECLINED,
            [Hop::Server(server)] => Ok(vec![Target::named(server.clone())]),
            [Hop::Exchangers(domain, port)] => self.targets(session, domain, *port),
            // A plugin has changed them, or the routes are others meanwhile.
            [one, other, ..] => {
                let text = format!("recipients go to {one} and to {other}");
                session.log(Level::Error, text);
                return unable("its recipients go to several servers", "4.5.3");
            }
        };
        match targets {
            Ok(targets) => self.backend.hand_to(session, &targets),
            Err(refusal) => refusal,
        }
    }

    /// As [`Backend::rest`].
    pub(crate) fn rest(&self, rest: Rest) -> Option<Duration> {
        self.backend.rest(rest)
    }

    fn hop(&self, session: &mut Session, recipient: &Address) -> Hop {
        let routes = session.derived(&self.routes);
        match recipient.host() {
            "" => routes.hop(&session.me()),
            host => routes.hop(host),
        }
    }

    fn exchangers(
        &self,
        session: &mut Session,
        domain: &str,
        port: u16,
    ) -> std::result::Result<Vec<Exchanger>, Verdict> {
        let own = Own::here(session.me(), session.connection.local_port);
        let found = exchangers(&session.dns(), domain, port, &own);
        if let Err(refusal) = &found {
            session.log(Level::Notice, refusal.text());
        }
        found
    }

    /// The addresses of the exchangers in the order in which they are tried, each with what is to be
    /// proven there.
    fn targets(
        &self,
        session: &mut Session,
        domain: &str,
        port: u16,
    ) -> std::result::Result<Vec<Target>, Verdict> {
        let hosts = self.exchangers(session, domain, port)?;
        let records = self.records(session, &hosts, port);
        let sts = self.sts.as_ref().filter(|_| !domain.starts_with('['));
        let policy = sts.and_then(|sts| sts.policy(session, domain));
        let mut targets = vec![];
        for (host, answer) in hosts.iter().zip(records) {
            let name = host.name.as_deref();
            match proof(domain, name.unwrap_or(domain), answer, policy.as_ref()) {
                Ok((proof, note)) => {
                    note.into_iter().for_each(|note| session.log(Level::Notice, note));
                    let addresses = host.addresses.iter();
                    targets.extend(
                        addresses.map(|ip| Target::exchanger(name, *ip, port, proof.clone())),
                    );
                }
                Err(why) => session.log(Level::Error, why),
            }
        }
        targets.truncate(MOST);
        match targets.is_empty() {
            true => Err(Verdict::declined(
                "Unable to queue message (no exchanger can be trusted) (#4.7.5)",
            )),
            false => Ok(targets),
        }
    }

    /// What the domain name system says of the certificates of the hosts; nothing of those that are not
    /// proven to be the right ones.
    fn records(&self, session: &Session, hosts: &[Exchanger], port: u16) -> Vec<Answer> {
        let name = |host: &Exchanger| host.name.clone().filter(|_| self.dane && host.is_proven);
        let asked: Vec<Option<Question>> = hosts
            .iter()
            .map(|host| Some(Question::new(&format!("_{port}._tcp.{}", name(host)?), Kind::Tlsa)))
            .collect();
        let questions: Vec<Question> = asked.iter().flatten().cloned().collect();
        let mut answers = session.dns().ask(&questions).into_iter();
        let answer = |question: &Option<Question>| {
            question.as_ref().and_then(|_| answers.next()).unwrap_or(Answer::Nothing)
        };
        asked.iter().map(answer).collect()
    }
}

/// What the exchanger `host` of `domain` has to prove, and a note for the log.  DANE comes before MTA-STS
/// (RFC 8461 2).
///
/// # Errors
/// Why it gets no mail now.
fn proof(
    domain: &str,
    host: &str,
    answer: Answer,
    policy: Option<&Policy>,
) -> std::result::Result<(Proof, Option<String>), String> {
    match answer {
        // Whoever keeps the answer from us must not get the mail by that (RFC 7672 2.1.2).
        Answer::Failed(why) => {
            return Err(format!("{host}: cannot find out whether it has DANE records: {why}"));
        }
        Answer::Found { records, authentic: true } => {
            let usable = |record: Record| match record {
                Record::Tlsa(record) => Some(record).filter(is_usable),
                _ => None,
            };
            let records: Vec<Tlsa> = records.into_iter().filter_map(usable).collect();
            return Ok(match records.is_empty() {
                true => {
                    let note = format!("{host}: its DANE records cannot be used");
                    (Proof::Encrypted, Some(note))
                }
                false => (Proof::Dane(records, domain.to_owned()), None),
            });
        }
        _ => {}
    }
    let Some(policy) = policy else { return Ok((Proof::Arguments, None)) };
    match (policy.mode, policy.allows(host)) {
        (Mode::None, _) | (Mode::Testing, true) => Ok((Proof::Arguments, None)),
        (Mode::Enforce, true) => Ok((Proof::Sts, None)),
        (Mode::Enforce, false) => Err(format!("{host} is not in the MTA-STS policy of {domain}")),
        (Mode::Testing, false) => {
            let note = format!(
                "{host} is not in the MTA-STS policy of {domain}, which is in mode testing"
            );
            Ok((Proof::Arguments, Some(note)))
        }
    }
}

#[cfg(test)]
mod tests;
