//! A session as plugins see it.

mod answers;
mod config;
mod core;
mod events;
mod ledger;
mod names;
mod origin;
mod outside;
mod plugins;
mod quarantine;
mod running;
mod secrets;
mod spam_fields;

pub use plugins::Plugins;
pub use quarantine::QUARANTINE;

pub(in crate::hook) use ledger::Ledger;
pub(crate) use plugins::KeptLine;
pub(in crate::hook) use plugins::{DecisionFn, Watch};
pub(crate) use spam_fields::OldFields;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use self::running::Current;
use crate::config::Config;
use crate::dns::Resolver;
use crate::hook::{Call, Code, Heard, Hook, Said, Verdict};
use crate::settings::{DNS_SERVERS, DNS_TIMEOUT, SIZE_THRESHOLD};
use crate::state::{Connection, Notes, Spool, Transaction};
use crate::store::{Store, Table};

/// What all sessions of a process share.
#[derive(Clone)]
pub struct Shared {
    /// The loaded plugins.
    pub plugins: Rc<Plugins>,
    /// The configuration.
    pub config: Config,
    /// The spool folder.
    pub spool: Rc<Spool>,
    /// What plugins remember.
    pub store: Rc<Store>,
}

/// A client's session as plugins see it: the connection, the transaction, configuration, log.
pub struct Session {
    /// Who the client is.
    pub connection: Connection,
    /// The transaction; an empty one when none is open.
    pub transaction: Transaction,
    shared: Shared,
    id: String,
    transactions: u32,
    epoch: u32,
    commands: u32,
    current: Option<Current>,
    results: [Vec<Option<Code>>; 2],
    greeted: Option<Greeted>,
    secrets: Vec<String>,
    /// What handlers have said so far to which nobody has listened yet.
    pub(super) said: Option<Box<Said>>,
    /// The core did not get a value that it asked for since the last handler ran.
    lacks_a_value: bool,
    pub(super) following: Vec<i64>,
    since: Instant,
    ledger: Ledger,
    early_check: Option<EarlyCheck>,
    has_pipelined_input: bool,
    may_send: bool,
}

