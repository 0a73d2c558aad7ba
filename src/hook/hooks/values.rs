//! What a plugin makes of configuration files and of its arguments.

use std::borrow::Cow;
use std::rc::Rc;

use super::Hooks;
use crate::config::{Config, Derived, Line, Lines};
use crate::error::{Error, Result};
use crate::hook::{Args, Reject, Settings};

impl Hooks {
    /// The configuration, for what a plugin wants to know when it is loaded.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Says what the argument `reject` is where it is not given: without this, the plugin refuses at once.
    pub fn default_reject(&mut self, reject: Reject) {
        self.registered.default_reject = Some(reject);
    }

    /// Says that the argument `reject` means something of this plugin's own, which reads it itself: no
    /// word is refused for it, and [`crate::hook::Session::get_reject`] does not see it.
    pub fn reads_reject(&mut self) {
        self.registered.reads_reject = true;
    }

    /// What the universal arguments say for this plugin, after its `register`.
    pub(crate) fn settings(&self, args: &Args) -> Result<Settings> {
        let mut args = args.clone();
        if self.registered.reads_reject {
            // One without a value is refused for that.
            let _ = args.take_named("reject");
        }
        let mut settings = Settings::from_args(&args)?;
        settings.reject = settings.reject.or(self.registered.default_reject);
        Ok(settings)
    }

    /// Says that sessions will read these files, so that they are read before processes are made.
    pub fn uses_config(&mut self, names: &[&'static str]) {
        self.registered.reads.extend(names.iter().map(|name| Cow::Borrowed(*name)));
    }

    /// A value that `parse` makes of a configuration file, made anew only when the file changed.
    /// A session gets it with [`crate::hook::Session::derived`].
    pub fn derived<T: 'static>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        parse: impl Fn(&Lines) -> T + 'static,
    ) -> Rc<Derived<T>> {
        let name = name.into();
        self.registered.reads.push(name.clone());
        let derived = Rc::new(Derived::new(name, parse));
        let read = derived.clone();
        self.registered.before_fork.push(Box::new(move |config| {
            read.of(&config.list(read.name()));
            false
        }));
        derived
    }

    /// The same for a `parse` that may find lines it cannot use: it leaves them out and pushes what
    /// is wrong with them to the second argument, for the log.
    pub fn derived_checked<T: 'static>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        parse: impl Fn(&Lines, &mut Vec<Error>) -> T + 'static,
    ) -> Rc<Derived<T>> {
        let (config, name) = (self.config.clone(), name.into());
        let of = name.clone();
        self.derived(name, move |lines| {
            let mut problems = vec![];
            let value = parse(lines, &mut problems);
            if !problems.is_empty() && !config.is_watched(&of, lines) {
                problems.iter().for_each(|problem| config.note_problem(problem));
            }
            value
        })
    }

    /// The same for a file in which every line stands for itself: what `read` makes of each, in
    /// order.  A line that `read` refuses is left out, and the log says why, with file and line.
    pub fn rows<T: 'static>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        read: impl Fn(&Line) -> Result<T> + 'static,
    ) -> Rc<Derived<Vec<T>>> {
        self.derived_checked(name, move |lines, problems| lines.read_each(problems, &read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_leaves_it_to_its_parent_to_name_faulty_lines() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(vec![dir.path().to_owned()]);
        let mut hooks = Hooks::new(config.clone(), |_| None);
        let rows = hooks.rows("rows", |_| Err::<(), _>("not so".into()));
        rows.of(&config.list("rows"));
        config.leave_parent();
        std::fs::write(dir.path().join("rows"), "x\n").unwrap();
        config.expire();
        rows.of(&config.list("rows"));
        assert!(config.take_problems().is_empty());
        // The parent does not see what a `config` hook says.
        rows.of(&Lines::from_values(vec!["y".into()]));
        assert_eq!(config.take_problems(), ["config hook:1: not so"]);
    }
}
