//! All Perl plugins of a configuration, and the process that has loaded them.

mod call;
mod child;
mod load;
mod loggers;
mod questions;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::{Hooks, Incoming, LateHooks, Parent, Plugins, Session};
use crate::settings::{NO_NEW_PRIVS, PERL_TIMEOUT};

use self::loggers::Lines;
use crate::perl::carried::Carried;
use crate::perl::process::Process;
use crate::perl::protocol::{Failure, ToPerl};
use crate::perl::serving::Serving;
use crate::perl::wire::Item;

pub use self::load::{Source, dirs};

/// How long loading one plugin may take.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

type Outcome<T> = std::result::Result<T, Failure>;

/// All Perl plugins of a configuration.
pub struct Perl {
    config: Config,
    /// What plugins take for the server's folder.
    root: PathBuf,
    /// Do programs that plugins start get no rights of their own?
    confined: bool,
    process: RefCell<Option<Process>>,
    /// What was loaded, for when it has to be loaded again.
    loaded: RefCell<Vec<LoadRequest>>,
    serving: RefCell<Option<Rc<Serving>>>,
    is_loading: Cell<bool>,
    /// Lines of the log on their way to loggers in Perl.
    lines: Lines,
    parents: RefCell<Vec<Parent>>,
    /// What plugins keep of clients that have no process yet.
    carried: Carried,
    /// The hooks for which plugins have registered handlers in the Perl child.
    late: Rc<LateHooks>,
    /// What a parser of HELO or EHLO gave beyond the client's name, and in which session.
    greeting: RefCell<(String, Vec<Item>)>,
    this: Weak<Perl>,
}

struct LoadRequest {
    request: ToPerl,
    registered: Vec<Item>,
}

/// On whose behalf Perl is called: who answers its questions.
enum Caller<'a, 'b> {
    Session(&'a mut Session),
    Incoming(&'a Incoming<'b>),
    Loading(&'a mut Hooks),
    Process(&'a Config),
}

impl Perl {
    /// No process is started before the first plugin is loaded.
    pub fn new(config: &Config) -> Rc<Perl> {
        let plugins = config.path("plugins");
        let beside = plugins.as_deref().and_then(|file| file.parent()?.parent());
        let root = beside.map_or_else(|| PathBuf::from("/"), PathBuf::from);
        Rc::new_cyclic(|this| Perl {
            config: config.clone(),
            root: root.canonicalize().unwrap_or(root),
            confined: config.setting(NO_NEW_PRIVS) == "yes",
            process: RefCell::default(),
            loaded: RefCell::default(),
            serving: RefCell::default(),
            is_loading: Cell::new(true),
            lines: Lines::default(),
            parents: RefCell::default(),
            carried: Carried::default(),
            late: Rc::default(),
            greeting: RefCell::default(),
            this: this.clone(),
        })
    }

    /// What `config/perl_timeout` gives one handler of a Perl plugin.
    pub fn time_limit(&self) -> Duration {
        self.config.setting(PERL_TIMEOUT)
    }

    /// All plugins are loaded: from now on every process has a Perl child of its own.
    ///
    /// # Errors
    /// The Perl process has died.
    pub fn serve(&self, plugins: &Plugins) -> Result<()> {
        self.is_loading.set(false);
        if plugins.all_loggers_are_perl() {
            self.lines.go_to_perl_alone();
        }
        match self.process.borrow_mut().as_mut() {
            Some(process) => {
                self.replace_dead(process)?;
                process.control.send([ToPerl::Serve]).map_err(Error::new)
            }
            None => Ok(()),
        }
    }

    /// While plugins are loaded: one of them may end the process.  The others get a new one.
    ///
    /// # Errors
    /// It cannot be started, or the plugins that were loaded before cannot be loaded again.
    fn replace_dead(&self, process: &mut Process) -> Result<()> {
        match process.control.is_dead() {
            true => self.load_again(process).map_err(Error::new),
            false => Ok(()),
        }
    }

    /// In the parent, now and then: a Perl process that died is started anew.
    fn revive(&self) -> Option<String> {
        let mut process = self.process.borrow_mut();
        let process = process.as_mut().filter(|process| process.control.is_ours())?;
        if !process.control.is_dead() {
            return None;
        }
        self.serving.take();
        let again = self.load_again(process);
        Some(match again.and_then(|()| process.control.send([ToPerl::Serve])) {
            Ok(()) => "the Perl process had died and was started again".into(),
            Err(error) => format!("the Perl process has died and cannot be started: {error}"),
        })
    }

    fn load_again(&self, process: &mut Process) -> std::result::Result<(), String> {
        process.restart(&self.root, self.confined).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + LOAD_LIMIT;
        for loaded in &*self.loaded.borrow() {
            let mut caller = Caller::Process(&self.config);
            process.control.send([loaded.request.clone()])?;
            let reply = self.converse(&process.control, None, &mut caller, deadline);
            if reply.map_err(|failure| failure.to_string())?.rest != loaded.registered {
                return Err("a plugin's file has changed; reload the configuration".into());
            }
        }
        Ok(())
    }
}

fn no_process() -> Failure {
    Failure::Process("there is no Perl process".into())
}

impl Caller<'_, '_> {
    fn session(&mut self) -> Option<&mut Session> {
        match self {
            Caller::Session(session) => Some(session),
            _ => None,
        }
    }
}
