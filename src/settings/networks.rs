//! Lists of networks and of ports.

use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;

use super::network;

/// Addresses and networks.  A clone is the same list.
#[derive(Debug, Clone, Default)]
pub struct Networks(Rc<[IpNet]>);

/// Ports.  A clone is the same list.
#[derive(Debug, Clone, Default)]
pub struct Ports(Rc<[u16]>);

impl Networks {
    /// Reads words such as `192.0.2.1` and `2001:db8::/32`.  None: one is neither an address nor a
    /// network.
    pub(super) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Option<Networks> {
        words.map(network).collect::<Option<_>>().map(Networks)
    }

    /// Is `ip` one of the addresses, or in one of the networks?
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
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
