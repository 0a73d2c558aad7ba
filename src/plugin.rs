//! Plugins: what one is, where a name is looked up, and reading `config/plugins`.

pub mod absent;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;

use crate::config::{Config, Lines};
use crate::error::{Error, Result, meant};
use crate::hook::{Args, Hook, Hooks, List, Origin, Plugins, Register, Settings};
use crate::log::Level;
use crate::perl::{self, Perl, Source};
use crate::plugins::{ALIASES, PLUGINS, PRIVILEGED, peers};
use crate::settings::{self, LOGGING, LOGLEVEL, NO_NEW_PRIVS, PERL_PLUGINS};
use crate::sys::confine;

use self::absent::{ABSENT, Absent};

/// The row of a native plugin, from the module that it is: `plugin!(queue::maildir)` is the plugin
/// `queue/maildir`, whose source is in `queue/maildir.rs` beside the file with the row.  A name that
/// differs from the module's comes behind: `plugin!(queue::qmail_queue, "queue/qmail-queue")`.
#[macro_export]
macro_rules! plugin {
    // The one module whose name is a word of Rust.
    (r#loop) => {
        $crate::plugin!(@row "loop", "loop.rs", r#loop)
    };
    ($module:ident $(, $name:literal)?) => {
        $crate::plugin!(@named [$($name)?] stringify!($module), $module)
    };
    ($folder:ident :: $module:ident $(, $name:literal)?) => {
        $crate::plugin!(@named [$($name)?]
            concat!(stringify!($folder), "/", stringify!($module)), $folder::$module)
    };
    (@named [] $path:expr, $($module:tt)+) => {
        $crate::plugin!(@row $path, concat!($path, ".rs"), $($module)+)
    };
    (@named [$name:literal] $path:expr, $($module:tt)+) => {
        $crate::plugin!(@row $name, concat!($path, ".rs"), $($module)+)
    };
    (@row $name:expr, $file:expr, $($module:tt)+) => {
        $crate::plugin::Plugin {
            name: $name,
            source: include_str!($file),
            register: $($module)+::register,
        }
    };
}

/// A native plugin: a row of [`PLUGINS`], or of a site's own; see [`plugin!`](crate::plugin!).
#[derive(Debug)]
pub struct Plugin {
    /// Its name in `config/plugins`, `queue/maildir`.
    pub name: &'static str,
    /// Its source file, whose first lines are its manual.
    pub source: &'static str,
    /// Reads its arguments and registers its handlers.
    pub register: Register,
}

impl Plugin {
    /// Its manual: the leading `//!` lines of its source, without the fences that keep rustdoc from
    /// reading it as code.
    pub fn manual(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        let lines = lines.filter(|line| !line.starts_with(" ```"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n").collect()
    }
}

/// An older name of a plugin, with the arguments that it implied.
#[derive(Debug)]
pub struct Alias {
    /// The old name.
    pub old: &'static str,
    /// The name of today.
    pub new: &'static str,
    /// Arguments in front of those in the file.
    pub args: &'static [&'static str],
}

/// The plugins of a site's own crate.
static SITE: OnceLock<&[Plugin]> = OnceLock::new();

/// Adds the plugins that a site keeps in a crate of its own, before anything is loaded.  The tests
/// of that crate do so as well, where a plugin is looked up by its name; the first call counts.
///
/// # Errors
/// Two plugins have the same name.
pub fn add(site: &'static [Plugin]) -> Result<()> {
    let named = |plugin: &Plugin| plugin.name.replace('-', "_");
    let mut names: HashSet<String> = PLUGINS.iter().map(named).collect();
    if let Some(twice) = site.iter().find(|plugin| !names.insert(named(plugin))) {
        return Err(Error::new(format!("two plugins have the name '{}'", twice.name)));
    }
    SITE.get_or_init(|| site);
    Ok(())
}

/// All native plugins: those of [`PLUGINS`], then the site's own.
pub fn all() -> impl Iterator<Item = &'static Plugin> {
    PLUGINS.iter().chain(SITE.get().copied().unwrap_or_default())
}

/// The native plugin of that name, or of that older name.  `-` finds `_`.
pub fn find(name: &str) -> Option<(&'static Plugin, &'static [&'static str])> {
    let fold = |text: &str| text.replace('-', "_");
    let native = |name: &str| all().find(|plugin| fold(plugin.name) == fold(name));
    if let Some(plugin) = native(name) {
        return Some((plugin, &[]));
    }
    let alias = ALIASES.iter().find(|alias| fold(alias.old) == fold(name))?;
    Some((native(alias.new)?, alias.args))
}

/// The plugin of Perl qpsmtpd of that name, or of that older name, that is not among the native
/// ones.  `-` finds `_`.
pub fn absent(name: &str) -> Option<&'static Absent> {
    let fold = |text: &str| text.replace('-', "_");
    let alias = ALIASES.iter().find(|alias| fold(alias.old) == fold(name));
    let name = alias.map_or(name, |alias| alias.new);
    ABSENT.iter().find(|absent| fold(absent.name) == fold(name))
}

/// Who is kept from rights that come with programs (setuid, setgid, file capabilities).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// Workers, and what they start.
    pub workers: bool,
    /// Everybody, as far as is known: nobody needs even the capabilities that come with being root.
    pub all: bool,
}

