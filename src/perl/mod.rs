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
//! been told before (`replica`), and what it changed comes back with the verdict.  For the rest
//! it asks (`questions`).  The messages are in `protocol`.
//!
//! Where Perl handlers follow one another in a chain, the first call is for all of them: Perl goes on
//! as long as they decline.  What each of them says, logs and changes is put into a pipe, and taken
//! from there when the core asks that handler, so that to the core all is as if it had called each.
//!
//! A call that takes too long, or a child that dies, is a failure of that plugin, the connection is
//! closed, the nursery kills the child, and the next call gets another.  The nursery kills a child
//! whose worker has ended, and ends itself when the parent and all its children are gone.

mod api;
mod carried;
mod file;
mod known;
mod link;
mod load;
mod loggers;
mod process;
mod protocol;
mod questions;
mod replica;
mod serving;
mod source;
mod store;
mod verdict;
mod wire;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::{Hook, Hooks, Incoming, LateHooks, PARENT_LIMIT, Parent, Plugins, Session};
use crate::log::Level;
use crate::settings::{NO_NEW_PRIVS, PERL_TIMEOUT};

use carried::Carried;
use link::Link;
use loggers::Lines;
use process::Process;
use protocol::{Failure, FromPerl, Loggers, Reply, ToPerl};
use replica::Replica;
use serving::{Greeted, Serving};
use wire::Item;

pub use api::{config_files, lacking};
pub use known::known;
pub use load::{Source, dirs, own_arguments, settings, take_kept};
pub use source::{cannot_work, missing_module, misspelt_hook};

/// How long loading one plugin may take.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// How much sooner than the alarm, which ends the worker, a Perl handler has to be done.
const GRACE: Duration = Duration::from_secs(2);

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
    loaded: RefCell<Vec<Loaded>>,
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

struct Loaded {
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

    /// Asks a handler.  Perl may go on with those that follow it in the chain: what they say comes
    /// when they are asked.
    fn call(
        &self,
        caller: &mut Caller<'_, '_>,
        handler: i64,
        hook: &'static str,
        args: Vec<Item>,
        limit: Duration,
    ) -> Outcome<Reply> {
        if self.is_loading.get() {
            let deadline = Instant::now() + limit;
            let process = self.process.borrow();
            let Some(process) = &*process else { return Err(no_process()) };
            let (handlers, state) = (vec![handler], Item::Undef);
            let call = ToPerl::Call { handlers, hook, state, args };
            process.control.send([call]).map_err(Failure::Process)?;
            return self.converse(&process.control, None, caller, deadline);
        }
        let under_way = self.serving.borrow().clone().filter(|serving| serving.link.is_ours());
        let turn = under_way.and_then(|serving| {
            let turn = serving.goes_on_with(hook, handler)?;
            Some((serving, turn + limit))
        });
        let (serving, deadline) = match turn {
            Some(turn) => turn,
            None => self.begin(caller, handler, hook, &args, limit)?,
        };
        let reply = self.converse(&serving.link, Some(&serving), caller, deadline);
        if let Err(Failure::Process(_)) = reply {
            serving.link.cut();
            self.serving.take();
            self.log_held(caller);
        }
        reply
    }

    /// Calls a handler, together with those that follow it: until when the first one has to be done.
    fn begin(
        &self,
        caller: &mut Caller<'_, '_>,
        handler: i64,
        hook: &'static str,
        args: &[Item],
        limit: Duration,
    ) -> Outcome<(Rc<Serving>, Instant)> {
        let following = self.following(caller);
        let handlers: Vec<i64> = [&[handler], &following[..]].concat();
        let serving = self.send(caller, |serving, session| {
            let mut state = serving.replica.borrow_mut().state(session.as_deref());
            self.add_carried(&mut state, session.as_deref());
            let (handlers, args) = (handlers.clone(), args.to_vec());
            Some(ToPerl::Call { handlers, hook, state, args })
        })?;
        serving.begins(hook, &following);
        let limit = match &*self.process.borrow() {
            // There may never be anybody who answers.
            Some(process) if serving.is_new.replace(false) && process.control.is_dead() => {
                limit.min(PARENT_LIMIT)
            }
            _ => limit,
        };
        Ok((serving, Instant::now() + limit))
    }

