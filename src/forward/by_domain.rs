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
            let text = "This recipient has another way than those before it; send the message to it \
                        in another transaction (#4.5.3)";
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
                return unable("its recipients have several ways", "4.5.3");
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
            return Err(format!("{host}: nobody knows whether it has DANE: {why}"));
        }
        Answer::Found { records, authentic: true } => {
            let usable = |record: Record| match record {
                Record::Tlsa(record) => Some(record).filter(is_usable),
                _ => None,
            };
            let records: Vec<Tlsa> = records.into_iter().filter_map(usable).collect();
            return Ok(match records.is_empty() {
                true => {
                    let note = format!("{host}: nothing can be made of its DANE records");
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
            let note = format!("{host} is not in the MTA-STS policy of {domain}, which is a test");
            Ok((Proof::Arguments, Some(note)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: &str) -> Policy {
        let text = format!("version: STSv1\nmode: {mode}\nmx: good.test\nmax_age: 1");
        Policy::parse("1", text.as_bytes()).unwrap()
    }

    fn dane(authentic: bool, usage: u8) -> Answer {
        let record = Tlsa { usage, selector: 1, matching: 1, data: vec![0; 32] };
        Answer::Found { records: vec![Record::Tlsa(record)], authentic }
    }

    #[test]
    fn dane_comes_before_a_policy() {
        let of = |host: &str, answer: Answer, mode: Option<&str>| {
            let policy = mode.map(policy);
            match proof("x.test", host, answer, policy.as_ref()) {
                Ok((Proof::Arguments, None)) => "arguments",
                Ok((Proof::Arguments, Some(_))) => "arguments, noted",
                Ok((Proof::Dane(..), _)) => "dane",
                Ok((Proof::Encrypted, _)) => "encrypted",
                Ok((Proof::Sts, _)) => "sts",
                Err(_) => "none",
            }
        };
        let failed = || Answer::Failed("no".into());
        for (host, answer, mode, want) in [
            ("good.test", Answer::Nothing, None, "arguments"),
            ("good.test", Answer::NoData, Some("enforce"), "sts"),
            ("bad.test", Answer::NoData, Some("enforce"), "none"),
            ("good.test", Answer::NoData, Some("testing"), "arguments"),
            ("bad.test", Answer::NoData, Some("testing"), "arguments, noted"),
            ("bad.test", Answer::NoData, Some("none"), "arguments"),
            ("bad.test", dane(true, 3), Some("enforce"), "dane"),
            ("bad.test", dane(true, 2), None, "dane"),
            ("good.test", dane(true, 1), Some("enforce"), "encrypted"),
            ("good.test", dane(false, 3), Some("enforce"), "sts"),
            ("good.test", dane(false, 3), None, "arguments"),
            ("good.test", failed(), Some("none"), "none"),
            ("good.test", failed(), None, "none"),
        ] {
            let shown = format!("{host} {answer:?} {mode:?}");
            assert_eq!(of(host, answer, mode), want, "{shown}");
        }
    }

    use crate::forward::Peer;
    use crate::hook::{Code, Hook};
    use crate::testing::Trial;

    /// A session whose recipients are accepted, with these routes and this DNS.
    fn trial(routes: &str, dns: &str) -> Trial {
        let plugins = "rcpt_ok\nqueue/smtp-forward smtproutes dane no mta_sts no";
        let files = [("me", "mx.test"), ("smtproutes", routes), ("relayclients", "192.0.2.1")];
        let mut trial = Trial::new(plugins, &files).with_dns(dns);
        trial.session.connection.relay_client = true;
        trial.mail("<a@example.net>");
        trial
    }

    #[test]
    fn recipients_of_another_way_are_for_another_transaction() {
        let mut trial = trial("one.test:[192.0.2.7]\ntwo.test:[192.0.2.7]\n:[192.0.2.8]", "");
        assert_eq!(trial.rcpt("<a@one.test>").code(), Code::Ok);
        assert_eq!(trial.rcpt("<b@two.test>").code(), Code::Ok);
        let refused = trial.rcpt("<c@three.test>");
        assert_eq!((refused.code(), refused.reply()), (Code::DenySoft, Some(452)));
        assert!(refused.text().ends_with("(#4.5.3)"), "{}", refused.text());
        assert_eq!(trial.rcpt("<d@one.test>").code(), Code::Ok);
        assert_eq!(trial.session.transaction.recipients().len(), 3);
    }

    #[test]
    fn what_the_domain_name_system_says_is_said_at_rcpt() {
        for (dns, code, reply) in [
            ("x.test MX 0 .", Code::Deny, Some(556)),
            ("", Code::Deny, Some(550)),
            ("x.test MX failed", Code::DenySoft, Some(451)),
            ("x.test MX 1 mx.test\nmx.test A 192.0.2.1", Code::Deny, Some(554)),
            ("x.test MX 1 a.test\na.test A 192.0.2.1", Code::Ok, None),
        ] {
            let found = trial("", dns).rcpt("<b@x.test>");
            assert_eq!((found.code(), found.reply()), (code, reply), "{dns}: {}", found.text());
        }
        // Nobody asks about what is not to be taken anyway.
        let mut trial = trial("", "x.test MX failed");
        trial.session.connection.relay_client = false;
        assert_eq!(trial.rcpt("<b@x.test>").text(), "Relaying denied (#5.7.1)");
    }

    #[test]
    fn exchangers_are_tried_until_one_takes_the_message() {
        let peer = Peer::start(
            "+ 220 p\n- EHLO mx.test\n+ 250 p\n- MAIL FROM:<a@example.net>\n+ 250 ok\n\
             - RCPT TO:<b@x.test>\n+ 250 ok\n- DATA\n+ 354 go\n*\n+ 250 4XYZ\n- QUIT\n+ 221 bye\n",
        );
        let dns = "x.test MX 20 good.test\nx.test MX 10 dead.test\nx.test MX 5 gone.test\n\
            good.test A 127.0.0.1\ndead.test A 127.0.0.2\ngone.test A failed";
        let mut trial = trial(&format!("x.test::{}", peer.port), dns);
        assert_eq!(trial.rcpt("<b@x.test>").code(), Code::Ok);
        trial.message("Subject: x\n\n");
        assert_eq!(trial.plain(Hook::Queue), Verdict::ok("queued as 4XYZ"), "{}", trial.log());
        peer.end();
        let (log, port) = (trial.log(), trial.session.config("smtproutes"));
        let port = port.first().unwrap().rsplit(':').next().unwrap().to_owned();
        assert!(log.contains(&format!("forwarding to dead.test[127.0.0.2]:{port}")), "{log}");
        let done =
            format!("finished queueing: 250 4XYZ (good.test[127.0.0.1]:{port}, in the clear)");
        assert!(log.contains(&done), "{log}");
    }

    #[test]
    fn recipients_that_a_plugin_has_changed_are_not_lost() {
        let mut trial = trial("one.test:[192.0.2.7]\n:[192.0.2.8]", "");
        trial.rcpt("<a@one.test>");
        trial.session.transaction.add_recipient(Address::new("b", "two.test"));
        let verdict = trial.plain(Hook::Queue);
        assert_eq!((verdict.code(), verdict.reply()), (Code::DenySoft, Some(451)));
        assert!(trial.log().contains("recipients go to 192.0.2.7:25 and to 192.0.2.8:25"));
    }

    #[test]
    fn wrong_lines_stop_the_start_and_later_leave_the_good_ones() {
        let line = "queue/smtp-forward smtproutes";
        let files = [("me", "mx.test"), ("smtproutes", "fine.test:mx.test\nx.test:a:b")];
        let error = Trial::load(line, &files).err().unwrap().to_string();
        let wrong = "smtproutes:2: queue/smtp-forward: not a port: 'b'";
        assert!(error.ends_with(wrong), "{error}");
        let mut trial = trial("x.test:[192.0.2.7]", "");
        trial.set_config("smtproutes", "x.test:[192.0.2.8]\ny.test");
        trial.rcpt("<a@x.test>");
        assert_eq!(trial.rcpt("<b@x.test>").code(), Code::Ok);
        trial.session.transaction.set_recipients(vec![]);
        assert_eq!(trial.rcpt("<b@y.test>").reply(), Some(550), "by MX, and there is none");
        let log = trial.log();
        assert!(log.contains("smtproutes:2: the routes of before stay in use: no colon"), "{log}");
    }

    #[test]
    fn wrong_arguments_stop_the_start() {
        for (arguments, error) in [
            ("dane perhaps", "argument dane has the value 'perhaps' (expected: yes, no)"),
            ("tls first", "'tls first' is for servers that are named, not for smtproutes"),
            ("127.0.0.1", "unexpected argument '127.0.0.1' with smtproutes"),
            ("xclient", "unexpected argument 'xclient' with smtproutes"),
            ("auth_user a auth_password_file b", "unexpected argument 'auth_user' with smtproutes"),
        ] {
            let line = format!("queue/smtp-forward smtproutes {arguments}");
            let found = Trial::load(&line, &[]).err().unwrap().to_string();
            assert!(found.ends_with(error), "{found}");
        }
    }
}