/// What `config/no_new_privs` says or, where it says `auto` or nothing, what the plugins need.
pub fn confinement(config: &Config) -> Confinement {
    match config.setting(NO_NEW_PRIVS) {
        "yes" => return Confinement { workers: true, all: true },
        "no" => return Confinement { workers: false, all: false },
        _ => {}
    }
    let (mut workers, mut is_perl) = (true, false);
    let files = ["logging", "plugins"].map(str::to_owned).into_iter();
    for file in files.chain(peers::files(config)) {
        for line in config.list(&file).iter() {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            let is_kept = perl::take_kept(&mut words);
            let name = without_number(words.first().unwrap_or(&""));
            is_perl |= name.contains("::")
                || perl_file(config, name)
                    .is_some_and(|(path, _)| native_instead(config, &path, is_kept).is_none());
            workers &= !find(name).is_some_and(|(plugin, _)| PRIVILEGED.contains(&plugin.name));
        }
    }
    Confinement { workers, all: workers && !is_perl }
}

/// The native plugin that stands for a Perl file that a release of Perl qpsmtpd has, unless the line or
/// the setting keeps the file.
fn native_instead(
    config: &Config,
    path: &Path,
    is_kept: bool,
) -> Option<(&'static Plugin, &'static [&'static str])> {
    let keeps_all = is_kept || config.setting(PERL_PLUGINS) == "always";
    perl::known(path).filter(|_| !keeps_all).and_then(find)
}

/// Loads the plugins of `config/logging` and `config/plugins`, in this order.
///
/// # Errors
/// A setting of the core, or a file that a plugin says it reads, that is not right; the first line
/// that names no plugin or has arguments its plugin refuses.  With file and line.
pub fn load(config: &Config) -> Result<Rc<Plugins>> {
    let plugins = Plugins::new(config.setting(LOGLEVEL));
    load_into(plugins, config, &mut Err).map(Rc::new)
}

/// Loads the plugins as [`load`] does, to find out whether they can be.  What they log goes to
/// standard error.  Returns those that can be loaded, and all errors.
pub fn check(config: &Config) -> (Plugins, Vec<Error>) {
    let mut errors = vec![];
    let note = &mut |error| {
        errors.push(error);
        Ok(())
    };
    let none = || Plugins::without_loggers(config.setting(LOGLEVEL));
    let plugins = load_into(none(), config, note).unwrap_or_else(|_| none());
    (plugins, errors)
}

/// Every error goes to `failed`, which returns it where it is to be the end.
fn load_into(
    mut plugins: Plugins,
    config: &Config,
    failed: &mut dyn FnMut(Error) -> Result<()>,
) -> Result<Plugins> {
    config.check_settings().into_iter().try_for_each(&mut *failed)?;
    if !config.exists(settings::PLUGINS.row().name) {
        failed(Error::new("no file 'plugins' in the configuration (set QPSMTPD_CONFIG)"))?;
    }
    let confinement = confinement(config);
    let perl = Perl::new(config);
    let mut missing = vec![];
    for file in [LOGGING, settings::PLUGINS] {
        // What cannot be read of them was found above.
        let (lines, _) = config.load_what_can_be(file.row().name);
        load_lines(&mut plugins, &perl, config, &lines, &mut missing, failed)?;
    }
    for (at, file) in plugins.list_files().unwrap_or_default().to_vec().iter().enumerate() {
        plugins.load_list(List::Of(at));
        let (lines, errors) = config.load_what_can_be(file);
        errors.into_iter().try_for_each(&mut *failed)?;
        load_lines(&mut plugins, &perl, config, &lines, &mut missing, failed)?;
    }
    Error::all(missing).map_or(Ok(()), &mut *failed)?;
    perl.serve(&plugins).or_else(&mut *failed)?;
    let known = plugins.names_from(Origin::Known);
    if !known.is_empty() {
        let text = "native plugins answer for known Perl files (see perl_plugins): ";
        plugins.log(Level::Notice, format_args!("{text}{}", known.join(" ")));
    }
    for name in plugins.files() {
        config.load_what_can_be(name).1.into_iter().try_for_each(&mut *failed)?;
    }
    plugins.before_fork(config);
    for problem in config.take_problems() {
        plugins.log(Level::Error, problem);
    }
    for (list, file) in plugins.all_lists() {
        for (hook, why) in [
            (Hook::Rcpt, "no plugin decides about recipients: every RCPT will be answered 450"),
            (Hook::Queue, "no plugin queues: every message will be answered 451"),
        ] {
            if !plugins.has_in(list, hook) {
                plugins.log(Level::Warn, format_args!("{file}: {why}"));
            }
        }
    }
    let unasked = plugins.unasked();
    if !unasked.is_empty() {
        let text = "sessions do not ask these of config/plugins, as clients have other lists:";
        plugins.log(Level::Notice, format_args!("{text} {}", unasked.join(" ")));
    }
    if confinement.workers {
        plugins.need_no_privileges();
    } else {
        plugins.log(Level::Info, "programs keep the rights of who owns them (no_new_privs)");
        if confine::is_bounding_set_empty() {
            let text = "programs that have to become root can do so only after a new start";
            plugins.log(Level::Warn, text);
        }
    }
    Ok(plugins)
}

/// What has to be installed goes to `missing`, to be told at once and not line after line.
fn load_lines(
    plugins: &mut Plugins,
    perl: &Perl,
    config: &Config,
    lines: &Lines,
    missing: &mut Vec<Error>,
    failed: &mut dyn FnMut(Error) -> Result<()>,
) -> Result<()> {
    for line in lines.entries() {
        let Err(error) = load_line(plugins, perl, config, &line.text) else {
            plugins.set_line(line);
            continue;
        };
        let error = error.or_at(&line.file, line.number);
        match error.is_missing() {
            true => missing.push(error),
            false => failed(error)?,
        }
    }
    Ok(())
}

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
        return Err(place(Error::new(format!("'perl always' is in the line, and {nowhere}"))));
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
            let text =
                format!("{file} stays, as the native '{}' refuses the line: {why}", plugin.name);
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
                let text = format!("no plugin '{name}': it is not native, and {nowhere}{meant}");
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
    let settings = Settings::from_args(args);
    let mut hooks = Hooks::new(config.clone(), |name| Some(find(name)?.0.register));
    let registered = (plugin.register)(&mut hooks, args).and_then(|()| hooks.into_registration());
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

/// `; is 'rcpt_ok' meant?`, where the name is nearly that of a plugin, or its folder was left out.
fn meant_by(config: &Config, name: &str) -> String {
    let mut known: Vec<String> = all().map(|plugin| plugin.name.to_owned()).collect();
    known.extend(ALIASES.iter().map(|alias| alias.old.to_owned()));
    let files = perl::dirs(config).into_iter().flat_map(std::fs::read_dir).flatten().flatten();
    known.extend(files.filter_map(|entry| entry.file_name().into_string().ok()));
    let without_folder =
        |known: &&String| known.rsplit_once('/').is_some_and(|(_, own)| own == name);
    match known.iter().find(without_folder) {
        Some(known) => format!("; is '{known}' meant?"),
        None => meant(name, known.iter().map(String::as_str)),
    }
}

/// Where Perl files were looked for in vain.
fn nowhere(config: &Config) -> String {
    let folders = perl::dirs(config).iter().map(|dir| dir.display().to_string()).collect();
    let folders: Vec<String> = folders;
    format!("there is no Perl file of that name in {}", folders.join(", "))
}

/// `name:1` is another instance of `name`.
fn without_number(instance: &str) -> &str {
    match instance.rsplit_once(':') {
        Some((name, number))
            if !number.is_empty()
                && !name.ends_with(':')
                && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            name
        }
        _ => instance,
    }
}

