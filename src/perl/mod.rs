//! The host for unmodified Perl plugins.
//!
//! ```text
//! parent ──control socket── nursery (perl: loads every plugin once, in config/plugins' order)
//!   │                          │ fork
//! worker ───unix socket──── Perl child (one per worker, made at its first Perl hook)
//! ```
//!
//! A Perl plugin is registered like a native one; its handlers are calls over the socket.  What a
//! handler needs to know of the session travels with the call, as far as the Perl child has not
//! been told before (`mirror`), and what it changed comes back with the verdict.  For the rest
//! it asks (`answers`).  Frames and their order: `lib/Qpsmtpd/Host.pm`.
//!
//! A call that takes too long, or a child that dies, is a failure of that plugin, the connection is
//! closed, the nursery kills the child, and the next call gets another.  The nursery kills a child
//! whose worker has ended, and ends itself when the parent and all its children are gone.

mod answers;
mod file;
mod known;
mod link;
mod load;
mod mirror;
mod process;
mod source;
mod verdict;
mod wire;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::{Hook, Hooks, Incoming, LateHooks, Parent, Session};
use crate::log::Level;
use crate::settings::{NO_NEW_PRIVS, PERL_TIMEOUT};

use link::Link;
use mirror::Mirror;
use process::Process;
use wire::Item;

pub use known::known;
pub use load::{Source, dirs, own_arguments, settings, take_kept};
pub use source::{cannot_work, missing_module};

/// How long loading one plugin may take.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// How much sooner than the alarm, which ends the worker, a Perl handler has to be done.
const GRACE: Duration = Duration::from_secs(2);

/// How long the parent waits for a Perl handler: nobody else is served meanwhile.
const PARENT_LIMIT: Duration = Duration::from_secs(2);

/// All Perl plugins of a configuration.
pub struct Perl {
    config: Config,
    /// What plugins take for the server's folder.
    root: PathBuf,
    /// Do programs that plugins start get no rights of their own?
    confined: bool,
    process: RefCell<Option<Process>>,
    /// What was loaded, for when it has to be loaded again.
    loaded: RefCell<Vec<Loaded>>,
    serving: RefCell<Option<Rc<Serving>>>,
    is_loading: Cell<bool>,
    has_loggers: Cell<bool>,
    /// Lines of the log, level and text, that a handler has said and that loggers in Perl get when
    /// its process listens again.
    held: RefCell<Vec<Vec<Item>>>,
    /// Has a plugin the argument `loglevel`, so that no line is known to be superfluous?
    shifts_levels: Cell<bool>,
    parents: RefCell<Vec<Parent>>,
    /// The hooks for which plugins have registered handlers in the Perl child.
    late: Rc<LateHooks>,
    /// What a parser of HELO or EHLO gave beyond the client's name, and in which session.
    greeting: RefCell<(String, Vec<Item>)>,
    this: Weak<Perl>,
}

struct Loaded {
    request: Vec<Item>,
    registered: Vec<Item>,
}

/// A connection to a Perl process with what that one knows.
struct Serving {
    link: Link,
    mirror: RefCell<Mirror>,
}

