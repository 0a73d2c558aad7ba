//! Who is loaded, and what that means for all sessions.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::{KeptLine, Plugins, SessionFn, TlsFn};
use crate::config::{Config, Line};
use crate::hook::handler::{CommandFn, ExplainFn, Handler, Rest};
use crate::hook::lists::List;
use crate::hook::loaded::{Extension, Loaded, Origin};
use crate::hook::{Hook, TABLE};
use crate::log::{self, Level};
use crate::sys::confine;

impl Plugins {
    /// No plugins; the log goes to standard error up to `level`.
    pub fn new(level: Level) -> Plugins {
        log::prepare_stderr();
        Plugins {
            handlers: TABLE.iter().map(|_| vec![]).collect(),
            stderr_level: Cell::new(Some(level)),
            ..Plugins::default()
        }
    }

    /// No plugins, for finding out which can be loaded: logging plugins get no lines, and those
    /// up to `level`, warnings in any case, go to standard error.
    pub(crate) fn without_loggers(level: Level) -> Plugins {
        Plugins { is_check: true, ..Plugins::new(level.max(Level::Warn)) }
    }

    /// The same, and what they log, up to warnings, is kept for [`Plugins::take_kept`].
    pub(crate) fn that_keep_lines() -> Plugins {
        Plugins { kept: Some(RefCell::default()), ..Plugins::without_loggers(Level::Warn) }
    }

