//! Loading the plugins that `config/logging`, `config/plugins` and the lists of clients name.

use std::rc::Rc;

use super::confinement::confinement;
use super::line::load_line;
use crate::config::{Config, Lines};
use crate::error::{Error, Result};
use crate::hook::{Hook, List, Origin, Plugins};
use crate::log::Level;
use crate::perl::Perl;
use crate::settings::{self, LOGGING, LOGLEVEL};
use crate::sys::confine;

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
    check_with(config, || Plugins::without_loggers(config.setting(LOGLEVEL)))
}

/// The same, but the plugins keep what is logged, up to warnings.
pub(crate) fn look(config: &Config) -> (Plugins, Vec<Error>) {
    check_with(config, Plugins::that_keep_lines)
}

fn check_with(config: &Config, none: impl Fn() -> Plugins) -> (Plugins, Vec<Error>) {
    let mut errors = vec![];
    let note = &mut |error| {
        errors.push(error);
        Ok(())
    };
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
        let text = "native plugins are used instead of known Perl files (see perl_plugins): ";
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
        let text = "sessions do not ask these plugins of config/plugins, because clients have other lists:";
        plugins.log(Level::Notice, format_args!("{text} {}", unasked.join(" ")));
    }
    if confinement.workers {
        plugins.need_no_privileges();
    } else {
        plugins.log(Level::Info, "set-uid programs get the rights of their owners (no_new_privs)");
        if confine::is_bounding_set_empty() {
            let text = "programs can become root only after the server is started anew";
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
                "config/plugins:3: unknown plugin 'no_such': it is not native, and there is no Perl file of \
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
            [
                "config/plugins:1: unknown plugin 'none'",
                "config/plugins:3: unknown plugin 'nothing'"
            ]
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
        let start = "config/plugins:1: rcpt_ok: the line has 'perl always', but there is no Perl";
        assert!(error.starts_with(start), "{error}");
    }
}