/// A handler that is asked within a session.
pub(crate) type SessionFn = dyn Fn(&mut Session, &Call<'_>) -> Verdict;

/// Listens to what goes over the line.
pub(crate) type HearFn = dyn Fn(&mut Session, &Heard<'_>) -> Verdict;

/// Does something without a client, and says for people what it did; the word says what.
pub(crate) type JobFn = dyn Fn(&mut Session, &str) -> crate::error::Result<String>;

/// Chooses certificates and parameters for a client that wants TLS.
pub(crate) type TlsFn = dyn Fn(&mut Session) -> Result<Arc<ServerConfig>, String>;

/// Tells whether the client sends something within a time.
type EarlyCheck = Box<dyn Fn(Duration) -> bool>;

/// What was known of a client when it was greeted: nothing of it comes from the client's own words.
#[derive(Clone)]
struct Greeted {
    notes: Notes,
    results: Vec<Option<Code>>,
    relay_client: bool,
}

impl Session {
    pub(crate) fn new(shared: Shared, mut connection: Connection, id: String) -> Session {
        let threshold = shared.config.setting(SIZE_THRESHOLD) as usize;
        let transaction = Transaction::new(shared.spool.clone(), threshold);
        let timeout = shared.config.setting(DNS_TIMEOUT);
        connection.set_resolver(Resolver::new(shared.config.setting(DNS_SERVERS), timeout));
        let since = Instant::now();
        let none = vec![None; shared.plugins.handler_count()];
        Session {
            connection,
            transaction,
            id,
            transactions: 0,
            epoch: 0,
            commands: 0,
            current: None,
            results: [none.clone(), none],
            greeted: None,
            secrets: vec![],
            said: None,
            lacks_a_value: false,
            following: vec![],
            since,
            ledger: Ledger::new(since),
            early_check: None,
            has_pipelined_input: false,
            may_send: false,
            shared,
        }
    }

    /// This session's id, which every line of its log carries.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of the transaction that is open or, at `mail`, about to be: that of the session and the
    /// transaction's number in it, `SESSION.1`.
    pub fn transaction_id(&self) -> String {
        let number = self.transactions + u32::from(self.transaction.sender().is_none());
        format!("{}.{number}", self.id)
    }

    /// How long the session lasts already.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Has the client sent something that it should not have yet, or does it within `wait`?  That
    /// is anything at `connect`, where it has to wait for the greeting (RFC 5321 4.3.1), and at
    /// `data`, where it has to wait for 354, unless it uses BDAT.  Waits no longer than the handler
    /// may take; that the client hangs up is not talking.
    pub fn client_is_talking(&self, wait: Duration) -> bool {
        let wait = wait.min(self.time_left());
        !self.may_send
            && (self.has_pipelined_input
                || self.early_check.as_ref().is_some_and(|talks| talks(wait)))
    }

    /// As whom the client authenticated.
    pub fn auth_user(&self) -> Option<&str> {
        self.connection.auth_user.as_deref()
    }

    /// With what mechanism it did.
    pub fn auth_mechanism(&self) -> Option<&str> {
        self.connection.auth_mechanism.as_deref()
    }

    /// What the handler of `plugin` answered when `hook` last ran: in this transaction while one
    /// is open, else in this connection.
    pub fn result(&self, plugin: &str, hook: Hook) -> Option<Code> {
        let id = self.shared.plugins.handler_of(self.list(), plugin, hook)?;
        self.results[1][id].or(self.results[0][id])
    }

    /// What the plugin `name` remembers from one session to the next, see [`crate::store`].  It has to
    /// answer while the running handler may take its time, and within `config/store_timeout`.
    pub fn store(&self, name: &str) -> Table {
        let until = self.current.map(|current| current.until);
        Table::new(self.shared.store.clone(), name, until)
    }

    /// The spool folder.
    pub fn spool_dir(&self) -> &Path {
        self.shared.spool.dir()
    }

    /// The path of a file that is removed at the end of the transaction; it is not made yet.
    pub fn temp_file(&mut self) -> PathBuf {
        self.transaction.temp_file()
    }

    /// A new folder that is removed at the end of the transaction.
    ///
    /// # Errors
    /// What the file system says.
    pub fn temp_dir(&mut self) -> io::Result<PathBuf> {
        self.transaction.temp_dir()
    }

    /// A new folder with permissions `mode`, which stays until you remove it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn lasting_temp_dir(&mut self, mode: u32) -> io::Result<PathBuf> {
        self.shared.spool.make_dir(mode)
    }

    /// How many commands the client has given.
    pub fn commands(&self) -> u32 {
        self.commands
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::hook::{Args, Call, DECLINED, Hooks, OK};
    use crate::testing::Trial;

    /// Likes senders and connections from example.com.
    fn judge(hooks: &mut Hooks, _args: &Args) -> Result<()> {
        hooks.hello(|_, host| if host == "example.com" { OK } else { DECLINED });
        hooks.mail(|_, sender, _| if sender.host() == "example.com" { OK } else { DECLINED });
        Ok(())
    }

    #[test]
    fn results_last_as_long_as_what_they_are_about() {
        let mut trial = Trial::with(judge, "", &[]);
        let mail = |trial: &Trial| trial.session.result("trial", Hook::Mail);
        assert_eq!(mail(&trial), None);
        trial.call(Hook::Helo, &Call::Host("example.com"));
        trial.mail("<a@example.com>");
        assert_eq!(mail(&trial), Some(Code::Ok));
        trial.mail("<a@example.net>");
        assert_eq!(mail(&trial), Some(Code::Declined));
        trial.session.reset_transaction();
        assert_eq!(mail(&trial), None);
        assert_eq!(trial.session.result("trial", Hook::Helo), Some(Code::Ok));
        assert_eq!(trial.session.result("another", Hook::Helo), None);
    }

    /// An empty list in the place of one that cannot be read must not decide.
    #[test]
    fn a_handler_that_asks_for_what_cannot_be_read_has_failed() {
        fn picky(hooks: &mut Hooks, _args: &Args) -> Result<()> {
            hooks.rcpt(|session, address, _| {
                let is_ours = session.config("ours").find(address.host()).is_some();
                let is_more = session.config_map("more").contains(address.host());
                if is_ours || is_more { OK } else { Verdict::deny("not ours") }
            });
            Ok(())
        }
        let mut trial = Trial::with(picky, "", &[("ours", "$include nowhere")]);
        let verdict = trial.rcpt("<a@example.com>");
        assert!(verdict.is_failure(), "{verdict:?}");
        assert!(trial.log().contains("ours:1: $include nowhere: no such file"));
        trial.set_config("ours", "example.com");
        assert_eq!(trial.rcpt("<a@example.com>"), OK);
        trial.set_config("ours", "$include nowhere");
        assert_eq!(trial.rcpt("<a@example.com>"), OK);
        assert_eq!(trial.rcpt("<a@example.net>").code(), Code::Deny);
        let mut trial = Trial::with(picky, "", &[("more.cdb", "no database")]);
        assert!(trial.rcpt("<a@example.com>").is_failure());
    }

    #[test]
    fn what_plugins_say_waits_in_order() {
        let mut trial = Trial::with(judge, "", &[]);
        trial.session.respond(250, "one");
        trial.session.respond(451, "two");
        assert_eq!(trial.session.responses(), [(250, "one".into()), (451, "two".into())]);
        let said = trial.session.ask(Hook::Connect, &Call::Nothing).said;
        assert_eq!(said.unwrap().replies.len(), 2);
        assert!(trial.session.responses().is_empty());
    }
}
