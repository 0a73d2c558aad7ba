//! What the core tells and asks a session, and plugins do not see.

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Current, Greeted, Session, TlsFn};
use crate::hook::{Call, Code, Extension, Hook, KARMA, List, Plugins};
use crate::log::{self, Level, Record};
use crate::store::Store;

/// A shorter word is part of others.
const SHORTEST: usize = 4;

/// "password" itself has 8 octets.
const SHORTEST_PASSWORD: usize = 9;

/// What the log shows in the place of a secret: shorter than one, and none.
const HIDDEN: &str = "...";

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

    /// The list of plugins that this client has now.
    pub(crate) fn list(&self) -> List {
        let connection = &self.connection;
        self.shared.plugins.list_of(connection.remote_ip, connection.auth_user.is_some())
    }

    /// Has any plugin of this client's list a handler for `hook`?
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.shared.plugins.has_in(self.list(), hook)
    }

    /// Do the plugins of this client's list that queue support the extension?
    pub(crate) fn supports(&self, extension: Extension) -> bool {
        self.shared.plugins.supports(self.list(), extension)
    }

    /// Who chooses certificates for this client, if it is offered TLS.
    pub(crate) fn tls(&self) -> Option<Rc<TlsFn>> {
        self.shared.plugins.tls(self.list())
    }

    /// Is there a plugin of that name in this client's list?
    pub(crate) fn has_plugin(&self, name: &str) -> bool {
        self.shared.plugins.names_in(self.list()).any(|own| own == name)
    }

    /// Writes a line of the core about the running handler to the log: the plugin's argument
    /// `loglevel` is for the plugin's own lines.
    pub(crate) fn log_at(&self, level: Level, text: impl fmt::Display) {
        if !self.shared.plugins.wants(level) {
            return;
        }
        self.shared.plugins.write_log(&Record {
            level,
            hook: self.current.map(|current| current.hook.name()),
            plugin: self.current.map(|current| &*self.shared.plugins.loaded(current.plugin).name),
            session: &self.id,
            transaction: self.transaction.sender().map_or(0, |_| self.transactions),
            peer: Some(self.connection.remote_ip),
            text: &log::clean(&self.discreet(text.to_string())),
            event: None,
        });
    }

    pub(crate) fn shared_store(&self) -> &Store {
        &self.shared.store
    }

    pub(crate) fn plugins(&self) -> &Rc<Plugins> {
        &self.shared.plugins
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

    /// `text` and its words may be secrets: until [`Session::forget_secrets`] no line of the log shows
    /// them, whoever writes it.
    pub(crate) fn keep_secret(&mut self, text: &str) {
        let words = std::iter::once(text.trim()).chain(text.split_whitespace());
        let words = words.filter(|word| word.len() >= SHORTEST);
        self.secrets.extend(words.map(str::to_ascii_lowercase));
    }

    /// The same for a password as a whole.  A short one may be a word of our own lines, and a gap
    /// there would tell it.
    pub(crate) fn keep_password(&mut self, password: &[u8]) {
        if password.len() >= SHORTEST_PASSWORD {
            self.secrets.push(String::from_utf8_lossy(password).to_ascii_lowercase());
        }
    }

    /// Nothing is a secret any more: another command begins.
    pub(crate) fn forget_secrets(&mut self) {
        self.secrets.clear();
    }

    /// `text` with dots in the place of secrets, which plugins may have in another case.
    pub(crate) fn discreet(&self, mut text: String) -> String {
        for secret in &self.secrets {
            while let Some(at) = text.to_ascii_lowercase().find(secret) {
                text.replace_range(at..at + secret.len(), HIDDEN);
            }
        }
        text
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

    /// A handler begins now, and may run for `limit`.
    pub(crate) fn enter(
        &mut self,
        plugin: u16,
        hook: Hook,
        now: Instant,
        limit: Duration,
    ) -> Option<Current> {
        let is_unread = self.shared.config.take_unread();
        let lacks_a_value = match &mut self.current {
            Some(outer) => {
                outer.lacks_a_value |= is_unread;
                false
            }
            // This handler is asked about a value, and decides nothing.
            None if matches!(hook, Hook::Config | Hook::UserConfig) => false,
            None => std::mem::take(&mut self.lacks_a_value),
        };
        let until = now + limit;
        self.current.replace(Current { plugin, hook, until, lacks_a_value })
    }

    /// The running handler does not get what it asked for.  Where none is running the core has
    /// asked, and the handler that comes next is not to decide.
    pub(super) fn withhold_value(&mut self) {
        match &mut self.current {
            Some(current) => current.lacks_a_value = true,
            None => self.lacks_a_value = true,
        }
    }

    /// Has the running handler asked for something that cannot be read and never was, or that a
    /// handler failed to give?  An empty list in its place must not decide.
    pub(crate) fn lacks_a_value(&self) -> bool {
        let is_unread = self.shared.config.take_unread();
        is_unread || self.current.is_some_and(|current| current.lacks_a_value)
    }

    /// Has a plugin do its job `name`, within `limit`; None: no plugin has one of that name.  It runs as
    /// a handler of the hook `queue` does.
    pub(crate) fn run_job(
        &mut self,
        name: &str,
        word: &str,
        limit: Duration,
    ) -> Option<crate::error::Result<String>> {
        let plugins = self.shared.plugins.clone();
        let (_, plugin, run) = plugins.jobs.iter().find(|(known, ..)| *known == name)?;
        let outer = self.enter(*plugin, Hook::Queue, Instant::now(), limit);
        let done = run(self, word);
        self.leave(outer);
        Some(done)
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

    /// May something that is said now be a secret?
    pub(crate) fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// The numbers of the handlers that follow the running one, see [`crate::hook::Hooks::number_last`].
    pub(crate) fn take_following(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.following)
    }

    /// Will the running handler not have decided, whatever it says?
    pub(crate) fn is_void(&mut self) -> bool {
        let is_void = self.lacks_a_value();
        if is_void {
            self.withhold_value();
        }
        is_void
    }
}
