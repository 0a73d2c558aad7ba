//! A session without a client or a server, for the tests of plugins.
//!
//! ```
//! use qpsmtpd::hook::Code;
//! use qpsmtpd::testing::Trial;
//!
//! let mut trial = Trial::new("rcpt_ok", &[("rcpthosts", "example.com")]);
//! assert_eq!(trial.rcpt("<b@example.com>").code(), Code::Ok);
//! assert_eq!(trial.rcpt("<b@example.net>").code(), Code::Deny);
//! ```

mod auth;

use std::cell::RefCell;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::dns::{Answer, Dns, Question, Resolver, Table};
use crate::error::Result;
use crate::hook::{
    Args, Call, DECLINED, Hook, Hooks, Incoming, OK, Plugins, Register, Session, Settings, Shared,
    Verdict, verdict_of,
};
use crate::log::Level;
use crate::mail::{Address, Header};
use crate::perl::Perl;
use crate::plugin;
use crate::settings::LOGLEVEL;
use crate::smtp::{Stream, serve};
use crate::state::{Connection, Params, Spool};
use crate::store::{self, Store};

thread_local! {
    static QUEUED: RefCell<Vec<Vec<u8>>> = const { RefCell::new(vec![]) };
}

/// A plugin for [`Trial::with`]: takes everybody's mail and keeps it in memory, below a Received
/// field that is always the same.
///
/// # Errors
/// None.
pub fn keeps(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.rcpt(|_, _, _| OK);
    hooks.received_line(|_, _| Some("here".into()));
    hooks.queue(|session| {
        let mut message = vec![];
        session.transaction.write_message(&mut message)?;
        QUEUED.with_borrow_mut(|queued| queued.push(message));
        Ok::<_, std::io::Error>(OK)
    });
    Ok(())
}

/// What [`keeps`] has queued in this thread since this was last asked.
pub fn queued() -> Vec<Vec<u8>> {
    QUEUED.take()
}

/// Loaded plugins and one session from 192.0.2.1, in a temporary folder.  A test that fails shows
/// what they have logged.
pub struct Trial {
    /// The session that the plugins see.
    pub session: Session,
    log: Rc<RefCell<Vec<String>>>,
    dir: PathBuf,
    shared: Shared,
}

