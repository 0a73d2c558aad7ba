//! Lists of networks and of ports.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ipnet::IpNet;

use super::network;

/// Addresses and networks.  A clone is the same list.
#[derive(Debug, Clone, Default)]
pub struct Networks(Rc<Lists>);

#[derive(Debug, Default)]
struct Lists {
    /// Networks of one address, of which there may be many.
    addresses: HashSet<IpAddr>,
    networks: Vec<IpNet>,
}

/// A server that answers questions to the domain name system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Is it trusted to have checked what it marks as authentic (RFC 6840 5.8)?
    pub trusted: bool,
}

/// Name servers in their order.  A clone is the same list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameServers(Rc<[NameServer]>);

/// Ports.  A clone is the same list.
#[derive(Debug, Clone, Default)]
pub struct Ports(Rc<[u16]>);

impl Networks {
    /// Reads words such as `192.0.2.1` and `2001:db8::/32`.  None: one is neither an address nor a
    /// network.
    pub(super) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Option<Networks> {
        words.map(network).collect()
    }

    /// Is `ip` one of the addresses, or in one of the networks?
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.addresses.contains(&ip) || self.0.networks.iter().any(|own| own.contains(&ip))
    }
}

/// Of networks as [`network`](fn@network) reads them.
impl FromIterator<IpNet> for Networks {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Networks {
        let mut lists = Lists::default();
        for network in networks {
            if network.prefix_len() == network.max_prefix_len() {
                lists.addresses.insert(network.addr());
            } else {
                lists.networks.push(network);
            }
        }
        Networks(Rc::new(lists))
    }
}

impl NameServer {
    /// A server at `address`.  One on this machine is trusted, as nobody stands between.
    pub fn at(address: SocketAddr) -> NameServer {
        NameServer { address, trusted: address.ip().to_canonical().is_loopback() }
    }

    /// Reads `ADDRESS[:PORT] [trusted]`, an IPv6 address with a port in brackets.
    pub(super) fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<NameServer> {
        let word = words.next()?;
        let address = word.parse().ok().or_else(|| {
            let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
            let ip: IpAddr = bare.unwrap_or(word).parse().ok()?;
            Some(SocketAddr::new(ip, 53))
        })?;
        let server = NameServer::at(address);
        match (words.next(), words.next()) {
            (None, _) => Some(server),
            (Some("trusted"), None) => Some(NameServer { trusted: true, ..server }),
            _ => None,
        }
    }
}

impl NameServers {
    /// They, in order.
    pub fn as_slice(&self) -> &[NameServer] {
        &self.0
    }
}

impl From<Vec<NameServer>> for NameServers {
    fn from(servers: Vec<NameServer>) -> NameServers {
        NameServers(servers.into())
    }
}

impl Ports {
    /// Reads numbers from 1 to 65535.  None: a word is no such number.
    pub(super) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Option<Ports> {
        words
            .map(|word| word.parse().ok().filter(|port| *port > 0))
            .collect::<Option<_>>()
            .map(Ports)
    }

    /// Is `port` one of them?
    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
