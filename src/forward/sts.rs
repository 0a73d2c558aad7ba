//! MTA-STS (RFC 8461): the policy of a domain, fetched from its web server when its record is new, and
//! remembered in the store by all processes.

mod policy;

pub(crate) use policy::{Mode, Policy, read_any};

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::dns::{Answer, Dns, Kind, Question};
use crate::hook::Session;
use crate::log::Level;
use crate::net::Http;
use crate::store::Kept;

use policy::id_of;

/// The table of the store with the policies of domains.
pub(crate) const TABLE: &str = "mta_sts";

/// The largest policy, in octets (RFC 8461 3.2).
const LARGEST: u64 = 64 * 1024;

/// The longest wait for a web server.
const FETCH: Duration = Duration::from_secs(20);

/// How long a policy is not fetched again after that did not work (RFC 8461 3.3).
const REST: Duration = Duration::from_secs(300);

/// What fetches policies.
#[derive(Debug)]
pub(crate) struct Sts {
    tls: Arc<ClientConfig>,
    port: u16,
}

impl Sts {
    /// Believes web servers that `tls` does.
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Sts {
        Sts { tls, port: 443 }
    }

    /// The policy that holds for `domain`; None where there is none, or none that can be had: then its
    /// mail is sent as if there were none (RFC 8461 5).
    pub(super) fn policy(&self, session: &Session, domain: &str) -> Option<Policy> {
        let table = session.store(TABLE);
        let known: Option<Policy> = table.get(domain).unwrap_or_default();
        let record = session.dns().ask_one(Question::new(&format!("_mta-sts.{domain}"), Kind::Txt));
        // A record that is gone, or is kept from us, does not end a policy before its time.
        let Some(id) = id_of(record.texts()) else { return known };
        if known.as_ref().is_some_and(|known| known.id == id) {
            return known;
        }
        let failed = format!("{domain} {id}");
        if table.get::<String>(&failed).is_ok_and(|mark| mark.is_some()) {
            return known;
        }
        match session.outside("mta-sts", || self.fetch(session, domain, &id)) {
            Ok(policy) => {
                session.log(Level::Info, format_args!("the MTA-STS policy of {domain}: {policy}"));
                if let Err(error) = table.put(domain, &policy, policy.age) {
                    session.log(Level::Info, format_args!("it is not remembered: {error}"));
                }
                Some(policy)
            }
            Err(error) => {
                session.log(
                    Level::Notice,
                    format_args!("the MTA-STS policy of {domain} cannot be fetched: {error}"),
                );
                let _ = table.put(&failed, "failed", REST);
                known
            }
        }
    }

    /// Gets the policy from the domain's web server (RFC 8461 3.3).
    fn fetch(&self, session: &Session, domain: &str, id: &str) -> io::Result<Policy> {
        let host = format!("mta-sts.{domain}");
        let questions = [Kind::Aaaa, Kind::A].map(|kind| Question::new(&host, kind));
        let answers = session.dns().ask(&questions);
        let addresses: Vec<IpAddr> = answers.iter().flat_map(Answer::addresses).collect();
        let until = session.deadline().min(Instant::now() + FETCH);
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let url = format!("https://{host}{port}/.well-known/mta-sts.txt");
        let page = Http::found(self.tls.clone(), addresses)?.get(&url, LARGEST, until)?;
        if page.status != 200 {
            return Err(io::Error::other(format!("{} {}", page.status, page.reason)));
        }
        Policy::parse(id, &page.content).map_err(io::Error::other)
    }
}

