//! Loading the plugin that one line names, native or Perl.

use super::lookup::{
    absent, find, meant_by, native_instead, nowhere, other_perl_file, perl_file, without_number,
};
use super::row::Plugin;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::{Args, Hooks, Origin, Plugins};
use crate::log::Level;
use crate::perl::{self, Perl, Source};

/// Loads one line, `name[:N] arguments`, into `plugins`.
///
/// # Errors
/// There is no such plugin, or it refuses its arguments.
pub fn load_line(plugins: &mut Plugins, perl: &Perl, config: &Config, line: &str) -> Result<()> {
    if let Some(odd) = line.chars().find(|c| !matches!(c, ' '..='~' | '\t')) {
        return Err(Error::new(format!("character {odd:?} is not allowed in a plugin line")));
    }
    let mut words = line.split_whitespace();
    let Some(instance) = words.next() else { return Ok(()) };
    let name = without_number(instance);
    let place = |error: Error| error.within(instance);
    let mut words: Vec<&str> = words.collect();
    let is_kept = perl::take_kept(&mut words);
    if name.contains("::") {
        return load_perl(plugins, perl, config, instance, &Source::Module(name), &words);
    }
    let found = perl_file(config, name);
    if is_kept && found.is_none() {
        let nowhere = nowhere(config);
        return Err(place(Error::new(format!("the line has 'perl always', but {nowhere}"))));
    }
    if let Some((path, implied)) = found {
        let file = path.display();
        let words: Vec<&str> = implied.iter().copied().chain(words.iter().copied()).collect();
        if let Some((plugin, implied)) = native_instead(config, &path, is_kept) {
            let args = Args::new(implied.iter().copied().chain(words.iter().copied()));
            let Err(why) = load_native(plugins, config, instance, plugin, &args) else {
                plugins.set_origin(Origin::Known, file.to_string());
                return Ok(());
            };
            let text = format!(
                "{file} is used, because the native '{}' refuses the line: {why}",
                plugin.name
            );
            plugins.log(Level::Warn, text);
        }
        let Some(why) = perl::cannot_work(&path) else {
            return load_perl(plugins, perl, config, instance, &Source::File(&path), &words);
        };
        let Some((plugin, _)) = find(name) else {
            let other = other_perl_file(config, name).unwrap_or_default();
            return Err(place(Error::missing(format!("{file} cannot work here: {why}{other}"))));
        };
        plugins.log(
            Level::Warn,
            format_args!("{file} cannot work here: {why}; the native '{}' is used", plugin.name),
        );
    }
    let Some((plugin, implied)) = find(name) else {
        let nowhere = nowhere(config);
        return Err(match absent(name) {
            Some(absent) => Error::missing(format!("{absent}; {nowhere}")),
            None => {
                let meant = meant_by(config, name);
                let text =
                    format!("unknown plugin '{name}': it is not native, and {nowhere}{meant}");
                Error::missing(text)
            }
        });
    };
    let args = Args::new(implied.iter().copied().chain(words));
    load_native(plugins, config, instance, plugin, &args).map_err(place)
}

fn load_native(
    plugins: &mut Plugins,
    config: &Config,
    instance: &str,
    plugin: &Plugin,
    args: &Args,
) -> Result<()> {
    let mut hooks = Hooks::new(config.clone(), |name| Some(find(name)?.0.register));
    let registered = (plugin.register)(&mut hooks, args);
    let settings = hooks.settings(args);
    let registered = registered.and_then(|()| hooks.into_registration());
    let (settings, registered) = match (settings, registered) {
        (Ok(settings), Ok(registered)) => (settings, registered),
        (Err(one), Err(other)) if one != other => return Err(one.and(other)),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    if registered.lists.is_some() && plugins.list_files().is_some() {
        return Err("only one plugin can choose the lists of clients, in config/plugins".into());
    }
    plugins.add(instance, settings, registered);
    plugins.set_native(plugin.name);
    Ok(())
}

fn load_perl(
    plugins: &mut Plugins,
    perl: &Perl,
    config: &Config,
    instance: &str,
    source: &Source<'_>,
    words: &[&str],
) -> Result<()> {
    let mut hooks = Hooks::new(config.clone(), |name| Some(find(name)?.0.register));
    let own = perl::own_arguments(words);
    if let Err(error) = perl.load(&mut hooks, plugins.loading(), instance, source, &own) {
        // What it had to say before may be why.
        for (level, text) in &hooks.registered().lines {
            plugins.log(*level, format_args!("{instance}: {text}"));
        }
        let missing = perl::missing_module(&error.to_string());
        return Err(match (missing, source) {
            (Some(module), Source::File(file)) => Error::missing(format!(
                "{instance}: its Perl file {} needs the Perl module {module}, which is not installed",
                file.display()
            )),
            (Some(module), _) => {
                Error::missing(format!("{instance}: the Perl module {module} is not installed"))
            }
            _ => error.within(instance),
        });
    }
    let registered = hooks.into_registration()?;
    plugins.add(instance, perl::settings(words, perl.time_limit()), registered);
    let source = match source {
        Source::File(path) => path.display().to_string(),
        Source::Module(name) => (*name).to_owned(),
    };
    plugins.set_origin(Origin::Perl, source);
    Ok(())
}
