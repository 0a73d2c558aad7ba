//! Becoming the account that sessions run as: what it needs is made as root, and then root goes for
//! good.

use std::ffi::CString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use nix::unistd::{Uid, geteuid, getresgid, getresuid, initgroups, setresgid, setresuid};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::plugin;
use crate::server::account::{self, Account};
use crate::server::rights;
use crate::settings::{Permissions, SPOOL_DIR, SPOOL_PERMS, STORE};
use crate::sys::confine;

/// Finds out what `~` is and, as root, makes it and the configured folders of the spool and the store
/// for the account, where they do not exist.
///
/// # Errors
/// A folder cannot be made.
pub(crate) fn prepare_before_drop(config: &Config, account: &Account) -> Result<()> {
    let fail = |error| Error::new(format!("cannot become user '{}': {error}", account.name));
    // The configuration may be the account's, so root reads nothing there.
    let read = || {
        let Permissions(mode) = config.setting(SPOOL_PERMS);
        let spool = config.is_set(SPOOL_DIR).then(|| (config.setting(SPOOL_DIR), mode));
        let store = config.setting(STORE).folder().map(|folder| (folder.to_owned(), 0o700));
        (account::home(account), spool, store)
    };
    let (home, spool, store) = account.lend(read).map_err(fail)?;
    make_for(&home, 0o755, account)?;
    config.set_home(home);
    let confinement = account.lend(|| plugin::confinement(config)).map_err(fail)?;
    if confinement.all
        && let Err(error) = confine::empty_bounding_set()
    {
        config.note_problem(format_args!("cannot empty the bounding set of capabilities: {error}"));
    }
    for (folder, mode) in spool.into_iter().chain(store) {
        make_for(&config.expand(&folder), mode, account)?;
    }
    Ok(())
}

/// Becomes the account, for good.
///
/// # Errors
/// The kernel refuses, or it did not take.
pub(crate) fn drop_to(account: &Account) -> Result<()> {
    let fail = |what: &str| {
        let name = account.name.clone();
        let what = what.to_owned();
        move |error: nix::Error| Error::new(format!("cannot become user '{name}': {what}: {error}"))
    };
    let name = CString::new(account.name.as_str()).map_err(|error| error.to_string())?;
    let (uid, gid) = (account.uid, account.gid);
    initgroups(&name, gid).map_err(fail("initgroups"))?;
    setresgid(gid, gid, gid).map_err(fail("setresgid"))?;
    setresuid(uid, uid, uid).map_err(fail("setresuid"))?;
    let uids = getresuid().map_err(fail("getresuid"))?;
    let gids = getresgid().map_err(fail("getresgid"))?;
    let all = [uids.real, uids.effective, uids.saved].iter().all(|id| *id == uid)
        && [gids.real, gids.effective, gids.saved].iter().all(|id| *id == gid);
    let back = !uid.is_root() && setresuid(uid, Uid::from_raw(0), uid).is_ok();
    if !all || back {
        return Err(Error::new(format!("the process did not become user '{}'", account.name)));
    }
    Ok(())
}

/// Makes a folder that belongs to the account.  One that exists is left as it is.
fn make_for(path: &Path, mode: u32, account: &Account) -> Result<()> {
    let make = || {
        if path.exists() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(mode).create(path)?;
        let only = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let made = OpenOptions::new().read(true).custom_flags(only).open(path)?;
        // Whatever the umask has left out.
        made.set_permissions(fs::Permissions::from_mode(mode))?;
        if !geteuid().is_root() {
            return Ok(());
        }
        let (user, group) = account.ids();
        fchown(made, Some(user), Some(group))
    };
    rights::for_path(path, Some(account), make).map_err(|error| {
        Error::new(format!("cannot make {} for '{}': {error}", path.display(), account.name))
    })
}
