//! What a plugin offers besides handlers: TLS, extensions, lists of plugins, commands for people.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;

use super::Hooks;
use crate::error::Result;
use crate::hook::lists::Lists;
use crate::hook::{Extension, Hook, Session};
use crate::store::{Kept, Table};

impl Hooks {
    /// Offers TLS: `choose` gives certificates and parameters for each client, and the core does
    /// STARTTLS, or TLS from the start on the ports of `config/tls_ports`.
    pub fn tls(
        &mut self,
        choose: impl Fn(&mut Session) -> std::result::Result<Arc<ServerConfig>, String> + 'static,
    ) {
        self.registered.tls = Some(Rc::new(choose));
    }

    /// Gives each client a list of plugins of its own in the place of `config/plugins`: that of one of
    /// `files`, names of files of the configuration with lines as in `config/plugins`.  `choose`
    /// says which, by its place in `files`, for the client's address and whether it has
    /// authenticated; None: that client has only this plugin.
    pub fn lists(
        &mut self,
        files: Vec<String>,
        choose: impl Fn(IpAddr, bool) -> Option<usize> + 'static,
    ) {
        self.registered.lists = Some(Lists { files, choose: Rc::new(choose) });
    }

    /// Says that the `queue` handlers of this plugin support an extension.  The core offers it only if
    /// all plugins that queue do.
    pub fn supports(&mut self, extension: Extension) {
        self.registered.extensions.push(extension);
    }

    /// Says that the plugin's handlers of `hook` decide about everything, unless they fail, so that no handler
    /// behind them is asked.
    pub fn always_decides(&mut self, hook: Hook) {
        self.registered.decides.push(hook);
    }

    /// Says that the plugin keeps entries in the table `name` of the store ([`Session::store`]), and how it
    /// explains one to people: whom it is about, what comes of it, until when.
    pub fn keeps(&mut self, name: &'static str, explain: impl Fn(&Kept) -> String + 'static) {
        self.registered.keeps.push((name, Rc::new(explain)));
    }

    /// Adds a command for people, `qpsmtpd --store NAME TABLE WORD`: it gets the table and the word, and
    /// returns a line that says what was done.
    pub fn store_command(
        &mut self,
        table: &'static str,
        name: &'static str,
        run: impl Fn(&Table, &str) -> Result<String> + 'static,
    ) {
        self.registered.commands.push((table, name, Rc::new(run)));
    }

    /// Adds what the plugin does without a client, at an option of the program: it gets a session whose
    /// transaction it may fill, and the word behind the option, and returns a text for people.
    pub(crate) fn job(
        &mut self,
        name: &'static str,
        run: impl Fn(&mut Session, &str) -> Result<String> + 'static,
    ) {
        self.registered.jobs.push((name, Rc::new(run)));
    }
}
