//! A server that a message may be given to, and what it has to prove before.

use std::fmt;
use std::net::IpAddr;

use crate::dns::Tlsa;
use crate::net::Endpoint;

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Where it is.
    pub(super) endpoint: Endpoint,
    /// Its name, where that is another one than the host of the endpoint.
    pub(super) name: Option<String>,
    /// What it has to prove.
    pub(super) proof: Proof,
}

/// How a server proves that it is the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// As the arguments of the plugin say.
    Arguments,
    /// With a certificate that one of the records describes, where they have names for one of the
    /// server's and that domain's (RFC 7672).
    Dane(Vec<Tlsa>, String),
    /// Not at all, but under TLS: nothing can be made of its DANE records (RFC 7672 2.2).
    Encrypted,
    /// With a certificate of a known authority for its name: MTA-STS wants it (RFC 8461 4.2).
    Sts,
}

impl Target {
    /// One that a postmaster has named.
    pub(super) fn named(endpoint: Endpoint) -> Target {
        Target { endpoint, name: None, proof: Proof::Arguments }
    }

    /// An exchanger at one of its addresses.
    pub(super) fn exchanger(name: Option<&str>, ip: IpAddr, port: u16, proof: Proof) -> Target {
        let endpoint = Endpoint::Tcp { host: ip.to_string(), port };
        Target { endpoint, name: name.map(str::to_owned), proof }
    }

    /// The name for which its certificate is.
    pub(super) fn host(&self) -> &str {
        match (&self.name, &self.endpoint) {
            (Some(name), _) => name,
            (None, Endpoint::Tcp { host, .. }) => host,
            (None, Endpoint::Unix(_)) => "",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.endpoint) {
            (Some(name), Endpoint::Tcp { host, port }) => write!(f, "{name}[{host}]:{port}"),
            (_, endpoint) => write!(f, "{endpoint}"),
        }
    }
}