    /// The handlers of the chain that Perl may call after the one that is asked now, as nobody else
    /// has anything to do between them.
    fn following(&self, caller: &mut Caller<'_, '_>) -> Vec<i64> {
        let Caller::Session(session) = caller else { return vec![] };
        let following = session.take_following();
        let plugins = session.plugins();
        // Each answer is told to these.
        let is_told = session.has(Hook::Ok) || plugins.wants(Level::Debug);
        match is_told || self.lines.loggers() == Loggers::Mixed {
            true => vec![],
            false => following,
        }
    }

    /// Sends a message, after what Perl has to know before.  A process that has died meanwhile is
    /// replaced.
    fn send(
        &self,
        caller: &mut Caller<'_, '_>,
        message: impl Fn(&Serving, Option<&mut Session>) -> Option<ToPerl>,
    ) -> Outcome<Rc<Serving>> {
        let lines = self.lines.take();
        for is_last in [false, true] {
            let serving = self.serving()?;
            let mut out = vec![];
            out.extend(self.greets(&serving, caller));
            out.extend(lines.clone());
            out.extend(message(&serving, caller.session()));
            match serving.link.send(out) {
                Ok(()) => return Ok(serving),
                Err(why) if is_last => return Err(Failure::Process(why)),
                Err(_) => drop(self.serving.take()),
            }
        }
        Err(no_process())
    }

    /// Writes the lines that were held.
    fn log_held(&self, caller: &mut Caller<'_, '_>) {
        for line in self.lines.take_held() {
            self.take_statement(caller, "log", &line);
        }
    }

    /// Answers questions until a handler is done.
    fn converse(
        &self,
        link: &Link,
        serving: Option<&Rc<Serving>>,
        caller: &mut Caller<'_, '_>,
        deadline: Instant,
    ) -> Outcome<Reply> {
        loop {
            match link.receive(deadline).map_err(Failure::Process)? {
                FromPerl::Step { reply, changes, since } => {
                    if !serving.is_some_and(|serving| serving.steps(since)) {
                        return Err(Failure::Process("the Perl process went too far".into()));
                    }
                    self.apply(serving, caller, &changes)?;
                    return Ok(reply);
                }
                FromPerl::Returned { reply, changes } => {
                    serving.into_iter().for_each(|serving| serving.ends());
                    self.apply(serving, caller, &changes)?;
                    return Ok(reply);
                }
                FromPerl::Died { why, changes } => {
                    serving.into_iter().for_each(|serving| serving.ends());
                    self.apply(serving, caller, &changes)?;
                    return Err(Failure::Handler(why));
                }
                FromPerl::Question { what, args, changes } => {
                    self.apply(serving, caller, &changes)?;
                    let (answer, is_over) = match serving {
                        Some(serving) => serving.apart(|| self.answer(caller, &what, &args)),
                        None => (self.answer(caller, &what, &args), true),
                    };
                    if !is_over {
                        return Err(Failure::Process("the Perl process is not done".into()));
                    }
                    let answer = match answer {
                        Ok(value) => self.answered(serving, caller, value),
                        Err(refused) => ToPerl::Refusal(refused),
                    };
                    link.send(self.lines.take().into_iter().chain([answer]))
                        .map_err(Failure::Process)?;
                }
                FromPerl::Statement { what, args } if self.lines.holds(&what) => {
                    self.lines.hold(args);
                }
                FromPerl::Statement { what, args } => self.take_statement(caller, &what, &args),
            }
        }
    }

    fn answered(
        &self,
        serving: Option<&Rc<Serving>>,
        caller: &mut Caller<'_, '_>,
        value: Item,
    ) -> ToPerl {
        let mut session = caller.session();
        let goes_on = !session.as_mut().is_some_and(|session| session.is_void());
        let state = serving
            .map_or(Item::Undef, |serving| serving.replica.borrow_mut().state(session.as_deref()));
        ToPerl::Answer { value, state, goes_on }
    }

    /// A session begins: what plugins have kept of its client goes with what else is told of it.
    fn add_carried(&self, state: &mut Item, session: Option<&Session>) {
        let (Some(session), Item::Map(pairs)) = (session, state) else { return };
        if pairs.first().is_some_and(|pair| pair.0 == "S") {
            let connection = &session.connection;
            let client = SocketAddr::new(connection.remote_ip, connection.remote_port);
            let kept = self.carried.of(client);
            if !kept.is_empty() {
                pairs.push(("p".into(), Item::List(kept)));
            }
        }
    }

