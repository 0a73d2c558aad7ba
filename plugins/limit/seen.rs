//! What is known of something that happens.

use std::net::IpAddr;

use super::key::{By, Event, Word};
use crate::hook::{Session, WHITELISTHOST, WHITELISTSENDER};
use crate::mail::suffixes::Suffixes;
use crate::mail::{Address, host};

/// What something is about.
pub(super) struct About<'a> {
    pub(super) recipient: Option<&'a Address>,
    /// As whom the client wants to authenticate.
    pub(super) user: Option<&'a str>,
    /// By what it is counted now.
    pub(super) counts: &'a dyn Fn(By) -> bool,
}

pub(super) const ALL: fn(By) -> bool = |_| true;
pub(super) const RECIPIENT: fn(By) -> bool = By::is_recipient;
pub(super) const CLIENT: fn(By) -> bool = |by| !by.is_recipient();

impl<'a> About<'a> {
    pub(super) fn of(counts: &'a dyn Fn(By) -> bool) -> About<'a> {
        About { recipient: None, user: None, counts }
    }
}

/// What a session knows of something that happens.
pub(super) struct Seen<'a> {
    session: &'a Session,
    about: &'a About<'a>,
    suffixes: Option<&'a Suffixes>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(
        session: &'a Session,
        about: &'a About<'a>,
        suffixes: Option<&'a Suffixes>,
    ) -> Seen<'a> {
        Seen { session, about, suffixes }
    }
}

impl Event for Seen<'_> {
    /// Clients of a path in the file system have none.
    fn ip(&self) -> Option<IpAddr> {
        let connection = &self.session.connection;
        (!connection.by_path).then_some(connection.remote_ip)
    }

    fn value(&self, by: By) -> Option<String> {
        let sender = self.session.transaction.sender().filter(|sender| !sender.is_null());
        let domain = |address: &Address| address.canonical_host().into_owned();
        let name = || self.ip().and_then(|_| self.session.confirmed_host());
        match by {
            By::Address(..) => None,
            By::Name => name().map(|name| host::canonical(&name).into_owned()),
            By::Organization => self.suffixes?.organization(&name()?),
            By::Sender => sender.map(Address::key),
            By::SenderDomain => sender.map(domain),
            By::User => {
                let user = self.about.user.or(self.session.auth_user());
                user.filter(|user| !user.is_empty()).map(host::address_key)
            }
            By::Recipient => self.about.recipient.map(Address::key),
            By::RecipientDomain => self.about.recipient.map(domain),
        }
    }

    fn is(&self, word: Word) -> bool {
        let Session { connection, transaction, .. } = self.session;
        let is_user = connection.auth_user.is_some();
        match word {
            Word::Ours => connection.relay_client || is_user,
            Word::RelayClients => connection.relay_client && !is_user,
            Word::Users => is_user,
            Word::Whitelisted => {
                connection.notes.is_true(WHITELISTHOST)
                    || transaction.notes.is_true(WHITELISTSENDER)
            }
        }
    }
}

/// What the parent knows of a client.
impl Event for IpAddr {
    fn ip(&self) -> Option<IpAddr> {
        Some(*self)
    }

    fn value(&self, _by: By) -> Option<String> {
        None
    }

    fn is(&self, _word: Word) -> bool {
        false
    }
}
