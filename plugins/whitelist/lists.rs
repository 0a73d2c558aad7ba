//! The four lists: what a line of each may be, and who is on it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::rc::Rc;

use super::Found;
use crate::config::{Derived, Lines, network};
use crate::error::Error;
use crate::hook::{Hooks, Session};
use crate::mail::entries::{self, first_words};
use crate::mail::patterns::is_whole;
use crate::mail::{Address, host};
use crate::settings::Networks;

/// One of the four lists.
pub(super) struct List {
    pub(super) found: Found,
    pub(super) entries: Rc<Derived<Entries>>,
}

/// The lists of clients, names, senders and recipients.
pub(super) fn lists(hooks: &mut Hooks) -> [List; 4] {
    let mut list = |found, name, parse: fn(&Lines, &mut Vec<Error>) -> Entries| List {
        found,
        entries: hooks.derived_checked(name, parse),
    };
    let addresses = Entries::of_addresses;
    [
        list(Found::Host, "whitelisthosts", Entries::of_clients),
        list(Found::Name, "whitelisthelo", Entries::of_hosts),
        list(Found::Sender, "whitelistsenders", addresses),
        list(Found::Recipient, "whitelistrcpt", addresses),
    ]
}

/// The entries of one list.
#[derive(Default)]
pub(super) struct Entries {
    networks: Networks,
    /// Beginnings of addresses of clients, in lower case, each with a dot or a colon at its end.
    beginnings: Vec<String>,
    /// Hosts and addresses of mail, as they are looked up.
    words: HashSet<String>,
}

impl Entries {
    /// Is what a session has under `found` among them?
    pub(super) fn have(&self, found: Found, session: &Session, recipient: &Address) -> bool {
        match found {
            Found::Client => false,
            Found::Host => self.have_ip(session.connection.remote_ip),
            Found::Name => self.have_host(&session.connection.hello_host),
            Found::Sender => session.transaction.sender().is_some_and(|it| self.have_address(it)),
            Found::Recipient => self.have_address(recipient),
        }
    }

    pub(super) fn have_ip(&self, ip: IpAddr) -> bool {
        let text = ip.to_string();
        self.networks.contains(ip)
            || self.beginnings.iter().any(|beginning| text.starts_with(beginning))
    }

    pub(super) fn have_host(&self, name: &str) -> bool {
        self.words.contains(&*host::canonical(name))
    }

    /// The address itself, or its host.
    pub(super) fn have_address(&self, address: &Address) -> bool {
        is_whole(address)
            && (self.words.contains(&address.key())
                || self.words.contains(&*address.canonical_host()))
    }

    fn of_clients(lines: &Lines, problems: &mut Vec<Error>) -> Entries {
        let (mut networks, mut beginnings) = (vec![], vec![]);
        lines.read_each(problems, |line| {
            let word = line.word_and_rest().0;
            let in_address = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
            if let Some(network) = network(word) {
                networks.push(network);
            } else if word.chars().all(in_address) && !word.is_empty() {
                let end = if word.contains(':') { ':' } else { '.' };
                beginnings.push(word.trim_end_matches(end).to_lowercase() + &end.to_string());
            } else {
                let what = "not an address, the beginning of an address, or a network";
                return Err(format!("{what}: '{word}'"));
            }
            Ok(())
        });
        let networks = networks.into_iter().collect();
        Entries { networks, beginnings, ..Entries::default() }
    }

    fn of_hosts(lines: &Lines, problems: &mut Vec<Error>) -> Entries {
        Entries { words: first_words(lines, problems, entries::single_host), ..Entries::default() }
    }

    fn of_addresses(lines: &Lines, problems: &mut Vec<Error>) -> Entries {
        let words = first_words(lines, problems, entries::address_or_host);
        Entries { words, ..Entries::default() }
    }
}