    /// Does what plugins did, and writes the lines that were held: Perl listens now.
    fn apply(
        &self,
        serving: Option<&Rc<Serving>>,
        caller: &mut Caller<'_, '_>,
        changes: &Item,
    ) -> Outcome<()> {
        let start = changes.get("B").and_then(Item::as_number);
        self.take_back_body(caller, start.and_then(|start| u64::try_from(start).ok()))
            .map_err(Failure::Process)?;
        if let Some(serving) = serving {
            serving.replica.borrow_mut().apply(caller.session(), changes);
            if let (Caller::Incoming(incoming), Some(kept)) = (&caller, changes.get("p")) {
                let client = SocketAddr::new(incoming.remote_ip, incoming.remote_port);
                self.carried.keep(client, kept.as_list());
            }
            if let Some(late) = changes.get("L") {
                let names = late.as_list().iter().map(Item::as_text);
                self.late.set(names.filter_map(|name| Hook::from_name(&name)));
            }
        }
        self.log_held(caller);
        Ok(())
    }

    /// This process's own connection, made at its first use.
    fn serving(&self) -> Outcome<Rc<Serving>> {
        let known = self.serving.borrow().clone().filter(|serving| serving.link.is_ours());
        match known {
            Some(serving) if !serving.is_running() => return Ok(serving),
            // It runs handlers that nobody asks any more.
            Some(serving) => serving.link.cut(),
            None => {}
        }
        let link = match &*self.process.borrow() {
            Some(process) => process.connect().map_err(Failure::Process)?,
            None => return Err(no_process()),
        };
        // A new child has only the handlers that were loaded.
        self.late.set(std::iter::empty());
        let serving = Rc::new(Serving::new(link));
        *self.serving.borrow_mut() = Some(serving.clone());
        Ok(serving)
    }

    /// Do handlers run that the core has not come to yet?
    fn is_running(&self) -> bool {
        self.serving.borrow().as_ref().is_some_and(|serving| serving.is_running())
    }

    /// What Perl does not know yet of the plugins.
    fn greets(&self, serving: &Serving, caller: &mut Caller<'_, '_>) -> Option<ToPerl> {
        let greets = match caller {
            Caller::Session(_) => Greeted::InSession,
            _ => Greeted::Outside,
        };
        if serving.greeted.get() >= greets {
            return None;
        }
        serving.greeted.set(greets);
        let (level, plugins) = match caller {
            Caller::Session(session) => {
                let plugins = session.plugins();
                let wanted = (0..8).rev().find(|n| plugins.wants(Level::from_number(*n)));
                (wanted.unwrap_or(-1), plugins.names().map(verdict::escaped).collect())
            }
            _ => (7, vec![]),
        };
        let loggers = match (greets, self.lines.loggers()) {
            (Greeted::Outside, Loggers::Perl) => Loggers::Mixed,
            (_, loggers) => loggers,
        };
        Some(ToPerl::Hello { level, loggers, plugins })
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
        let mut caller = Caller::Process(&self.config);
        let deadline = Instant::now() + PARENT_LIMIT;
        if serving.link.send([ToPerl::HasGrown]).is_ok() {
            let reply = self.converse(&serving.link, None, &mut caller, deadline);
            if reply.is_ok_and(|reply| reply.code == Some(0)) {
                return;
            }
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

/// For the fuzz targets: any octets as a frame from Perl, and as what Perl did to a session.
pub(crate) fn take_frame(octets: &[u8], session: &mut Session) {
    let Ok(items) = wire::parse(octets) else { return };
    let mut frame = vec![];
    wire::write_frame(items.clone(), &mut frame);
    assert_eq!(wire::parse(&frame[4..]).as_ref(), Ok(&items));
    let _ = FromPerl::from_items(items.clone());
    let mut replica = Replica::default();
    for item in &items {
        replica.state(Some(session));
        replica.apply(Some(session), item);
        let header = session.transaction.header.to_bytes();
        assert!(
            header.split_inclusive(|octet| *octet == b'\n').all(|line| line.ends_with(b"\r\n"))
        );
    }
    replica.state(Some(session));
}

impl Caller<'_, '_> {
    fn session(&mut self) -> Option<&mut Session> {
        match self {
            Caller::Session(session) => Some(session),
            _ => None,
        }
    }
}
