//! What is asked of the domain name system.

use std::net::IpAddr;

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