/// What an entry of the store means, for people.
pub(crate) fn explain(kept: &Kept) -> String {
    let left = kept.left.as_secs();
    match (kept.key.split_once(' '), kept.value.parse::<Policy>()) {
        (Some((domain, id)), _) => {
            format!("the policy {id} of {domain} could not be fetched; next try in {left} s")
        }
        (None, Ok(policy)) => {
            let mode = match policy.mode {
                Mode::Enforce => "mail goes only to servers that comply",
                Mode::Testing => "servers that do not comply are written to the log",
                Mode::None => "it demands nothing",
            };
            format!("{}: policy {}: {mode}; forgotten in {left} s", kept.key, policy.id)
        }
        (None, Err(())) => format!("{}: unreadable", kept.key),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use rustls::{ServerConnection, StreamOwned};

    use super::*;
    use crate::dns::{Resolver, Table};
    use crate::hook::Hook;
    use crate::net::self_signed;
    use crate::testing::Trial;

    /// A web server for mta-sts.x.test that gives these answers, one a connection; and what believes in
    /// it.
    fn server(answers: &[&str]) -> (Sts, JoinHandle<()>) {
        let (config, certificate) = self_signed("mta-sts.x.test");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let server = thread::spawn(move || {
            for answer in answers {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(connection, listener.accept().unwrap().0);
                let mut request = vec![];
                while !request.ends_with(b"\r\n\r\n") {
                    let mut octet = [0];
                    stream.read_exact(&mut octet).unwrap();
                    request.push(octet[0]);
                }
                assert!(request.starts_with(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"));
                // Who has read enough closes the connection.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), certificate).unwrap();
        let tls = crate::net::verified(Some(ca.path().into())).unwrap();
        (Sts { tls, port }, server)
    }

    fn ok(mode: &str) -> String {
        let text = format!("version: STSv1\nmode: {mode}\nmx: mx.x.test\nmax_age: 1000\n");
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
    }

    /// The mode of the policy, where the domain has this record.
    fn mode(sts: &Sts, trial: &mut Trial, record: &str) -> Option<Mode> {
        let record = match record {
            "" => String::new(),
            record => format!("_mta-sts.x.test TXT {record}"),
        };
        let table = Table::new(&format!("mta-sts.x.test A 127.0.0.1\n{record}"));
        trial.session.connection.set_resolver(Resolver::over(table));
        trial.session.enter(0, Hook::Queue, Instant::now(), Duration::from_secs(60));
        sts.policy(&trial.session, "x.test").map(|policy| policy.mode)
    }

    #[test]
    fn a_policy_is_fetched_when_its_record_is_new_and_holds_as_long_as_it_says() {
        let answers = [ok("enforce"), ok("testing"), "HTTP/1.1 404 Not Found\r\n\r\n".into()];
        let (sts, server) = server(&answers.each_ref().map(String::as_str));
        let mut trial = Trial::new("queue/discard", &[]);
        trial.set_clock(1_000_000);
        assert_eq!(mode(&sts, &mut trial, ""), None);
        let one = "v=STSv1; id=1;";
        assert_eq!(mode(&sts, &mut trial, one), Some(Mode::Enforce));
        // It is not fetched again, and holds when the record is gone or nobody answers.
        for record in [one, "", "failed", "v=STSv1; id=bad id;"] {
            assert_eq!(mode(&sts, &mut trial, record), Some(Mode::Enforce), "{record}");
        }
        assert_eq!(mode(&sts, &mut trial, "v=STSv1; id=2;"), Some(Mode::Testing));
        // What cannot be had is left alone for a while, and leaves the one before.
        for _ in 0..2 {
            assert_eq!(mode(&sts, &mut trial, "v=STSv1; id=3;"), Some(Mode::Testing));
        }
        server.join().unwrap();
        assert!(trial.log().contains("cannot be fetched: 404 Not Found"), "{}", trial.log());
        trial.set_clock(1_001_000);
        assert_eq!(mode(&sts, &mut trial, ""), None);
    }

    #[test]
    fn who_cannot_prove_its_name_or_says_nonsense_has_no_policy() {
        let large = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(200_000));
        let moved = "HTTP/1.1 301 Moved\r\nlocation: https://elsewhere.test/\r\n\r\n";
        let (sts, server) =
            server(&[&large, moved, "220 hello\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"]);
        for (id, why) in [
            (1, "the answer is too large"),
            (2, "301 Moved Permanently"),
            (3, "the answer is not HTTP"),
            (4, "it is not of the version STSv1"),
        ] {
            let mut trial = Trial::new("queue/discard", &[]);
            assert_eq!(mode(&sts, &mut trial, &format!("v=STSv1; id={id};")), None);
            assert!(trial.log().contains(why), "{}", trial.log());
        }
        server.join().unwrap();
    }

    #[test]
    fn people_are_told_what_an_entry_means() {
        let kept = |key: &str, value: &str| Kept {
            key: key.into(),
            raw: key.into(),
            value: value.into(),
            left: Duration::from_secs(9),
            now: Duration::ZERO,
        };
        for (key, value, want) in [
            ("x.test", "1 enforce 9 mx.x.test", {
                "x.test: policy 1: mail goes only to servers that comply; forgotten in 9 s"
            }),
            ("x.test 2", "failed", {
                "the policy 2 of x.test could not be fetched; next try in 9 s"
            }),
            ("x.test", "junk", "x.test: unreadable"),
        ] {
            assert_eq!(explain(&kept(key, value)), want);
        }
    }
}
