//! `--check` and `--show-config`: what a start would find, without starting.  Nothing is written.

use std::path::PathBuf;

use nix::unistd::geteuid;

use crate::config::{Config, has_byte_order_mark};
use crate::error::{Error, Result};
use crate::hook::{List, Listed, Origin};
use crate::perl;
use crate::plugin;
use crate::server::account;
use crate::server::console::{say, warn};
use crate::server::{lists, privileges, status};
use crate::settings::{Permissions, SPOOL_DIR, SPOOL_PERMS};
use crate::smtp;
use crate::state::Spool;
use crate::store::Store;

mod odd;
mod typos;

/// Checks the configuration as `account` would find it, and says on standard error all that is
/// wrong, with what is known to be `wrong` already.
///
/// # Errors
/// The last thing for which a start would fail.
pub(super) fn run(
    config: &Config,
    account: Option<&account::Account>,
    wrong: Vec<Error>,
) -> Result<()> {
    let is_root = geteuid().is_root();
    become_account(config, account)?;
    say(&format!("the configuration is in {}\n", config.folder().display()));
    if let Some(account) = account {
        say(&format!("checked as the user {}\n", account.name));
    }
    let (plugins, found) = plugin::check(config);
    let mut errors = [wrong, found].concat();
    let names: Vec<&str> = plugins.names().collect();
    let main: Vec<&str> = plugins.names_in(List::Main).collect();
    let dir = config.expand(&config.setting(SPOOL_DIR));
    let Permissions(mode) = config.setting(SPOOL_PERMS);
    match Spool::check(&dir, mode, is_root) {
        Ok(warning) => warning.iter().for_each(warn),
        Err(error) => errors.push(error),
    }
    errors.extend(status::fault(config));
    match Store::new(config).map(|store| (store.fault(is_root), store)) {
        Ok((Some(fault), _)) if plugins.tables().is_empty() => warn(fault),
        Ok((Some(fault), _)) => errors.push(Error::new(fault)),
        Ok((None, store)) => {
            store.greet().err().iter().for_each(warn);
            store.narrowed().iter().filter(|_| !plugins.tables().is_empty()).for_each(warn);
        }
        Err(error) => errors.push(error),
    }
    smtp::warnings(config, &plugins).iter().for_each(warn);
    plugins.perl_sources().filter_map(perl::misspelt_hook).for_each(warn);
    plugins.listing().iter().filter_map(never_asked).for_each(warn);
    byte_order_marks(config).iter().for_each(warn);
    let known: Vec<&str> = plugins.files().collect();
    odd::find(config).iter().for_each(warn);
    typos::find(config, &known).iter().for_each(warn);
    lists::faults(config, &names).iter().for_each(warn);
    all_but_last(errors)?;
    say(&format!("the configuration is good; plugins: {}\n", main.join(" ")));
    for (list, file) in plugins.all_lists().filter(|(list, _)| *list != List::Main) {
        let names: Vec<&str> = plugins.names_in(list).collect();
        say(&format!("{file}: {}\n", names.join(" ")));
    }
    for (origin, what) in [
        (Origin::Known, "native plugins instead of known Perl files"),
        (Origin::Perl, "Perl plugins"),
    ] {
        let names = plugins.names_from(origin);
        if !names.is_empty() {
            say(&format!("{what}: {}\n", names.join(" ")));
        }
    }
    Ok(())
}

/// Becomes the account, which makes nothing, and has to reach the configuration.
///
/// # Errors
/// It does not.
pub(super) fn become_account(config: &Config, account: Option<&account::Account>) -> Result<()> {
    if let Some(account) = account {
        config.set_home(account::home(account));
        privileges::drop_to(account)?;
    }
    config.reachable()
}

/// Prints the settings, `only_set`: those that a file sets, and says what is wrong with them.
///
/// # Errors
/// The last that is wrong.
pub(super) fn show(only_set: bool) -> Result<()> {
    let config = Config::from_env();
    config.reachable()?;
    let shown = config.shown().into_iter().filter(|line| !only_set || line.place.is_some());
    say(&shown.map(|line| format!("{line}\n")).collect::<String>());
    all_but_last(config.check_settings())
}

/// What to say of a handler behind one that always decides.
fn never_asked(handler: &Listed) -> Option<String> {
    let Listed { hook, plugin, place, behind, .. } = handler;
    let (place, behind) = (place.as_ref()?, behind.as_ref()?);
    Some(format!("{place}: {plugin} is never asked at {}: {behind} decides before it", hook.name()))
}

/// What to say of files that begin with one.
fn byte_order_marks(config: &Config) -> Vec<String> {
    let say = |path: PathBuf| {
        format!("{}: begins with a byte order mark, which is left out", path.display())
    };
    config.files().into_iter().filter(|path| has_byte_order_mark(path)).map(say).collect()
}

/// The last error; those before it go to standard error.
///
/// # Errors
/// The last one.
pub(super) fn all_but_last(errors: Vec<Error>) -> Result<()> {
    let mut errors = Error::sorted(errors);
    let Some(last) = errors.pop() else { return Ok(()) };
    errors.iter().map(account::told).for_each(warn);
    Err(last)
}
