//! Configuration as plugins see it: the `config` hooks come before the files.

use std::path::PathBuf;
use std::rc::Rc;

use super::Session;
use crate::config::{Derived, Lines, Map};
use crate::hook::args::is_yes;
use crate::hook::{Call, Code, Hook};
use crate::log::Level;
use crate::mail::Address;
use crate::settings::{Default, ME, Setting, Value};

impl Session {
    /// A configuration file: what the `config` hooks give, else the file's lines.
    pub fn config(&mut self, name: &str) -> Lines {
        if let Some(lines) = self.config_of_hooks(name) {
            return lines;
        }
        let lines = self.shared.config.list(name);
        self.log_config_problems();
        lines
    }

    /// The file alone; None where `config` hooks may say something else.
    pub(crate) fn plain_config(&self, name: &str) -> Option<Lines> {
        (!self.has(Hook::Config)).then(|| self.shared.config.list(name))
    }

    /// A configuration file as it is for one recipient: what the `user_config` hooks give, else
    /// as [`Session::config`].
    pub fn config_for(&mut self, address: &Address, name: &str) -> Lines {
        self.own_config(address, name).unwrap_or_else(|| self.config(name))
    }

    /// A configuration file that one recipient has of its own: what the `user_config` hooks give.
    pub fn own_config(&mut self, address: &Address, name: &str) -> Option<Lines> {
        match self.has(Hook::UserConfig) {
            true => self.ask_config(Hook::UserConfig, &Call::UserConfig(address, name)),
            false => None,
        }
    }

    /// The value of a setting of the core: what the `config` hooks give, else what the file does.
    pub fn setting<T: Value>(&mut self, setting: Setting<T>) -> T {
        if self.has(Hook::Config)
            && let Some(value) = self.setting_of_hooks(setting)
        {
            return value;
        }
        let value = self.shared.config.setting(setting);
        self.log_config_problems();
        value
    }

    /// The first line of a configuration file, or its built-in default.
    pub fn config_value(&mut self, name: &str) -> Option<String> {
        if let Some(lines) = self.config_of_hooks(name) {
            return lines.first().map(str::to_owned);
        }
        let value = self.shared.config.value(name);
        self.log_config_problems();
        value
    }

    /// The first line of a configuration file as a number, or `default`.
    pub fn config_number(&mut self, name: &str, default: u64) -> u64 {
        if self.has(Hook::Config)
            && let Some(number) = self.config(name).first().and_then(|line| line.parse().ok())
        {
            return number;
        }
        let number = self.shared.config.number(name, default);
        self.log_config_problems();
        number
    }

    /// Is the first line of a configuration file there, and does it not say no?
    pub fn config_flag(&mut self, name: &str) -> bool {
        self.config(name).first().is_some_and(is_yes)
    }

    /// A map that is looked up by key, `NAME.cdb`.
    pub fn config_map(&self, name: &str) -> Map {
        let map = self.shared.config.map(name);
        self.log_config_problems();
        map
    }

    /// What a plugin derived from a configuration file, see [`crate::hook::Hooks::derived`].
    pub fn derived<T: 'static>(&mut self, derived: &Derived<T>) -> Rc<T> {
        let lines = self.config(derived.name());
        let value = derived.of(&lines);
        self.log_config_problems();
        value
    }

    /// The same of the file that one recipient has of its own; None where it has none.  Of what is
    /// wrong with it only the first is logged, because it is not the operator's.
    pub fn derived_own<T: 'static>(
        &mut self,
        address: &Address,
        derived: &Derived<T>,
    ) -> Option<Rc<T>> {
        let lines = self.own_config(address, derived.name())?;
        self.log_config_problems();
        let value = derived.of_own(&lines);
        if let Some(problem) = self.shared.config.take_problems().into_iter().next() {
            self.log(Level::Notice, format_args!("{} of {address}: {problem}", derived.name()));
        }
        Some(value)
    }

    /// This server's name, `config/me`.
    pub fn me(&mut self) -> String {
        self.setting(ME)
    }

    /// A folder of the configuration; None where there is none of that name.
    pub fn config_folder(&self, name: &str) -> Option<PathBuf> {
        self.shared.config.folder_named(name)
    }

    /// `~` and `~/x` as paths.
    pub fn expand(&self, path: &str) -> PathBuf {
        self.shared.config.expand(path)
    }

    /// None: no hook knows the file.  A hook may say that it has no lines.
    fn config_of_hooks(&mut self, name: &str) -> Option<Lines> {
        let is_asked = self.has(Hook::Config);
        is_asked.then(|| self.ask_config(Hook::Config, &Call::Config(name)))?
    }

    /// None: the file counts, as no hook knows the setting, or what one says is none of its kind.
    fn setting_of_hooks<T: Value>(&mut self, setting: Setting<T>) -> Option<T> {
        let row = setting.row();
        let lines = self.ask_config(Hook::Config, &Call::Config(row.name)).unwrap_or_default();
        if lines.is_empty() {
            let has_file = self.shared.config.is_set(setting);
            return match row.default {
                Default::As(other) if !has_file => Some(self.setting(Setting::of(other))),
                _ => None,
            };
        }
        let texts: Vec<&str> = lines.iter().collect();
        match setting.read(&texts) {
            Ok(value) => Some(value),
            Err(why) => {
                self.log(Level::Error, format_args!("config hook: {why}; the file is used"));
                None
            }
        }
    }

    fn ask_config(&mut self, hook: Hook, call: &Call<'_>) -> Option<Lines> {
        let Ok(verdict) = self.run_quietly(hook, call) else {
            self.withhold_value();
            return None;
        };
        (verdict.code() == Code::Ok).then(|| Lines::from_values(verdict.into_values()))
    }

    fn log_config_problems(&self) {
        if self.shared.config.has_problems() {
            self.log_problems_of_config();
        }
    }

    #[cold]
    fn log_problems_of_config(&self) {
        for problem in self.shared.config.take_problems() {
            self.log(Level::Error, problem);
        }
    }
}
