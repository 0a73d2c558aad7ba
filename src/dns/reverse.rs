//! Does the name of an address lead back to it (RFC 8601 3, iprev)?

use std::net::IpAddr;

use crate::dns::{Answer, Dns, Question};

/// The most names of an address that are looked up.
const MOST_NAMES: usize = 10;

/// What was found out about the names of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Iprev {
    /// This name leads back to the address, or to one in the same /24 (IPv6: /64).
    Pass(String),
    /// None does; the text says which there are.
    Fail(String),
    /// Nobody knows at the moment; the text says why.
    TempError(String),
    /// It has no name.
    PermError,
}

impl Iprev {
    /// Looks up the names of `ip`, and their addresses.
    pub fn of(dns: &impl Dns, ip: IpAddr) -> Iprev {
        let answer = dns.ask_one(Question::name_of(ip));
        if let Answer::Failed(why) = &answer {
            return Iprev::TempError(why.clone());
        }
        let names: Vec<&str> = answer.names().take(MOST_NAMES).collect();
        if names.is_empty() {
            return Iprev::PermError;
        }
        let questions: Vec<Question> =
            names.iter().map(|name| Question::address_like(name, ip)).collect();
        let mut failed = None;
        for (name, answer) in names.iter().zip(dns.ask(&questions)) {
            if answer.addresses().any(|own| is_near(own, ip)) {
                return Iprev::Pass((*name).to_owned());
            }
            if let Answer::Failed(why) = answer {
                failed.get_or_insert(format!("{name}: {why}"));
            }
        }
        match failed {
            Some(why) => Iprev::TempError(why),
            None => Iprev::Fail(format!("{} does not lead back", names.join(", "))),
        }
    }
}

/// Are two addresses the same, or neighbours: in one /24, or for IPv6 in one /64?  Servers of one
/// pool stand in one network, and are not always named one by one.
pub fn is_near(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        _ => false,
    }
}