/// The Perl source of that name, or of the name that it stands for, with the arguments that the older
/// name implies.
fn perl_file(config: &Config, name: &str) -> Option<(PathBuf, &'static [&'static str])> {
    let dirs = perl::dirs(config);
    let file = |name: &str| dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
    let newer = || {
        let alias = ALIASES.iter().find(|alias| alias.old == name)?;
        Some((file(alias.new)?, alias.args))
    };
    file(name).map(|path| (path, &[][..])).or_else(newer)
}

/// Where a plugin cannot work, and its name stands for another one whose file can: says so.
fn other_perl_file(config: &Config, name: &str) -> Option<String> {
    let other = ALIASES.iter().find(|alias| alias.old == name)?.new;
    let (file, _) = perl_file(config, other)?;
    perl::cannot_work(&file).is_none().then(|| format!("; '{other}' can"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load_config(files: &[(&str, &str)]) -> Result<Rc<Plugins>> {
        let dir = tempfile::tempdir().unwrap();
        let files = files.iter().chain(&[("loglevel", "0\n")]);
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let shown = dir.path().display().to_string();
        load(&Config::new(vec![dir.path().to_owned()]))
            .map_err(|error| Error::new(error.to_string().replace(&shown, "config")))
    }

    #[test]
    fn order_and_numbers_are_kept() {
        let loaded = load_config(&[(
            "plugins",
            "# first\nrcpt_ok\nqueue/discard\nrcpt_ok:1\ncheck_relay\n",
        )]);
        let names: Vec<_> = loaded.unwrap().names().map(str::to_owned).collect();
        assert_eq!(names, ["rcpt_ok", "queue/discard", "rcpt_ok:1", "check_relay"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        for (plugins, error) in [
            (
                "rcpt_ok\n\nno_such\nnone\n",
                "config/plugins:3: no plugin 'no_such': it is not native, and there is no Perl file of \
                 that name in /",
            ),
            ("rcpt_ok timeout never\n", "config/plugins:1: rcpt_ok: argument timeout has the"),
            (
                "rcpt_ok\nvirus/sophie\n",
                "config/plugins:2: plugin 'virus/sophie' will not be native: ",
            ),
            ("logging/apache:1 x\n", "config/plugins:1: plugin 'logging/apache' is obsolete: "),
            (
                "clamav\n",
                "config/plugins:1: plugin 'virus/clamav' will not be native: it starts a scanner",
            ),
            ("rcpt_ok \u{e9}\n", "config/plugins:1: character 'é'"),
        ] {
            let found = load_config(&[("plugins", plugins)]).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
        assert!(load_config(&[]).unwrap_err().to_string().contains("no file 'plugins'"));
        let all = load_config(&[("plugins", "none\nrcpt_ok\nnothing\n")]).unwrap_err().to_string();
        let places: Vec<&str> =
            all.split("; ").filter_map(|line| line.split_once(": it is")).map(|p| p.0).collect();
        assert_eq!(
            places,
            ["config/plugins:1: no plugin 'none'", "config/plugins:3: no plugin 'nothing'"]
        );
    }

    #[test]
    fn a_perl_file_that_cannot_work_gives_way_to_a_native_plugin_or_is_refused() {
        let perl = tempfile::tempdir().unwrap();
        std::fs::create_dir(perl.path().join("virus")).unwrap();
        for name in ["earlytalker", "chatter", "clamav"] {
            std::fs::write(perl.path().join(name), "my $line = <STDIN>;\n").unwrap();
        }
        std::fs::write(perl.path().join("virus/clamav"), "sub hook_connect { }\n").unwrap();
        let dirs = format!("{}\n", perl.path().display());
        let load = |line: &str| load_config(&[("plugins", line), ("plugin_dirs", dirs.as_str())]);
        assert_eq!(load("earlytalker\n").unwrap().names().collect::<Vec<_>>(), ["earlytalker"]);
        let error = load("chatter\n").unwrap_err().to_string();
        assert!(error.starts_with("config/plugins:1: chatter: /"), "{error}");
        assert!(error.contains("cannot work here: it reads from the client's socket"), "{error}");
        let error = load("clamav\n").unwrap_err().to_string();
        assert!(
            error.ends_with("it reads from the client's socket; 'virus/clamav' can"),
            "{error}"
        );
    }

    #[test]
    fn a_line_keeps_a_perl_file_only_where_there_is_one() {
        let error = load_config(&[("plugins", "rcpt_ok perl always\n")]).unwrap_err().to_string();
        let start = "config/plugins:1: rcpt_ok: 'perl always' is in the line, and there is no Perl";
        assert!(error.starts_with(start), "{error}");
    }

    #[test]
    fn dashes_find_underscores() {
        assert_eq!(
            find("count-unrecognized-commands").map(|found| found.0.name),
            Some("count_unrecognized_commands")
        );
        assert!(find("Rcpt_OK").is_none());
    }

    #[test]
    fn manuals_come_from_the_source() {
        let (plugin, _) = find("rcpt_ok").unwrap();
        assert!(plugin.manual().starts_with("NAME\n"), "{}", plugin.manual());
    }

    /// docs/perl.md says of each plugin of a release whether it is native, and under which name.
    #[test]
    fn the_guide_says_which_plugins_of_releases_are_native() {
        const GUIDE: &str = include_str!("../docs/perl.md");
        const KNOWN: &str = include_str!("perl/known.txt");
        // Their files are Perl, or cannot work, and are not among the known ones.
        let others = [
            "async/require_resolvable_fromhost",
            "check_badrcptto_patterns",
            "require_resolvable_fromhost",
        ];
        let known = KNOWN.lines().filter(|line| !line.starts_with('#'));
        let mut names: Vec<&str> = known.filter_map(|line| line.split(' ').nth(1)).collect();
        names.extend(others);
        names.sort_unstable();
        names.dedup();
        for name in names {
            let mut rows = GUIDE.lines().filter(|line| line.starts_with(&format!("| `{name}` |")));
            let row = rows.next().unwrap_or_else(|| panic!("docs/perl.md lacks {name}"));
            let here = match find(name) {
                _ if ["check_badrcptto_patterns", "require_resolvable_fromhost"]
                    .contains(&name) =>
                {
                    "| Perl |".to_owned()
                }
                Some((plugin, _)) if plugin.name.replace('-', "_") == name.replace('-', "_") => {
                    "| native |".to_owned()
                }
                Some((plugin, _)) => format!("| native: `{}` |", plugin.name),
                None if row.contains("| no | no |") => continue,
                None => "| Perl |".to_owned(),
            };
            assert!(row.contains(&here), "{name} should be {here}: {row}");
        }
    }
}
