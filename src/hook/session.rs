//! A session as plugins see it, and the plugins that it asks.

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
mod spam_fields;

pub use quarantine::QUARANTINE;
pub(crate) use spam_fields::OldFields;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

pub(in crate::hook) use self::ledger::Ledger;
use crate::config::Config;
use crate::dns::Resolver;
use crate::hook::handler::{
    BeforeFork, BeforeWait, CommandFn, ExplainFn, ForkFn, Handler, IncomingFn, LateHooks, LetGo,
    LogFn, MaxFn, RestFn,
};
use crate::hook::lists::{List, Lists};
use crate::hook::loaded::Loaded;
use crate::hook::{Call, Code, Decision, Heard, Hook, Said, Settings, Verdict};
use crate::log::Level;
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

/// All loaded plugins with their handlers: what is built once at start-up and inherited by every
/// process.
#[derive(Default)]
pub struct Plugins {
    pub(super) loaded: Vec<Loaded>,
    pub(super) handlers: Vec<Vec<Handler<SessionFn>>>,
    pub(super) incoming: Vec<Handler<IncomingFn>>,
    pub(super) forks: Vec<Handler<ForkFn>>,
    pub(super) loggers: Vec<(Level, Handler<LogFn>)>,
    /// Who of them writes events in full.
    pub(super) json_loggers: HashSet<u16>,
    pub(super) before_fork: Vec<BeforeFork>,
    pub(super) at_fork: Vec<LetGo>,
    pub(super) after_much_mail: Vec<LetGo>,
    pub(super) before_wait: Vec<BeforeWait>,
    pub(super) rests: Vec<Box<RestFn>>,
    pub(super) onward: Vec<Handler<SessionFn>>,
    pub(super) tls: Vec<(u16, Rc<TlsFn>)>,
    /// The lists that clients have, and whose plugin chooses them.
    pub(super) lists: Option<(u16, Lists)>,
    /// The list that is being loaded.
    pub(super) loading: List,
    pub(super) files: BTreeSet<Cow<'static, str>>,
    pub(super) late: Vec<(Rc<LateHooks>, Handler<SessionFn>)>,
    pub(super) keeps: Vec<(&'static str, Rc<ExplainFn>)>,
    pub(super) commands: Vec<(&'static str, &'static str, Rc<CommandFn>)>,
    pub(super) jobs: Vec<(&'static str, u16, Rc<JobFn>)>,
    pub(super) listeners: Vec<(u16, Rc<HearFn>)>,
    pub(super) max_from_ip: Vec<Rc<MaxFn>>,
    pub(super) count: u16,
    pub(super) stderr_level: Cell<Option<Level>>,
    pub(super) logging: Cell<bool>,
    pub(super) is_check: bool,
    /// The lines of the log, with who says them, where these are to be shown later.
    pub(super) kept: Option<RefCell<Vec<KeptLine>>>,
    /// Who watches, where sessions are only played.
    pub(super) watch: Option<Rc<Watch>>,
    confined: Cell<bool>,
    pub(super) broken_loggers: RefCell<HashSet<u16>>,
}

/// A line of the log that is to be shown later, with the plugin that says it.
pub(crate) type KeptLine = (Option<String>, String);

/// A handler that is asked within a session.
pub(crate) type SessionFn = dyn Fn(&mut Session, &Call<'_>) -> Verdict;

/// Listens to what goes over the line.
pub(crate) type HearFn = dyn Fn(&mut Session, &Heard<'_>) -> Verdict;

/// Does something without a client, and says for people what it did; the word says what.
pub(crate) type JobFn = dyn Fn(&mut Session, &str) -> crate::error::Result<String>;

/// Chooses certificates and parameters for a client that wants TLS.
pub(crate) type TlsFn = dyn Fn(&mut Session) -> Result<Arc<ServerConfig>, String>;

/// Who watches sessions that are only played.
pub(super) struct Watch {
    /// Is told what a handler has decided: the hook, its plugin, the decision.
    pub(super) said: Box<DecisionFn>,
    /// Gets the session in which a message would be queued.
    pub(super) queue: Box<dyn Fn(&Session)>,
}

/// Is told what a handler has decided: the hook, its plugin, the decision.
pub(crate) type DecisionFn = dyn Fn(Hook, &str, &Decision);

/// Tells whether the client sends something within a time.
type EarlyCheck = Box<dyn Fn(Duration) -> bool>;

/// What was known of a client when it was greeted: nothing of it comes from the client's own words.
#[derive(Clone)]
struct Greeted {
    notes: Notes,
    results: Vec<Option<Code>>,
    relay_client: bool,
}

/// Which handler is running.
#[derive(Clone, Copy)]
pub(crate) struct Current {
    plugin: u16,
    hook: Hook,
    until: Instant,
    /// It did not get what it asked for.
    lacks_a_value: bool,
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

    /// Writes to the log.
    pub fn log(&self, level: Level, text: impl fmt::Display) {
        self.log_at(self.adjusted(level), text);
    }

    /// Does somebody take lines of this level that the running plugin writes?
    pub(super) fn logs(&self, level: Level) -> bool {
        self.shared.plugins.wants(self.adjusted(level))
    }

    /// The level that the running plugin's argument `loglevel` makes of this one.
    fn adjusted(&self, level: Level) -> Level {
        let plugin = self.current.map(|current| self.shared.plugins.loaded(current.plugin));
        plugin.map_or(level, |plugin| plugin.settings.adjust(level))
    }

    /// A TCP connection to another server.  Connecting, each read and each write fail when they
    /// take longer than the running handler may still take now.
    ///
    /// # Errors
    /// Looking up `host`, or connecting to the last of its addresses.
    pub fn connect_to(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut failed = io::Error::other(format!("{host} has no address"));
        for address in (host, port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.time_left()) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(self.time_left()))?;
                    stream.set_write_timeout(Some(self.time_left()))?;
                    return Ok(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
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

    /// The running plugin's name as in `config/plugins`; empty outside a handler.
    pub fn plugin_name(&self) -> &str {
        self.current.map_or("", |current| &self.shared.plugins.loaded(current.plugin).name)
    }

    /// The running hook; None outside a handler.
    pub(crate) fn hook(&self) -> Option<Hook> {
        self.current.map(|current| current.hook)
    }

    /// The running hook's name; empty outside a handler.
    pub fn hook_name(&self) -> &'static str {
        self.current.map_or("", |current| current.hook.name())
    }

    /// The running plugin's universal arguments; None outside a handler.
    pub fn settings(&self) -> Option<&Settings> {
        self.current.map(|current| &self.shared.plugins.loaded(current.plugin).settings)
    }

    /// How long the running handler may still take: the limit for anything it waits for.
    pub fn time_left(&self) -> Duration {
        self.current.map_or(Duration::ZERO, |current| {
            current.until.saturating_duration_since(Instant::now())
        })
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

    #[test]
    fn secrets_are_in_no_line_until_the_next_command() {
        let mut trial = Trial::with(judge, "", &[]);
        trial.take_log();
        trial.session.keep_secret(" xY7/ab= no Two-words ");
        for text in ["it is XY7/AB=.", "xy7/ab= no two-words", "no dots", "Two-wordsTwo-words"] {
            trial.session.log(Level::Info, text);
        }
        trial.session.forget_secrets();
        trial.session.log(Level::Info, "xY7/ab=");
        assert_eq!(trial.log(), "it is ....\n...\nno dots\n......\nxY7/ab=");
        trial.session.keep_password(b"password");
        trial.session.keep_password(b"Pass word 1");
        trial.session.log(Level::Info, "wrong password: pass word 1");
        assert!(trial.log().ends_with("\nwrong password: ..."));
        // Dots of the client's own come to an end as well.
        trial.session.keep_secret("....");
        trial.session.log(Level::Info, "...........");
        assert!(trial.log().ends_with("\n..."));
    }

    #[test]
    fn connections_have_limits_within_a_handler_and_none_are_made_outside() {
        fn dial(hooks: &mut Hooks, args: &Args) -> Result<()> {
            let port = args.parsed_at(0, 0u16)?;
            hooks.connect(move |session| {
                let stream = session.connect_to("127.0.0.1", port)?;
                let limits = [stream.read_timeout()?, stream.write_timeout()?];
                let is_limited = limits.iter().all(|limit| limit.is_some_and(|s| s.as_secs() < 9));
                Ok::<_, io::Error>(if is_limited { OK } else { Verdict::deny("no limit") })
            });
            Ok(())
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut trial = Trial::with(dial, &format!("{port} timeout 8"), &[]);
        assert_eq!(trial.plain(Hook::Connect), OK);
        assert!(trial.session.connect_to("127.0.0.1", port).is_err());
    }
}
