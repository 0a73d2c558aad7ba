//! Questions to the domain name system: a batch of them at once, answered by a deadline.
//!
//! What asks (SPF, block lists, ...) sees the trait [`Dns`] only, so its tests answer from a table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub mod list_check;
pub mod lists;
mod memory;
mod message;
mod resolver;
mod reverse;
mod stub;
mod system;
mod table;
#[cfg(test)]
mod tests;

pub use memory::Memory;
pub use resolver::Resolver;
pub use reverse::Iprev;
pub use stub::Stub;
pub use table::Table;

/// Something that answers questions.
pub trait Dns {
    /// Asks all questions at once; the answers come in the order of the questions.
    fn ask(&self, questions: &[Question]) -> Vec<Answer>;

    /// Asks a single question.
    fn ask_one(&self, question: Question) -> Answer {
        self.ask(std::slice::from_ref(&question)).pop().unwrap_or(Answer::Nothing)
    }
}

/// What is asked: the records of one kind at a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// The name in lower case, without the dot at its end.
    name: String,
    kind: Kind,
}

/// The kinds of records that are asked for (RFC 1035 3.2.2, RFC 3596 for AAAA).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchangers.
    Mx,
    /// Texts.
    Txt,
    /// The name of an address.
    Ptr,
    /// Name servers.
    Ns,
    /// What the certificate of a server has to be (RFC 6698).
    Tlsa,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail exchanger: its preference, the least first, and its name.
    Mx(u16, String),
    /// The octets of a text, its strings joined.
    Txt(Vec<u8>),
    /// The name that belongs to an address.
    Ptr(String),
    /// A name server.
    Ns(String),
    /// What the certificate of a server has to be.
    Tlsa(Tlsa),
}

/// A record of DANE (RFC 6698 2.1), with whatever numbers it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// What is described: 2 an authority, 3 the server's own certificate.
    pub usage: u8,
    /// Which part of the certificate: 0 all of it, 1 its public key.
    pub selector: u8,
    /// How: 0 as it is, 1 its SHA-256, 2 its SHA-512.
    pub matching: u8,
    /// The octets of that.
    pub data: Vec<u8>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// There are such records.
    Found {
        /// At least one.
        records: Vec<Record>,
        /// Does a server that is trusted say that DNSSEC proves them (RFC 4035 3.2.3)?
        authentic: bool,
    },
    /// The name exists, but has no such records.
    NoData,
    /// There is no such name, or it is none that could be asked for.
    Nothing,
    /// Nobody knows: no server answered in time, or the servers could not say.  The text says why.
    Failed(String),
}

impl Question {
    /// A question for the records of `kind` at `name`.
    pub fn new(name: &str, kind: Kind) -> Question {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        Question { name, kind }
    }

    /// A question for the addresses of `name` in the family of `ip`.
    pub fn address_like(name: &str, ip: IpAddr) -> Question {
        Question::new(name, if ip.is_ipv4() { Kind::A } else { Kind::Aaaa })
    }

    /// A question for the name of `ip` (RFC 1035 3.5, RFC 3596 2.5).
    pub fn name_of(ip: IpAddr) -> Question {
        let zone = if ip.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
        Question::new(&format!("{}.{zone}", reversed(ip)), Kind::Ptr)
    }

    /// The name, in lower case and without the dot at its end.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of records.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Answer {
    /// An answer with these records; there has to be one.
    pub fn found(records: Vec<Record>) -> Answer {
        Answer::Found { records, authentic: false }
    }

    /// The records that were found; none where there was no answer.
    pub fn records(&self) -> &[Record] {
        match self {
            Answer::Found { records, .. } => records,
            _ => &[],
        }
    }

    /// The addresses among the records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records().iter().filter_map(|record| match record {
            Record::A(ip) => Some(IpAddr::V4(*ip)),
            Record::Aaaa(ip) => Some(IpAddr::V6(*ip)),
            _ => None,
        })
    }

    /// The texts among the records.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.records().iter().filter_map(|record| match record {
            Record::Txt(text) => Some(text.as_slice()),
            _ => None,
        })
    }

    /// The names that belong to an address.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.records().iter().filter_map(|record| match record {
            Record::Ptr(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// For the fuzz target: any octets, read as an answer to a question, whatever their id.
pub(crate) fn read_any(octets: &[u8], question: &Question) -> Option<Answer> {
    let id = octets.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    match message::read(octets, question, id, false) {
        message::Response::Answer(answer) => Some(answer),
        _ => None,
    }
}

/// An address as labels from its last part to its first, as reverse zones and block lists have
/// it: decimal octets for IPv4, hexadecimal digits for IPv6 (RFC 5782 2.1, 2.4).
pub fn reversed(ip: IpAddr) -> String {
    let parts: Vec<String> = match ip {
        IpAddr::V4(ip) => ip.octets().iter().rev().map(u8::to_string).collect(),
        IpAddr::V6(ip) => {
            let nibbles = |octet: &u8| [octet & 15, octet >> 4].map(|digit| format!("{digit:x}"));
            ip.octets().iter().rev().flat_map(nibbles).collect()
        }
    };
    parts.join(".")
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