impl Trial {
    /// Loads `plugins`, lines as in `config/plugins`, with the configuration files `files`.  The
    /// text `{dir}` in both is the temporary folder.  Where there is no `loglevel`, everything is
    /// logged.
    ///
    /// # Panics
    /// A plugin cannot be loaded; see [`Trial::load`].
    pub fn new(plugins: &str, files: &[(&str, &str)]) -> Trial {
        Trial::load(plugins, files).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, with the error where a plugin cannot be loaded.
    ///
    /// # Errors
    /// What start-up would say.
    pub fn load(plugins: &str, files: &[(&str, &str)]) -> Result<Trial> {
        Trial::build(files, |loaded, config, dir| {
            let lines = plugins.replace("{dir}", &dir.display().to_string());
            let perl = Perl::new(config);
            lines
                .lines()
                .try_for_each(|line| plugin::load_line(loaded, &perl, config, line.trim()))?;
            perl.serve(loaded)
        })
    }

    /// Loads a plugin that is in no table: its `register` function with the arguments `args`.  The text
    /// `{dir}` is the temporary folder, as in [`Trial::new`].
    ///
    /// # Panics
    /// It cannot be loaded.
    pub fn with(register: Register, args: &str, files: &[(&str, &str)]) -> Trial {
        Trial::load_with(register, args, files).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, with the error where it cannot be loaded: for tests of arguments.
    ///
    /// # Errors
    /// What `register` says.
    pub fn load_with(register: Register, args: &str, files: &[(&str, &str)]) -> Result<Trial> {
        Trial::build(files, |loaded, config, dir| {
            let args = args.replace("{dir}", &dir.display().to_string());
            let args = Args::new(args.split_whitespace());
            let find = |name: &str| Some(plugin::find(name)?.0.register);
            let mut hooks = Hooks::new(config.clone(), find);
            register(&mut hooks, &args)?;
            let settings = hooks.settings(&args)?;
            loaded.add("trial", settings, hooks.into_registration()?);
            Ok(())
        })
    }

    /// The temporary folder; configuration is in `config/` there.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a configuration file anew; the session sees it at once.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn set_config(&mut self, name: &str, text: &str) {
        let written = std::fs::write(self.dir.join("config").join(name), text);
        written.unwrap_or_else(|error| panic!("{name}: {error}"));
        self.shared.config.expire();
    }

    /// All log lines so far, `(hook) plugin: text` each.
    pub fn log(&self) -> String {
        self.log.borrow().join("\n")
    }

    /// The same, and forgets them.
    pub fn take_log(&self) -> String {
        self.log.take().join("\n")
    }

    /// Answers the plugins' questions to the domain name system from a table, see [`Table::new`];
    /// without one there is no name.
    ///
    /// # Panics
    /// A line of `table` is none.
    pub fn with_dns(mut self, table: &str) -> Trial {
        self.session.connection.set_resolver(Resolver::over(Table::new(table)));
        self
    }

    /// No question to the domain name system is answered.
    #[must_use]
    pub fn with_dead_dns(mut self) -> Trial {
        self.session.connection.set_resolver(Resolver::over(Dead));
        self
    }

    /// Makes it a session from another address.
    ///
    /// # Panics
    /// `ip` is no address.
    pub fn from_ip(mut self, ip: &str) -> Trial {
        self.session.connection.remote_ip =
            ip.parse().unwrap_or_else(|_| panic!("no address: {ip}"));
        self
    }

    /// For the store it is so many seconds after the beginning of 1970, until this is called again.
    pub fn set_clock(&self, seconds: u64) {
        self.shared.store.set_clock(Duration::from_secs(seconds));
    }

    /// The store does not answer any more.
    pub fn break_store(&self) {
        self.shared.store.break_down();
    }

    /// What the plugin `name` remembers, for a look at it from outside.
    pub fn store(&self, name: &str) -> store::Table {
        store::Table::new(self.shared.store.clone(), name, None)
    }

    /// Makes it a client that sends before it may, or one that waits.
    pub fn client_talks(&mut self, is_talking: bool) {
        self.session.set_early_check(move |_wait| is_talking);
    }

    /// Runs a hook that has no arguments.
    pub fn plain(&mut self, hook: Hook) -> Verdict {
        self.call(hook, &Call::Nothing)
    }

    /// Runs the `post-fork` handlers.
    pub fn post_fork(&self) {
        self.shared.plugins.post_fork(&self.shared.config);
    }

    /// Brings up to date what processes inherit, as a parent does before it makes one.  True: those that
    /// were made before are to serve no more clients.
    pub fn before_fork(&self) -> bool {
        self.shared.plugins.before_fork(&self.shared.config)
    }

    /// Runs any hook.
    pub fn call(&mut self, hook: Hook, call: &Call<'_>) -> Verdict {
        verdict_of(&self.session.run(hook, call)).clone()
    }

    /// Runs the hook `mail` and, unless it refuses, makes `path` the reverse-path.
    ///
    /// # Panics
    /// `path` is no path.
    pub fn mail(&mut self, path: &str) -> Verdict {
        let address = path_of(path);
        let verdict = self.call(Hook::Mail, &Call::Address(&address, &Params::default()));
        if !verdict.code().is_deny() {
            self.session.transaction.set_sender(address);
        }
        verdict
    }

    /// Runs the hook `rcpt` and, unless it refuses, adds the recipient.
    ///
    /// # Panics
    /// `path` is no path.
    pub fn rcpt(&mut self, path: &str) -> Verdict {
        let address = path_of(path);
        let verdict = self.call(Hook::Rcpt, &Call::Address(&address, &Params::default()));
        if !verdict.code().is_deny() {
            self.session.transaction.accept_recipient(address, Params::default());
        }
        verdict
    }

    /// Gives the transaction a message, with CRLF line ends.
    ///
    /// # Panics
    /// It cannot be spooled.
    pub fn message(&mut self, message: &str) {
        let message = message.replace("\r\n", "\n").replace('\n', "\r\n");
        let end = match message.starts_with("\r\n") {
            true => 0,
            false => message.find("\r\n\r\n").map_or(message.len(), |at| at + 2),
        };
        self.session.transaction.header = Header::parse(&message.as_bytes()[..end]);
        let body = &mut self.session.transaction.body;
        body.clear();
        body.write(message.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        body.set_start(end as u64);
    }

    /// Serves a client on `stream` with these plugins, from the greeting to the end, as a daemon
    /// would: for tests that are dialogues.
    pub fn serve(&self, stream: impl Into<OwnedFd>) {
        let connection =
            Connection::new(([192, 0, 2, 1].into(), 40000), ([192, 0, 2, 25].into(), 25));
        serve(Stream::new(stream.into()), connection, &self.shared);
    }

    /// Asks the `pre-connection` handlers about a client at `ip` while `others` are connected.
    ///
    /// # Panics
    /// Something is no address.
    pub fn pre_connection(&self, ip: &str, others: &[&str], max: usize) -> Verdict {
        let address = |ip: &str| ip.parse().unwrap_or_else(|_| panic!("no address: {ip}"));
        let others: Vec<_> = others.iter().map(|ip| address(ip)).collect();
        let local = (address("192.0.2.25"), 25);
        let incoming =
            Incoming::new((address(ip), 40000), local, max, &others, &self.shared.config);
        verdict_of(&self.shared.plugins.pre_connection(&incoming)).clone()
    }

    fn build(
        files: &[(&str, &str)],
        load: impl FnOnce(&mut Plugins, &Config, &Path) -> Result<()>,
    ) -> Result<Trial> {
        let dir = new_dir();
        std::fs::create_dir_all(dir.join("config")).map_err(|e| e.to_string())?;
        for (name, text) in files {
            let text = text.replace("{dir}", &dir.display().to_string());
            std::fs::write(dir.join("config").join(name), text).map_err(|e| e.to_string())?;
        }
        let config = Config::new(vec![dir.join("config")]);
        config.set_home(dir.clone());
        let log = Rc::new(RefCell::new(vec![]));
        let kept = log.clone();
        let mut plugins = Plugins::new(Level::Debug);
        let mut hooks = Hooks::new(config.clone(), |_| None);
        let level = match config.is_set(LOGLEVEL) {
            true => config.setting(LOGLEVEL),
            false => Level::Debug,
        };
        hooks.logging(level, move |record| {
            kept.borrow_mut().push(record.line().trim_start().to_owned());
            DECLINED
        });
        plugins.add("the trial's log", Settings::default(), hooks.into_registration()?);
        let loaded = load(&mut plugins, &config, &dir);
        loaded.inspect_err(|_| drop(std::fs::remove_dir_all(&dir)))?;
        let (spool, _) = Spool::open(&dir.join("spool"), 0o700)?;
        let shared = Shared {
            plugins: Rc::new(plugins),
            config: config.clone(),
            spool: Rc::new(spool),
            store: Rc::new(Store::volatile(&config)?),
        };
        let remote = ([192, 0, 2, 1].into(), 40000);
        let connection = Connection::new(remote, ([192, 0, 2, 25].into(), 25));
        let mut session = Session::new(shared.clone(), connection, "trial".into());
        session.connection.set_resolver(Resolver::over(Table::default()));
        Ok(Trial { session, log, dir, shared })
    }
}

/// A domain name system that does not answer.
struct Dead;

impl Dns for Dead {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        questions.iter().map(|_| Answer::Failed("no answer in time".into())).collect()
    }
}

impl Drop for Trial {
    /// Tells a test that fails what was logged, and removes the folder.
    #[allow(clippy::print_stderr, reason = "only what is printed is shown with the test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the trial:\n{}", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("dir", &self.dir)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

fn path_of(path: &str) -> Address {
    Address::parse(path).unwrap_or_else(|_| panic!("no path: {path}"))
}

fn new_dir() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("qpsmtpd-trial-{}-{count}", std::process::id()))
}
