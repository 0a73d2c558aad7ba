//! The four lists: what a line of each may be, and who is on it.

use std::collections::HashSet;
use std::net::IpAddr;

use super::Found;
use crate::config::{Lines, network};
use crate::error::Error;
use crate::hook::Session;
use crate::mail::entries::{self, first_words};
use crate::mail::patterns::is_whole;
use crate::mail::{Address, host};
use crate::settings::Networks;

/// One of the four lists, as it is searched for a recipient.
pub(super) struct List {
    pub(super) file: &'static str,
    pub(super) found: Found,
    has: fn(&Lines, &Session, &Address) -> bool,
}

pub(super) const LISTS: [List; 4] = [
    List {
        file: "whitelisthosts",
        found: Found::Host,
        has: |lines, session, _| {
            Hosts::parse(lines, &mut vec![]).contain(session.connection.remote_ip)
        },
    },
    List {
        file: "whitelisthelo",
        found: Found::Name,
        has: |lines, session, _| {
            let name = host::canonical(&session.connection.hello_host);
            names(lines, &mut vec![]).contains(&*name)
        },
    },
    List {
        file: "whitelistsenders",
        found: Found::Sender,
        has: |lines, session, _| {
            let sender = session.transaction.sender();
            let words = addresses(lines, &mut vec![]);
            sender.is_some_and(|sender| has_address(&words, sender))
        },
    },
    List {
        file: "whitelistrcpt",
        found: Found::Recipient,
        has: |lines, _, recipient| has_address(&addresses(lines, &mut vec![]), recipient),
    },
];

impl List {
    pub(super) fn contains(&self, lines: &Lines, session: &Session, recipient: &Address) -> bool {
        !lines.is_empty() && (self.has)(lines, session, recipient)
    }
}

/// The list that counts for a recipient, and whether it is one of its own.
pub(super) fn own_list(session: &mut Session, recipient: &Address, list: &List) -> (Lines, bool) {
    let server = session.config(list.file);
    let lines = session.config_for(recipient, list.file);
    let is_own = !lines.same(&server) && !lines.iter().eq(server.iter());
    (lines, is_own)
}

/// The words of a list of names.
pub(super) fn names(lines: &Lines, problems: &mut Vec<Error>) -> HashSet<String> {
    first_words(lines, problems, entries::single_host)
}

/// The words of a list of senders or recipients.
pub(super) fn addresses(lines: &Lines, problems: &mut Vec<Error>) -> HashSet<String> {
    first_words(lines, problems, entries::address_or_host)
}

pub(super) fn has_address(words: &HashSet<String>, address: &Address) -> bool {
    is_whole(address)
        && (words.contains(&address.key()) || words.contains(&*address.canonical_host()))
}

/// config/whitelisthosts.
pub(super) struct Hosts {
    networks: Networks,
    /// Beginnings of addresses, in lower case, each with a dot or a colon at its end.
    beginnings: Vec<String>,
}

impl Hosts {
    pub(super) fn parse(lines: &Lines, problems: &mut Vec<Error>) -> Hosts {
        let (mut networks, mut beginnings) = (vec![], vec![]);
        for line in lines.entries() {
            let word = line.text.split_whitespace().next().unwrap_or_default();
            let in_address = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
            if let Some(network) = network(word) {
                networks.push(network);
            } else if word.chars().all(in_address) && !word.is_empty() {
                let end = if word.contains(':') { ':' } else { '.' };
                beginnings.push(word.trim_end_matches(end).to_lowercase() + &end.to_string());
            } else {
                let text =
                    format!("not an address, the beginning of an address, or a network: '{word}'");
                problems.push(Error::at(&line.file, line.number, text));
            }
        }
        Hosts { networks: networks.into_iter().collect(), beginnings }
    }

    pub(super) fn contain(&self, ip: IpAddr) -> bool {
        let text = ip.to_string();
        self.networks.contains(ip)
            || self.beginnings.iter().any(|beginning| text.starts_with(beginning))
    }
}
