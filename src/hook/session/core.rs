//! What the core tells and asks a session, and plugins do not see.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Current, Session};
use crate::hook::{Call, Code, Hook, Plugins, Verdict};
use crate::mail::Address;

impl Session {
    /// Says how [`Session::client_is_talking`] finds out.
    pub(crate) fn set_ear(&mut self, ear: impl Fn(Duration) -> bool + 'static) {
        self.ear = Some(Box::new(ear));
    }

    /// Says whether there is input that was read from the socket but not used yet.
    pub(crate) fn set_sent_ahead(&mut self, has_sent_ahead: bool) {
        self.has_sent_ahead = has_sent_ahead;
    }

    /// Says whether the client may send while handlers run: what it sends then is not early.
    pub(crate) fn give_the_word(&mut self, has_the_word: bool) {
        self.has_the_word = has_the_word;
    }

    pub(crate) fn plugins(&self) -> &Rc<Plugins> {
        &self.shared.plugins
    }

    pub(crate) fn take_recipient_verdicts(&mut self) -> BTreeMap<usize, Verdict> {
        std::mem::take(&mut self.recipient_verdicts)
    }

    /// Takes back all but the first `said` responses.
    pub(crate) fn unsay(&mut self, said: usize) {
        self.responses.truncate(said);
    }

    pub(crate) fn take_responses(&mut self) -> Vec<(u16, String)> {
        std::mem::take(&mut self.responses)
    }

    /// A transaction begins: its number, counted from 1.
    pub(crate) fn begin_transaction(&mut self) {
        self.transactions += 1;
    }

    /// Ends the transaction, `reset_transaction` hook included.
    pub(crate) fn reset_transaction(&mut self) {
        self.run(Hook::ResetTransaction, &Call::Nothing);
        self.transaction.clear();
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

    pub(crate) fn replaced_address(&self) -> Option<Address> {
        self.replaced.clone()
    }

    pub(crate) fn take_replaced(&mut self) -> Option<Address> {
        self.replaced.take()
    }

    pub(crate) fn take_hang_up(&mut self) -> bool {
        std::mem::take(&mut self.hangs_up)
    }

    /// Another client speaks from now on: what plugins have said so far was about the last one.
    pub(crate) fn forget_results(&mut self) {
        self.results.iter_mut().for_each(|results| results.fill(None));
    }

    pub(crate) fn enter(&mut self, plugin: u16, hook: Hook, limit: Duration) -> Option<Current> {
        self.current.replace(Current { plugin, hook, until: Instant::now() + limit })
    }

    pub(crate) fn leave(&mut self, outer: Option<Current>) {
        self.current = outer;
    }

    /// MAIL begins a transaction, so what is said of it belongs there.
    pub(crate) fn keep_result(&mut self, hook: Hook, handler: usize, code: Code) {
        let begins = matches!(hook, Hook::MailParse | Hook::MailPre | Hook::Mail);
        let place = usize::from(begins || self.transaction.sender().is_some());
        self.results[place][handler] = Some(code);
    }

    pub(crate) fn take_nested_failure(&mut self) -> bool {
        self.nested_failure.take()
    }
}
