//! What the core tells and asks a session, and plugins do not see.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Greeted, Session};
use crate::hook::{Call, Code, Hook, KARMA};
use crate::store::Store;

impl Session {
    /// Says how [`Session::client_is_talking`] finds out.
    pub(crate) fn set_early_check(&mut self, check: impl Fn(Duration) -> bool + 'static) {
        self.early_check = Some(Box::new(check));
    }

    /// Says whether there is input that was read from the socket but not used yet.
    pub(crate) fn set_pipelined_input(&mut self, has_pipelined_input: bool) {
        self.has_pipelined_input = has_pipelined_input;
    }

    /// Says whether the client may send while handlers run: what it sends then is not early.
    pub(crate) fn let_client_send(&mut self, may_send: bool) {
        self.may_send = may_send;
    }

    pub(crate) fn shared_store(&self) -> &Store {
        &self.shared.store
    }

    /// A transaction begins: its number, counted from 1.
    pub(crate) fn begin_transaction(&mut self) {
        self.transactions += 1;
        self.ledger.mail = Instant::now();
    }

    /// Ends the transaction, `reset_transaction` hook included.
    pub(crate) fn reset_transaction(&mut self) {
        let _ = self.run(Hook::ResetTransaction, &Call::Nothing);
        self.transaction.clear();
        self.ledger.forget_transaction();
        self.epoch += 1;
        self.results[1].fill(None);
    }

    /// Counts transactions, those included that were never opened: two that differ in this differ.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn count_command(&mut self) {
        self.commands += 1;
    }

    /// A path in the spool folder that is free; nothing removes what is made there.
    pub(crate) fn spool_name(&self) -> PathBuf {
        self.shared.spool.name()
    }

    /// Another client speaks from now on: what plugins have said so far was about the last one.
    pub(crate) fn forget_results(&mut self) {
        self.results.iter_mut().for_each(|results| results.fill(None));
    }

    /// The client has said nothing yet.
    pub(crate) fn remember_greeted(&mut self) {
        self.greeted = Some(Greeted {
            notes: self.connection.notes.clone(),
            results: self.results[0].clone(),
            relay_client: self.connection.relay_client && self.connection.auth_user.is_none(),
        });
    }

    /// Forgets what was learned from the client since it was greeted (RFC 3207 4.2): its name, as
    /// whom it authenticated, whether it may relay for that, and what plugins have noted; but not how
    /// badly it behaved.
    pub(crate) fn forget_client(&mut self) {
        let connection = &mut self.connection;
        connection.hello = None;
        connection.hello_host.clear();
        (connection.auth_user, connection.auth_mechanism) = (None, None);
        if let Some(greeted) = self.greeted.clone() {
            let karma = connection.notes.get(KARMA).unwrap_or(0);
            connection.notes = greeted.notes;
            if karma < connection.notes.get(KARMA).unwrap_or(0) {
                connection.notes.set(KARMA, karma);
            }
            connection.relay_client = greeted.relay_client;
            self.results[0] = greeted.results;
        }
    }

    /// MAIL begins a transaction, so what is said of it belongs there.
    pub(crate) fn keep_result(&mut self, hook: Hook, handler: usize, code: Code) {
        let begins = matches!(hook, Hook::MailParse | Hook::MailPre | Hook::Mail);
        let place = usize::from(begins || self.transaction.sender().is_some());
        self.results[place][handler] = Some(code);
    }
}
