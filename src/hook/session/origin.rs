//! Who sent this message: what plugins share of it.

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Session;
use crate::dns::Dns;
use crate::mail::{Address, host};
use crate::origin::{arc, dkim, dmarc, spf};
use crate::state::results::Spf;

impl Session {
    /// What SPF says of the sender and of the name in HELO; it is found out once in a transaction.
    pub fn check_spf(&mut self) {
        if self.transaction.results.helo.is_some() {
            return;
        }
        let sender = self.transaction.sender().cloned();
        self.check_spf_of(sender.as_ref());
    }

    /// The same for a sender that MAIL has just named; None, or a null sender: HELO's name counts.
    pub fn check_spf_of(&mut self, sender: Option<&Address>) {
        let path = sender.filter(|sender| !sender.is_null()).map(|sender| sender.address());
        let helo = self.connection.hello_host.clone();
        let receiver = self.me();
        let query = spf::Query {
            ip: self.connection.remote_ip,
            helo: &helo,
            sender: path.as_deref().unwrap_or(""),
            receiver: &receiver,
            now: now(),
        };
        let dns = self.dns();
        spf::ask_ahead(&dns, &query);
        let finding = spf::check_helo(&dns, &query);
        self.transaction.results.helo = Some(Spf { domain: helo.clone(), finding });
        self.transaction.results.spf =
            sender.filter(|sender| !sender.host().is_empty()).map(|sender| {
                let finding = spf::check_sender(&dns, &query);
                Spf { domain: host::canonical(sender.host()).into_owned(), finding }
            });
    }

    /// What the signatures of the message prove, from `data_post_headers` on; it is found out once
    /// in a transaction.
    ///
    /// # Errors
    /// The message cannot be read from the spool.
    pub fn check_signatures(&mut self) -> io::Result<&[dkim::Finding]> {
        if self.transaction.results.dkim.is_none() {
            let dns = self.dns();
            let header = self.transaction.header.clone();
            let fields: Vec<&[u8]> = header.fields().collect();
            let mut verifier = dkim::Verifier::new(fields);
            let mut questions = verifier.questions();
            // What DMARC and ARC are going to ask is asked together with the keys.
            if self.has_plugin("dmarc") {
                for author in self.authors().into_iter().take(dmarc::MOST_AUTHORS) {
                    questions.extend(dmarc::questions(&author));
                }
                questions.extend(verifier.domains().flat_map(dmarc::questions));
            }
            if self.has_plugin("arc") {
                questions.extend(arc::Verifier::new(header.fields().collect()).questions());
            }
            dns.ask(&questions);
            if !verifier.is_empty() {
                self.each_piece_of_text(|octets| verifier.body(octets))?;
            }
            self.transaction.results.dkim = Some(verifier.finish(&dns, now()));
        }
        Ok(self.transaction.results.dkim.as_deref().unwrap_or_default())
    }

    /// The domains of the message's authors, by its From; one more than the most that are looked up
    /// where there are too many.
    pub fn authors(&self) -> Vec<String> {
        let froms = self.transaction.header.get_all("From");
        let mut all: Vec<String> = froms.flat_map(|value| dmarc::author_domains(&value)).collect();
        all.iter_mut().for_each(|domain| *domain = host::canonical(domain).into_owned());
        let mut known = HashSet::new();
        all.retain(|domain| known.insert(domain.clone()));
        all.truncate(dmarc::MOST_AUTHORS + 1);
        all
    }

    /// Is the message from its authors' domains?  It is found out once in a transaction, SPF and
    /// DKIM included.  `discovery` says how the domains of organizations are found.
    ///
    /// # Errors
    /// The message cannot be read from the spool.
    pub fn check_dmarc(
        &mut self,
        discovery: dmarc::Discovery<'_>,
    ) -> io::Result<&[dmarc::Finding]> {
        if self.transaction.results.dmarc.is_empty() {
            self.check_spf();
            let signatures = self.check_signatures()?.to_vec();
            let dns = self.dns();
            let findings = self
                .authors()
                .iter()
                .take(dmarc::MOST_AUTHORS)
                .map(|author| {
                    let evidence = self.evidence(&signatures);
                    dmarc::check(&dns, author, &evidence, discovery)
                })
                .collect();
            self.transaction.results.dmarc = findings;
        }
        Ok(&self.transaction.results.dmarc)
    }

    /// What servers on the way found out, under their seals; it is found out once in a transaction.
    ///
    /// # Errors
    /// The message cannot be read from the spool.
    pub fn check_seals(&mut self) -> io::Result<&arc::Finding> {
        if self.transaction.results.arc.is_none() {
            let dns = self.dns();
            let header = self.transaction.header.clone();
            let mut verifier = arc::Verifier::new(header.fields().collect());
            if !verifier.is_empty() {
                self.each_piece_of_text(|octets| verifier.body(octets))?;
            }
            self.transaction.results.arc = Some(verifier.finish(&dns));
        }
        Ok(self.transaction.results.arc.get_or_insert_default())
    }

    /// Goes through the text of the message, without the empty line in front of it.
    ///
    /// # Errors
    /// The message cannot be read from the spool.
    pub fn each_piece_of_text(&self, take: impl FnMut(&[u8])) -> io::Result<()> {
        let body = &self.transaction.body;
        body.copy_from(body.start(), &mut Text { empty_line: b"\r\n", take })
    }

    fn evidence<'a>(&'a self, dkim: &'a [dkim::Finding]) -> dmarc::Evidence<'a> {
        dmarc::Evidence { spf: self.transaction.results.spf_for_dmarc(), dkim }
    }
}

/// Hands pieces on, but for the empty line in front of them.
struct Text<F> {
    empty_line: &'static [u8],
    take: F,
}

impl<F: FnMut(&[u8])> Write for Text<F> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut rest = octets;
        while let (Some(expected), Some(octet)) = (self.empty_line.first(), rest.first()) {
            if expected == octet {
                rest = &rest[1..];
            }
            // An empty line that ends in LF alone has no CR.
            self.empty_line = &self.empty_line[1..];
        }
        if !rest.is_empty() {
            (self.take)(rest);
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
