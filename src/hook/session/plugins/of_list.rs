//! Which of the plugins a client has, by the list that it is given.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use super::Plugins;
use crate::hook::Hook;
use crate::hook::handler::Handler;
use crate::hook::lists::List;
use crate::hook::loaded::Extension;
use crate::hook::session::{SessionFn, TlsFn};

impl Plugins {
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

    /// Has any plugin of that list a handler for a hook of sessions?
    pub(crate) fn has_in(&self, list: List, hook: Hook) -> bool {
        let own = &self.handlers[hook as usize];
        own.iter().any(|handler| self.is_in(handler.plugin, list)) || self.is_late(hook)
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

    /// Who chooses certificates for clients that have this list, if TLS is offered.  Where its own
    /// plugins do not offer it, those of `config/plugins` may.
    pub(crate) fn tls(&self, list: List) -> Option<Rc<TlsFn>> {
        let of = |wanted| self.tls.iter().rfind(|(plugin, _)| self.loaded(*plugin).list == wanted);
        of(list).or_else(|| of(List::Main)).map(|(_, choose)| choose.clone())
    }

    /// The names of the plugins of a list, in order.
    pub(crate) fn names_in(&self, list: List) -> impl Iterator<Item = &str> {
        let plugins = self.loaded.iter().filter(move |plugin| plugin.list == list);
        plugins.map(|plugin| &*plugin.name)
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

    /// The id of the first handler that the plugin of that name and list has for `hook`.
    pub(crate) fn handler_of(&self, list: List, plugin: &str, hook: Hook) -> Option<usize> {
        let named = |handler: &&Handler<_>| {
            &*self.loaded(handler.plugin).name == plugin && self.is_in(handler.plugin, list)
        };
        self.handlers[hook as usize].iter().find(named).map(|handler| handler.id as usize)
    }
}