    /// What was kept, with the name of the plugin that said it.
    pub(crate) fn take_kept(&self) -> Vec<KeptLine> {
        self.kept.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// The files of the lists that clients have.  None: all have `config/plugins`.
    pub(crate) fn list_files(&self) -> Option<&[String]> {
        self.lists.as_ref().map(|(_, lists)| &*lists.files)
    }

    /// What is added from now on is in this list.
    pub(crate) fn load_list(&mut self, list: List) {
        self.loading = list;
    }

    /// The list that is being loaded.
    pub(crate) fn loading(&self) -> List {
        self.loading
    }

    /// All lists that a client can have, with the files that they are in.
    pub(crate) fn all_lists(&self) -> impl Iterator<Item = (List, &str)> {
        let files = self.list_files();
        let main = files.is_none().then_some((List::Main, "plugins"));
        let files = files.unwrap_or_default().iter().enumerate();
        main.into_iter().chain(files.map(|(at, file)| (List::Of(at), &**file)))
    }

    /// The list that a client has.
    pub(crate) fn list_of(&self, ip: IpAddr, has_authenticated: bool) -> List {
        let lists = self.lists.as_ref();
        lists.map_or(List::Main, |(_, lists)| lists.list_of(ip, has_authenticated))
    }

    /// Is a plugin asked in the sessions of clients that have this list?
    pub(in crate::hook) fn is_in(&self, plugin: u16, list: List) -> bool {
        self.loaded(plugin).list == list
            || self.lists.as_ref().is_some_and(|(own, _)| *own == plugin)
    }

    /// The plugins of `config/plugins` that have handlers which no session asks, as clients have other
    /// lists.
    pub(crate) fn unasked(&self) -> Vec<&str> {
        let main = self.handlers.iter().flatten().map(|handler| handler.plugin);
        let unasked: BTreeSet<u16> = main
            .filter(|plugin| self.loaded(*plugin).list == List::Main)
            .filter(|plugin| !self.all_lists().any(|(list, _)| self.is_in(*plugin, list)))
            .collect();
        unasked.into_iter().map(|plugin| &*self.loaded(plugin).name).collect()
    }

    /// How many connections the address may have at once, where the option `--max-from-ip` says `max`.
    pub(crate) fn max_from_ip(&self, ip: IpAddr, max: usize) -> usize {
        self.max_from_ip.iter().fold(max, |max, change| change(ip, max).max(1))
    }

    /// The numbers of the handlers behind this one in a chain which can be run together with it.
    pub(in crate::hook) fn following(
        &self,
        chain: &[Handler<SessionFn>],
        place: usize,
        list: List,
    ) -> Vec<i64> {
        let after = chain.get(place + 1..).unwrap_or_default().iter();
        let asked = after.filter(|handler| self.is_in(handler.plugin, list));
        asked.map_while(|handler| handler.number).collect()
    }

    /// The process begins to wait for a client; `waits_long` finds out whether that takes long.
    pub(crate) fn before_wait(&self, waits_long: &dyn Fn() -> bool) {
        self.before_wait.iter().for_each(|run| run(waits_long));
    }

    /// The worker has no client.  Returns after how long this is to be called again if there is none
    /// by then.
    pub(crate) fn rest(&self, rest: Rest) -> Option<Duration> {
        self.rests.iter().filter_map(|run| run(rest)).min()
    }

    /// Are all plugins that log written in Perl?
    pub(crate) fn all_loggers_are_perl(&self) -> bool {
        let is_perl = |plugin: u16| self.loaded(plugin).origin == Origin::Perl;
        self.loggers().iter().all(|(_, handler)| is_perl(handler.plugin))
    }

    /// Who chooses certificates for clients that have this list, if TLS is offered.  Where its own
    /// plugins do not offer it, those of `config/plugins` may.
    pub(crate) fn tls(&self, list: List) -> Option<Rc<TlsFn>> {
        let of = |wanted| self.tls.iter().rfind(|(plugin, _)| self.loaded(*plugin).list == wanted);
        of(list).or_else(|| of(List::Main)).map(|(_, choose)| choose.clone())
    }

    /// Has any plugin of that list a handler for a hook of sessions?
    pub(crate) fn has_in(&self, list: List, hook: Hook) -> bool {
        let own = &self.handlers[hook as usize];
        own.iter().any(|handler| self.is_in(handler.plugin, list)) || self.is_late(hook)
    }

    /// Has any plugin of any list a handler for `hook`?
    pub fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::PreConnection => !self.incoming.is_empty(),
            Hook::PostFork => !self.forks.is_empty(),
            Hook::Logging => !self.loggers.is_empty(),
            _ => !self.handlers[hook as usize].is_empty() || self.is_late(hook),
        }
    }

    /// Is there a plugin of that list that queues, and do all that do support the extension?
    pub(crate) fn supports(&self, list: List, extension: Extension) -> bool {
        let queues = self.handlers[Hook::Queue as usize].iter();
        let queues = || queues.clone().filter(|handler| self.is_in(handler.plugin, list));
        let supports = |plugin: u16| self.loaded(plugin).extensions.contains(&extension);
        queues().next().is_some()
            && queues().all(|handler| supports(handler.plugin))
            && !self.is_late(Hook::Queue)
    }

    /// Have handlers for this hook come after all plugins were loaded?
    pub(in crate::hook) fn is_late(&self, hook: Hook) -> bool {
        self.late.iter().any(|(hooks, _)| hooks.has(hook))
    }

    /// What runs them, after all others.
    pub(in crate::hook) fn late(&self) -> impl Iterator<Item = &Handler<SessionFn>> {
        self.late.iter().map(|(_, handler)| handler)
    }

    /// Says which native plugin the one is that was added last.
    pub(crate) fn set_native(&mut self, name: &'static str) {
        if let Some(last) = self.loaded.last_mut() {
            last.native = Some(name);
        }
    }

    /// Says that the plugin that was added last is not plainly native; and the Perl file or module that it
    /// is, or in whose place it stands.
    pub(crate) fn set_origin(&mut self, origin: Origin, perl: String) {
        if let Some(last) = self.loaded.last_mut() {
            last.origin = origin;
            last.perl = Some(perl);
        }
    }

    /// The files and modules of the Perl plugins, in order.
    pub(crate) fn perl_sources(&self) -> impl Iterator<Item = &str> {
        let perl = self.loaded.iter().filter(|plugin| plugin.origin == Origin::Perl);
        perl.filter_map(|plugin| plugin.perl.as_deref())
    }

    /// Says which line names the plugin that was added last.
    pub(crate) fn set_line(&mut self, line: &Line) {
        if let Some(last) = self.loaded.last_mut() {
            last.line = Some(line.clone());
        }
    }

    /// All plugins, in the order in which they were loaded.
    pub(crate) fn all(&self) -> &[Loaded] {
        &self.loaded
    }

    /// The names of the loaded plugins that come from there, in order, each once.
    pub fn names_from(&self, origin: Origin) -> Vec<&str> {
        let mut names: Vec<&str> = vec![];
        for plugin in self.loaded.iter().filter(|plugin| plugin.origin == origin) {
            if !names.contains(&&*plugin.name) {
                names.push(&plugin.name);
            }
        }
        names
    }

    /// The names of the plugins of a list, in order.
    pub(crate) fn names_in(&self, list: List) -> impl Iterator<Item = &str> {
        let plugins = self.loaded.iter().filter(move |plugin| plugin.list == list);
        plugins.map(|plugin| &*plugin.name)
    }

    /// The names of the loaded plugins, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.loaded.iter().map(|plugin| &*plugin.name)
    }

    /// The configuration files that the plugins say they read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|name| &**name)
    }

    /// Does any plugin listen to what goes over the line?
    pub(crate) fn listens(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// The commands that plugins have for their tables of the store: of which table, by which name.
    pub(crate) fn commands(&self) -> &[(&'static str, &'static str, Rc<CommandFn>)] {
        &self.commands
    }

    /// The tables of the store that are plugins', with what explains their entries.
    pub(crate) fn tables(&self) -> &[(&'static str, Rc<ExplainFn>)] {
        &self.keeps
    }

    /// Reads what the plugins will want from the configuration now, so that processes made later
    /// inherit it.  True: processes that were made before are out of date.
    pub fn before_fork(&self, config: &Config) -> bool {
        for name in &self.files {
            config.list(name);
        }
        self.before_fork.iter().filter(|run| run(config)).count() > 0
    }

    /// In a new process: lets go of what is the parent's.
    pub(crate) fn leave_parent(&self) {
        self.at_fork.iter().for_each(|run| run());
    }

    /// No plugin starts programs that need more rights than the process that starts them.
    pub(crate) fn need_no_privileges(&self) {
        self.confined.set(true);
    }

    /// In a process that serves: what it starts gets no more rights than it has itself, unless a
    /// plugin needs that.
    pub(crate) fn confine(&self) {
        if self.confined.get()
            && let Err(error) = confine::no_new_privileges()
        {
            self.log(Level::Error, format_args!("no_new_privs: {error}"));
        }
    }

    /// After a session with a lot of mail: lets go of what has grown.
    pub(crate) fn let_go(&self) {
        self.after_much_mail.iter().for_each(|run| run());
    }

    pub(crate) fn loaded(&self, plugin: u16) -> &Loaded {
        &self.loaded[plugin as usize]
    }

    /// Handler ids are below this; one octet per handler holds its result.
    pub(crate) fn handler_count(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn handler_of(&self, list: List, plugin: &str, hook: Hook) -> Option<usize> {
        let named = |handler: &&Handler<_>| {
            &*self.loaded(handler.plugin).name == plugin && self.is_in(handler.plugin, list)
        };
        self.handlers[hook as usize].iter().find(named).map(|handler| handler.id as usize)
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
