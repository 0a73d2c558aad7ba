//! By what things are counted, and lists of whom a line is about.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::config::network;
use crate::error::{Error, Result};
use crate::mail::{entries, host};
use crate::settings::Networks;

/// By what it is counted, with the lengths of the networks of IPv4 and IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Address(u8, u8),
    Name,
    Organization,
    Sender,
    SenderDomain,
    User,
    Recipient,
    RecipientDomain,
}

/// Who is not counted, by one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// May relay, for whatever reason.
    Ours,
    /// May relay by its address.
    RelayClients,
    /// Has authenticated.
    Users,
    /// Is on a white list.
    Whitelisted,
}

/// Addresses, names or mail addresses of a line.
#[derive(Debug)]
pub(super) enum Values {
    Networks(Networks),
    Hosts(HashSet<String>),
    Addresses(HashSet<String>),
}

/// What is known of something that happens.
pub(super) trait Event {
    fn ip(&self) -> Option<IpAddr>;
    /// As entries have it; of an address without its network.
    fn value(&self, by: By) -> Option<String>;
    fn is(&self, word: Word) -> bool;
}

/// THE table of by what.
pub(super) const BYS: [(By, &str); 9] = [
    (By::Address(32, 64), "address"),
    (By::Address(24, 48), "network"),
    (By::Name, "name"),
    (By::Organization, "organization"),
    (By::Sender, "sender"),
    (By::SenderDomain, "sender_domain"),
    (By::User, "user"),
    (By::Recipient, "recipient"),
    (By::RecipientDomain, "recipient_domain"),
];

pub(super) const WORDS: [(Word, &str); 4] = [
    (Word::Ours, "ours"),
    (Word::RelayClients, "relay_clients"),
    (Word::Users, "users"),
    (Word::Whitelisted, "whitelisted"),
];

impl By {
    /// Reads `sender`, `address`, `address/24`, `address/24/56`; `known` says what else it can be.
    pub(super) fn parse(text: &str, known: impl Fn() -> String) -> Result<By> {
        let mut parts = text.split('/');
        let name = parts.next().unwrap_or_default();
        let lengths: Vec<&str> = parts.collect();
        let found = BYS.iter().find(|(_, own)| *own == name).map(|(by, _)| *by);
        match (found, &lengths[..]) {
            (Some(by), []) => Ok(by),
            (Some(By::Address(_, v6)), [own]) if name == "address" => {
                Ok(By::Address(length(own, 32)?, v6))
            }
            (Some(By::Address(..)), [v4, v6]) if name == "address" => {
                Ok(By::Address(length(v4, 32)?, length(v6, 128)?))
            }
            _ => Err(Error::new(format!("'{text}' is not known: {}", known()))),
        }
    }

    /// Is it about the client's address?
    pub(super) fn is_address(self) -> bool {
        matches!(self, By::Address(..))
    }

    /// Is it about a recipient?
    pub(super) fn is_recipient(self) -> bool {
        matches!(self, By::Recipient | By::RecipientDomain)
    }
}

impl Values {
    pub(super) fn parse(by: By, words: &str) -> Result<Values> {
        let words = || words.split_whitespace();
        if words().next().is_none() {
            return Err("nobody is named".into());
        }
        match by {
            By::Address(..) => {
                let read = |word| {
                    network(word).ok_or_else(|| format!("not an address or network: '{word}'"))
                };
                let networks = words().map(read).collect::<std::result::Result<Vec<_>, _>>()?;
                Ok(Values::Networks(networks.into_iter().collect()))
            }
            By::Name | By::Organization | By::SenderDomain | By::RecipientDomain => {
                let hosts = words().map(entries::domain);
                Ok(Values::Hosts(hosts.collect::<std::result::Result<_, _>>()?))
            }
            By::User => Ok(Values::Addresses(words().map(host::address_key).collect())),
            By::Sender | By::Recipient => {
                let addresses = words().map(entries::address_or_at_host);
                Ok(Values::Addresses(addresses.collect::<std::result::Result<_, _>>()?))
            }
        }
    }

    pub(super) fn contain(&self, by: By, event: &dyn Event) -> bool {
        match self {
            Values::Networks(networks) => event.ip().is_some_and(|ip| networks.contains(ip)),
            Values::Hosts(hosts) => event.value(by).is_some_and(|name| {
                let dots = name.match_indices('.').map(|(at, _)| &name[at..]);
                hosts.contains(&name) || dots.into_iter().any(|parent| hosts.contains(parent))
            }),
            Values::Addresses(addresses) => event.value(by).is_some_and(|address| {
                let host = address.rfind('@').map(|at| &address[at..]);
                addresses.contains(&address) || host.is_some_and(|host| addresses.contains(host))
            }),
        }
    }
}

fn length(text: &str, most: u8) -> Result<u8> {
    let found = text.parse().ok().filter(|length| *length <= most);
    found
        .ok_or_else(|| Error::new(format!("'{text}' is not the length of a network (0 to {most})")))
}

/// The names of a table.
pub(super) fn names<T>(table: &[(T, &str)]) -> String {
    table.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}
