//! The mail exchangers of a domain (RFC 5321 5.1): in which order they are tried, and what it means
//! when there is none.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};

use crate::dns::{Answer, Dns, Kind, Question, Record};
use crate::hook::Verdict;

use super::routes::address;

/// The most exchangers of a domain that are looked at.
const MOST: usize = 20;

/// A host that takes mail for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchanger {
    /// Its name, or that of the domain itself; an address in brackets has none.
    pub(super) name: Option<String>,
    /// Where it is; empty if nobody knows at the moment.
    pub(super) addresses: Vec<IpAddr>,
    /// Does DNSSEC prove that it takes the mail, and where it is?
    pub(super) is_proven: bool,
}

/// Which host is this one.
pub(super) struct Own {
    /// Its name.
    name: String,
    /// The port at which it takes mail.
    port: u16,
    /// The addresses of its interfaces.
    addresses: Vec<IpAddr>,
}

/// The exchangers of `domain` for mail to `port`, in the order in which they are tried.  Some that have
/// no address now may be among them.
///
/// # Errors
/// The refusal: for good where the domain does not exist or takes no mail, or where its mail would come
/// back to `own`; temporary where nobody knows.
pub(super) fn exchangers(
    dns: &impl Dns,
    domain: &str,
    port: u16,
    own: &Own,
) -> Result<Vec<Exchanger>, Verdict> {
    if let Some(literal) = domain.strip_prefix('[') {
        let ip = literal.strip_suffix(']').and_then(address);
        let ip = ip.ok_or_else(|| refused(550, format!("{domain} is not an address (#5.1.3)")))?;
        if own.is_at(ip, port) {
            return Err(loops(domain));
        }
        return Ok(vec![Exchanger { name: None, addresses: vec![ip], is_proven: false }]);
    }
    let (names, is_proven) = named(dns, domain)?;
    let hosts = with_addresses(dns, names, is_proven)?;
    let is_own = |host: &Exchanger| {
        host.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(&own.name))
            || host.addresses.iter().any(|ip| own.is_at(*ip, port))
    };
    // Others that are no better would hand the mail back to this one, which is nearer to its end.
    let nearest = hosts.iter().filter(|(_, host)| is_own(host)).map(|(preference, _)| *preference);
    let nearest = nearest.min();
    let better = |preference: u16| nearest.is_none_or(|own| preference < own);
    let hosts = hosts.into_iter().filter(|(preference, _)| better(*preference));
    let hosts: Vec<Exchanger> = hosts.map(|(_, host)| host).collect();
    match hosts.iter().any(|host| !host.addresses.is_empty()) {
        true => Ok(hosts),
        false if !hosts.is_empty() => Err(not_now(domain, "no address of its exchangers")),
        false if nearest.is_some() => Err(loops(domain)),
        false => Err(refused(550, format!("no host takes mail for {domain} (#5.4.4)"))),
    }
}

/// The names of the exchangers with their preferences, in order; the domain itself where there are no
/// MX records.
fn named(dns: &impl Dns, domain: &str) -> Result<(Vec<(u16, String)>, bool), Verdict> {
    let (records, is_proven) = match dns.ask_one(Question::new(domain, Kind::Mx)) {
        Answer::Found { records, authentic } => (records, authentic),
        // Whether that is proven is found out with the addresses.
        Answer::NoData => return Ok((vec![(0, domain.to_owned())], true)),
        Answer::Nothing => {
            return Err(refused(550, format!("there is no domain {domain} (#5.1.2)")));
        }
        Answer::Failed(why) => return Err(not_now(domain, &why)),
    };
    let found = records.into_iter().filter_map(|record| match record {
        Record::Mx(preference, name) => Some((preference, name)),
        _ => None,
    });
    let mut found: Vec<_> = found.filter(|(_, name)| !name.is_empty()).collect();
    if found.is_empty() {
        // RFC 7505: the only one is the root.
        return Err(refused(556, format!("{domain} takes no mail (#5.1.10)")));
    }
    let chance = RandomState::new();
    found.sort_by_key(|(preference, name)| (*preference, chance.hash_one(name)));
    found.truncate(MOST);
    Ok((found, is_proven))
}

/// The hosts with their preferences and addresses; those that certainly have no address are left out.
fn with_addresses(
    dns: &impl Dns,
    names: Vec<(u16, String)>,
    is_proven: bool,
) -> Result<Vec<(u16, Exchanger)>, Verdict> {
    let kinds =
        |(_, name): &(u16, String)| [Kind::Aaaa, Kind::A].map(|kind| Question::new(name, kind));
    let questions: Vec<Question> = names.iter().flat_map(kinds).collect();
    let answers = dns.ask(&questions);
    let hosts =
        names.into_iter().zip(answers.chunks(2)).filter_map(|((preference, name), answers)| {
            let addresses: Vec<IpAddr> = answers.iter().flat_map(Answer::addresses).collect();
            let is_failed = answers.iter().any(|answer| matches!(answer, Answer::Failed(_)));
            let is_signed = answers
                .iter()
                .any(|answer| matches!(answer, Answer::Found { authentic: true, .. }));
            let is_proven = is_proven && is_signed;
            (is_failed || !addresses.is_empty())
                .then_some((preference, Exchanger { name: Some(name), addresses, is_proven }))
        });
    Ok(hosts.collect())
}

impl Own {
    /// This host under that name.
    pub(super) fn here(name: String, port: u16) -> Own {
        let address = |interface: InterfaceAddress| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
        };
        let interfaces = getifaddrs().into_iter().flatten();
        Own { name, port, addresses: interfaces.filter_map(address).collect() }
    }

    /// Is this host there?  The addresses of the loopback interface, of which there are many, are where
    /// it is only at its own port.
    fn is_at(&self, ip: IpAddr, port: u16) -> bool {
        let ip = ip.to_canonical();
        match ip.is_loopback() {
            true => port == self.port,
            false => ip.is_unspecified() || self.addresses.contains(&ip),
        }
    }
}

