//! What comes of a question, and who answers it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::question::Question;

/// Something that answers questions.
pub trait Dns {
    /// Asks all questions at once; the answers come in the order of the questions.
    fn ask(&self, questions: &[Question]) -> Vec<Answer>;

    /// Asks a single question.
    fn ask_one(&self, question: Question) -> Answer {
        self.ask(std::slice::from_ref(&question)).pop().unwrap_or(Answer::Nothing)
    }
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
