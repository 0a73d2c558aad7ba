//! Loading one Perl plugin: its handlers become handlers like any other's.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use super::{Caller, LOAD_LIMIT, LoadRequest, Perl};
use crate::config::Config;
use crate::error::{Error, Result, meant};
use crate::hook::{Call, DECLINED, Hook, Hooks, List, PARENT_LIMIT, Session, TABLE, Verdict};
use crate::log::Level;
use crate::perl::arguments::GRACE;
use crate::perl::process::Process;
use crate::perl::protocol::{Failure, Reply, ToPerl};
use crate::perl::verdict::{arguments, incoming_arguments, verdict};
use crate::perl::wire::Item;
use crate::settings::PLUGIN_DIRS;

/// Instead of a handler's number: all that the Perl child has left to run.
const AT_THE_END: i64 = -1;

/// Where a Perl plugin's code is.
pub enum Source<'a> {
    /// A file of `config/plugin_dirs`.
    File(&'a Path),
    /// A module in Perl's path, by its name with `::`.
    Module(&'a str),
}

impl Perl {
    /// Loads a plugin of that list and registers its handlers.  `instance` is its name there.
    ///
    /// # Errors
    /// Perl cannot be started, or the plugin cannot be compiled or refuses its arguments.
    pub(crate) fn load(
        &self,
        hooks: &mut Hooks,
        list: List,
        instance: &str,
        source: &Source<'_>,
        args: &[&str],
    ) -> Result<()> {
        let is_first = self.process.borrow().is_none();
        if let Some(process) = self.process.borrow_mut().as_mut() {
            self.replace_dead(process)?;
        }
        if is_first {
            *self.process.borrow_mut() = Some(Process::start(&self.root, self.confined)?);
        }
        let (file, module) = match source {
            Source::File(path) => (Item::text(path.as_os_str().as_encoded_bytes()), Item::Undef),
            Source::Module(name) => (Item::Undef, Item::text(name)),
        };
        let (name, list) = (instance.to_owned(), list.name());
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let request = ToPerl::Load { name, file, module, args, list };
        let reply = {
            let process = self.process.borrow();
            let Some(process) = &*process else { return Err(Error::new("no Perl process")) };
            let deadline = Instant::now() + LOAD_LIMIT;
            process.control.send([request.clone()]).map_err(Error::new)?;
            self.converse(&process.control, None, &mut Caller::Loading(hooks), deadline)
        };
        let reply = reply.map_err(|failure| Error::new(with_hook_meant(failure.to_string())))?;
        for row in reply.rest.chunks(4) {
            let [hook, id, first, level] = row else { continue };
            let name = hook.as_text();
            let hook = Hook::from_name(&name)
                .ok_or_else(|| Error::new(format!("there is no hook '{name}'")))?;
            let id = id.as_number().unwrap_or(-1);
            if hook == Hook::Logging {
                let most = level.as_number().map_or(Level::Debug, Level::from_number);
                self.register_logger(hooks, id, most);
                continue;
            }
            self.register(hooks, hook, id);
            if first.is_true() {
                hooks.put_first();
            }
        }
        self.loaded.borrow_mut().push(LoadRequest { request, registered: reply.rest });
        if is_first {
            self.register_own(hooks);
        }
        Ok(())
    }

    fn register(&self, hooks: &mut Hooks, hook: Hook, id: i64) {
        let Some(perl) = self.this.upgrade() else { return };
        match hook {
            Hook::PreConnection => {
                self.carried.prepare();
                hooks.pre_connection(move |incoming| {
                    let args = incoming_arguments(incoming);
                    let mut caller = Caller::Incoming(incoming);
                    let reply = perl.call(&mut caller, id, hook.name(), args, PARENT_LIMIT)?;
                    Ok::<_, Failure>(verdict(hook, reply).unwrap_or(DECLINED))
                });
            }
            Hook::PostFork => hooks.post_fork(move |config| {
                let mut caller = Caller::Process(config);
                let reply = perl.call(&mut caller, id, hook.name(), vec![], PARENT_LIMIT)?;
                Ok::<_, Failure>(verdict(hook, reply).unwrap_or(DECLINED))
            }),
            _ => {
                hooks.on(hook, move |session, call| in_session(&perl, session, hook, id, call));
                hooks.number_last(id);
            }
        }
    }

    /// A parser of HELO or EHLO may give more than the client's name: handlers of the hook get all.
    fn keep_greeting(&self, session: &Session, hook: Hook, reply: Option<&Reply>) {
        if matches!(hook, Hook::HeloParse | Hook::EhloParse) {
            let values = reply.map(|reply| reply.rest.clone()).unwrap_or_default();
            self.greeting.replace((session.id().to_owned(), values));
        }
    }

    fn with_greeting(&self, session: &Session, hook: Hook, args: Vec<Item>) -> Vec<Item> {
        let greeting = self.greeting.borrow();
        match (hook, &args[..], &greeting.1[..]) {
            (Hook::Helo | Hook::Ehlo, [host], [name, ..])
                if host == name && greeting.0 == session.id() =>
            {
                greeting.1.clone()
            }
            _ => args,
        }
    }

    /// What the host itself has to do at times.
    fn register_own(&self, hooks: &mut Hooks) {
        let Some(perl) = self.this.upgrade() else { return };
        let parent = perl.clone();
        hooks.before_fork(move |config| {
            if let Some(news) = parent.revive() {
                config.note_problem(news);
            }
            false
        });
        let worker = perl.clone();
        hooks.after_much_mail(move || worker.let_go());
        let waiting = perl.clone();
        hooks.before_wait(move |waits_long| waiting.send_lines(waits_long));
        let late = perl.clone();
        hooks.late(perl.late.clone(), move |session, call| {
            let hook = session.hook().unwrap_or(Hook::PostConnection);
            in_session(&late, session, hook, AT_THE_END, call)
        });
        hooks.at_fork(move || perl.forget_inherited());
    }
}

/// Why a plugin cannot be loaded, with the hook that was meant where it names one that there is not.
fn with_hook_meant(why: String) -> String {
    let named = why.split_once("there is no hook '").and_then(|(_, rest)| rest.split_once('\''));
    let meant = named.map(|(name, _)| meant(name, TABLE.iter().map(|row| row.name)));
    why.trim_end().to_owned() + &meant.unwrap_or_default()
}

/// Where Perl plugins are looked for: the folders of `config/plugin_dirs`, then `plugins/` beside
/// the configuration.
pub fn dirs(config: &Config) -> Vec<PathBuf> {
    let listed = config.setting(PLUGIN_DIRS);
    let beside = config.path("plugins").and_then(|file| {
        let beside = file.parent()?.parent()?.join("plugins");
        Some(beside)
    });
    listed.iter().map(|dir| config.expand(dir)).chain(beside).collect()
}

fn in_session(
    perl: &Rc<Perl>,
    session: &mut Session,
    hook: Hook,
    id: i64,
    call: &Call<'_>,
) -> Verdict {
    // Less than what the alarm allows, so that it is the plugin's failure and not the session's.
    let left = session.time_left();
    let limit = left.saturating_sub(GRACE).max(left / 2);
    let args = perl.with_greeting(session, hook, arguments(call));
    let reply = perl.call(&mut Caller::Session(session), id, hook.name(), args, limit);
    perl.keep_greeting(session, hook, reply.as_ref().ok());
    match reply.map(|reply| verdict(hook, reply)) {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(protocol_error)) => {
            session.log_at(Level::Error, protocol_error);
            DECLINED
        }
        Err(failure) => Verdict::failure(failure.to_string()),
    }
}