/// On whose behalf Perl is called: who answers its questions.
enum Asker<'a, 'b> {
    Session(&'a mut Session),
    Incoming(&'a Incoming<'b>),
    Loading(&'a mut Hooks),
    Process(&'a Config),
}

/// What a handler said: a code and what followed it.
struct Said {
    code: Option<i64>,
    rest: Vec<Item>,
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
            has_loggers: Cell::new(false),
            held: RefCell::default(),
            shifts_levels: Cell::new(false),
            parents: RefCell::default(),
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
    pub fn serve(&self) -> Result<()> {
        self.is_loading.set(false);
        match &*self.process.borrow() {
            Some(process) => process.control.send(process::ready()).map_err(Error::new),
            None => Ok(()),
        }
    }

    /// Asks a handler.
    ///
    /// # Errors
    /// It died, or its process did, or it took longer than `limit`.
    fn call(
        &self,
        asker: &mut Asker<'_, '_>,
        handler: i64,
        hook: &str,
        args: Vec<Item>,
        limit: Duration,
    ) -> std::result::Result<Said, String> {
        let frame = |state| {
            let (handler, hook) = (Item::number(handler), Item::text(hook));
            vec![Item::text("c"), handler, hook, state, Item::List(args)]
        };
        if self.is_loading.get() {
            let deadline = Instant::now() + limit;
            let process = self.process.borrow();
            let Some(process) = &*process else { return Err("there is no Perl process".into()) };
            return self.converse(&process.control, None, asker, frame(Item::Undef), deadline);
        }
        let (serving, limit) = self.serving(asker, limit)?;
        let deadline = Instant::now() + limit;
        let state = serving.mirror.borrow_mut().state(asker.session().map(|session| &*session));
        let said =
            self.converse(&serving.link, Some(&serving.mirror), asker, frame(state), deadline);
        said.map_err(|failure| match failure {
            failure if failure.starts_with(DIED) => failure[DIED.len()..].to_owned(),
            failure => {
                serving.link.cut();
                self.serving.take();
                self.log_held(asker);
                failure
            }
        })
    }

    /// Writes the lines that were held.
    fn log_held(&self, asker: &mut Asker<'_, '_>) {
        for line in self.held.take() {
            self.take_statement(asker, "log", &line);
        }
    }

    /// Sends a frame and answers questions until there is a verdict.
    fn converse(
        &self,
        link: &Link,
        mirror: Option<&RefCell<Mirror>>,
        asker: &mut Asker<'_, '_>,
        frame: Vec<Item>,
        deadline: Instant,
    ) -> std::result::Result<Said, String> {
        let apply = |asker: &mut Asker<'_, '_>, changes: Option<&Item>| {
            let start = changes.and_then(|changes| changes.get("B")?.as_number());
            self.take_back_body(asker, start.and_then(|start| u64::try_from(start).ok()))?;
            if let (Some(mirror), Some(changes)) = (mirror, changes) {
                mirror.borrow_mut().apply(asker.session(), changes);
                if let Some(late) = changes.get("L") {
                    let names = late.as_list().iter().map(Item::as_text);
                    self.late.set(names.filter_map(|name| Hook::from_name(&name)));
                }
            }
            Ok::<_, String>(())
        };
        link.send(frame)?;
        loop {
            let frame = link.receive(deadline)?;
            let part = |at: usize| frame.get(at).cloned().unwrap_or(Item::Undef);
            match frame.first().map(Item::as_octets).unwrap_or_default() {
                b"r" => {
                    apply(asker, frame.get(3))?;
                    self.log_held(asker);
                    let rest = frame.get(2).map_or(&[][..], Item::as_list).to_vec();
                    return Ok(Said { code: part(1).as_number(), rest });
                }
                b"d" => {
                    apply(asker, frame.get(2))?;
                    self.log_held(asker);
                    return Err(format!("{DIED}{}", part(1).as_text().trim_end()));
                }
                b"a" => {
                    apply(asker, frame.get(3))?;
                    self.log_held(asker);
                    let answer = self.answer(asker, &part(1).as_text(), part(2).as_list());
                    link.send(match answer {
                        Ok(answer) => {
                            let state = mirror.map_or(Item::Undef, |mirror| {
                                mirror.borrow_mut().state(asker.session().map(|session| &*session))
                            });
                            vec![Item::text("k"), answer, state]
                        }
                        Err(why) => vec![Item::text("e"), Item::text(why)],
                    })?;
                }
                b"t" if self.has_loggers.get() && part(1).as_octets() == b"log" => {
                    self.held.borrow_mut().push(part(2).as_list().to_vec());
                }
                b"t" => self.take_statement(asker, &part(1).as_text(), part(2).as_list()),
                _ => return Err("the Perl process sent an unknown frame".into()),
            }
        }
    }

    /// This process's own connection, made at its first use, and how much of `limit` a call on it
    /// may take: where the process that makes children has died, there may never be one.
    fn serving(
        &self,
        asker: &mut Asker<'_, '_>,
        limit: Duration,
    ) -> std::result::Result<(Rc<Serving>, Duration), String> {
        if let Some(serving) = &*self.serving.borrow()
            && serving.link.is_ours()
            && !serving.link.is_dead()
        {
            return Ok((serving.clone(), limit));
        }
        let (link, limit) = match &*self.process.borrow() {
            Some(process) if process.control.is_dead() => {
                (process.connect()?, limit.min(PARENT_LIMIT))
            }
            Some(process) => (process.connect()?, limit),
            None => return Err("there is no Perl process".into()),
        };
        let (mut level, names) = match asker {
            Asker::Session(session) => {
                let plugins = session.plugins();
                let wanted = (0..8).rev().find(|n| plugins.wants(Level::from_number(*n)));
                let names = plugins.names().map(verdict::escaped).collect();
                (wanted.unwrap_or(-1), names)
            }
            _ => (7, vec![]),
        };
        if self.shifts_levels.get() {
            level = 7;
        }
        let holds = if self.has_loggers.get() { "1" } else { "0" };
        let hello =
            vec![Item::text("h"), Item::number(level), Item::text(holds), Item::texts(names)];
        link.send(hello)?;
        // A new child has only the handlers that were loaded.
        self.late.set(std::iter::empty());
        let serving = Rc::new(Serving { link, mirror: RefCell::default() });
        *self.serving.borrow_mut() = Some(serving.clone());
        Ok((serving, limit))
    }

    /// In a process that was just forked: the parent's connection is not ours.
    fn forget_inherited(&self) {
        self.serving.take();
    }

    /// Lets go of this process's Perl child if it keeps too much memory: the next call gets another.
    fn let_go(&self) {
        let Some(serving) = self.serving.borrow().clone().filter(|own| own.link.is_ours()) else {
            return;
        };
        let mut asker = Asker::Process(&self.config);
        let deadline = Instant::now() + PARENT_LIMIT;
        let frame = vec![Item::text("g")];
        let said = self.converse(&serving.link, None, &mut asker, frame, deadline);
        if said.is_ok_and(|said| said.code == Some(0)) {
            return;
        }
        serving.link.cut();
        self.serving.take();
    }

    /// In the parent, now and then: a Perl process that died is started anew.
    fn revive(&self) -> Option<String> {
        let mut process = self.process.borrow_mut();
        let process = process.as_mut().filter(|process| process.control.is_ours())?;
        if !process.control.is_dead() {
            return None;
        }
        self.serving.take();
        Some(match self.load_again(process) {
            Ok(()) => "the Perl process had died and was started again".into(),
            Err(error) => format!("the Perl process has died and cannot be started: {error}"),
        })
    }

    fn load_again(&self, process: &mut Process) -> std::result::Result<(), String> {
        process.restart(&self.root, self.confined).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + LOAD_LIMIT;
        for loaded in &*self.loaded.borrow() {
            let mut asker = Asker::Process(&self.config);
            let request = loaded.request.clone();
            let said = self.converse(&process.control, None, &mut asker, request, deadline)?;
            if said.rest != loaded.registered {
                return Err("a plugin's file has changed; reload the configuration".into());
            }
        }
        process.control.send(process::ready())
    }
}

/// For the fuzz targets: any octets as a frame from Perl, and as what Perl did to a session.
pub(crate) fn take_frame(octets: &[u8], session: &mut Session) {
    let Ok(items) = wire::parse(octets) else { return };
    let frame = wire::frame(items.clone());
    assert_eq!(wire::parse(&frame[4..]).as_ref(), Ok(&items));
    let mut mirror = Mirror::default();
    for item in &items {
        mirror.state(Some(session));
        mirror.apply(Some(session), item);
        let header = session.transaction.header.to_bytes();
        assert!(
            header.split_inclusive(|octet| *octet == b'\n').all(|line| line.ends_with(b"\r\n"))
        );
    }
    mirror.state(Some(session));
}

/// Marks a failure of a handler, after which its process is as good as before.
const DIED: &str = "\0";

impl Asker<'_, '_> {
    fn session(&mut self) -> Option<&mut Session> {
        match self {
            Asker::Session(session) => Some(session),
            _ => None,
        }
    }
}