fn loops(domain: &str) -> Verdict {
    refused(554, format!("mail for {domain} would come back to this server (#5.4.6)"))
}

fn refused(code: u16, text: String) -> Verdict {
    Verdict::deny(text).with_reply(code)
}

fn not_now(domain: &str, why: &str) -> Verdict {
    let text = format!("the domain name system does not answer about {domain}: {why} (#4.4.3)");
    Verdict::denysoft(text).with_reply(451)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Table;

    fn own() -> Own {
        let addresses = vec![IpAddr::from([192, 0, 2, 9])];
        Own { name: "me.test".into(), port: 2525, addresses }
    }

    /// The names, or the code and the status of the refusal.
    fn found(table: &str, domain: &str) -> Result<String, String> {
        let found = exchangers(&Table::new(table), domain, 25, &own());
        let name = |host: &Exchanger| {
            let name = host.name.as_deref().unwrap_or("-");
            let count = host.addresses.len();
            format!("{name}={count}")
        };
        found.map(|hosts| hosts.iter().map(name).collect::<Vec<_>>().join(" ")).map_err(|refusal| {
            let text = refusal.text();
            let status = &text[text.rfind("(#").unwrap()..];
            format!("{} {status}", refusal.reply().unwrap())
        })
    }

    #[test]
    fn exchangers_come_by_preference() {
        let table = "x.test MX 20 b.test\nx.test MX 10 a.test\nx.test MX 30 c.test\n\
            a.test A 192.0.2.1\na.test AAAA 2001:db8::1\nb.test A 192.0.2.2\nc.test TXT x";
        assert_eq!(found(table, "x.test").unwrap(), "a.test=2 b.test=1");
        assert_eq!(found("x.test A 192.0.2.1", "x.test").unwrap(), "x.test=1");
        assert_eq!(found("", "[192.0.2.1]").unwrap(), "-=1");
        assert_eq!(found("", "[ipv6:2001:db8::1]").unwrap(), "-=1");
    }

    #[test]
    fn equals_come_in_any_order() {
        let table =
            "x.test MX 10 a.test\nx.test MX 10 b.test\na.test A 192.0.2.1\nb.test A 192.0.2.2";
        let mut orders: Vec<String> = (0..200).map(|_| found(table, "x.test").unwrap()).collect();
        orders.sort();
        orders.dedup();
        assert_eq!(orders, ["a.test=1 b.test=1", "b.test=1 a.test=1"]);
    }

    #[test]
    fn what_is_certain_is_refused_for_good_and_what_is_not_for_now() {
        for (table, want) in [
            ("", "550 (#5.1.2)"),
            ("x.test TXT nothing else", "550 (#5.4.4)"),
            ("x.test MX 0 .", "556 (#5.1.10)"),
            ("x.test MX 10 a.test", "550 (#5.4.4)"),
            ("x.test MX failed", "451 (#4.4.3)"),
            ("x.test MX 10 a.test\na.test A failed", "451 (#4.4.3)"),
            ("x.test MX 10 a.test\nx.test MX 20 b.test\nb.test AAAA failed", "451 (#4.4.3)"),
            ("x.test MX 10 me.test\nme.test A 192.0.2.1", "554 (#5.4.6)"),
            ("x.test A 0.0.0.0", "554 (#5.4.6)"),
            ("x.test A 192.0.2.9", "554 (#5.4.6)"),
        ] {
            assert_eq!(found(table, "x.test").unwrap_err(), want, "{table}");
        }
        assert_eq!(found("", "[192.0.2]").unwrap_err(), "550 (#5.1.3)");
        // An exchanger of which nothing is known at the moment does not keep from another one.
        let table = "x.test MX 10 a.test\nx.test MX 20 b.test\na.test A failed\nb.test A 192.0.2.1";
        assert_eq!(found(table, "x.test").unwrap(), "a.test=0 b.test=1");
    }

    #[test]
    fn mail_does_not_go_round_in_circles() {
        let table = "x.test MX 10 a.test\nx.test MX 20 me.test\nx.test MX 20 b.test\n\
            x.test MX 30 c.test\na.test A 192.0.2.1\nb.test A 192.0.2.2\nc.test A 192.0.2.3\n\
            me.test A 192.0.2.9";
        assert_eq!(found(table, "x.test").unwrap(), "a.test=1");
        // By its address, at any port of its own but of those on the loopback interface.
        let at = |domain: &str, port| exchangers(&Table::new(""), domain, port, &own()).is_ok();
        assert!(at("[127.0.0.1]", 25) && !at("[127.0.0.1]", 2525) && !at("[ipv6:::1]", 2525));
        assert!(at("[192.0.2.1]", 2525) && !at("[192.0.2.9]", 25));
        let here = Own::here("me.test".into(), 25);
        assert!(here.addresses.iter().any(IpAddr::is_loopback), "{:?}", here.addresses);
    }

    #[test]
    fn what_is_signed_all_the_way_is_proven() {
        let table =
            Table::new("x.test MX 10 a.test\na.test A 192.0.2.1\na.test A 192.0.2.2").signed();
        let found = exchangers(&table, "x.test", 25, &own()).unwrap();
        assert!(found[0].is_proven);
        let unsigned = Answer::found(vec![Record::A([192, 0, 2, 1].into())]);
        let table = table.with(Question::new("a.test", Kind::A), unsigned);
        assert!(!exchangers(&table, "x.test", 25, &own()).unwrap()[0].is_proven);
    }
}
