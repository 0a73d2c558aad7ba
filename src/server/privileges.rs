//! Who sessions run as: found by name, made ready for as root, and then become for good.

use std::env;
use std::ffi::CString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::{
    AccessFlags, Gid, Group, Uid, User, access, getegid, geteuid, getgroups, getresgid, getresuid,
    initgroups, setegid, seteuid, setgroups, setresgid, setresuid,
};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::plugin;
use crate::server::rights;
use crate::settings::SPOOL_DIR;
use crate::sys::confine;

/// The accounts that root's daemons take where no --user is given, the first that exists.
const ACCOUNTS: [&str; 3] = ["smtpd", "qpsmtpd", "nobody"];

/// What an account without a home of its own has as `~` when root starts the daemon; with its name
/// appended where this belongs to somebody else.
const STATE_DIR: &str = "/var/spool/qpsmtpd";

/// An account to run as.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    home: PathBuf,
}

impl Account {
    /// Its user and group.
    pub(crate) fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// Runs `act` with the account's rights, and none of root's.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn lend<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        let (uid, gid, groups) = (geteuid(), getegid(), getgroups()?);
        initgroups(&CString::new(self.name.as_str())?, self.gid)?;
        setegid(self.gid)?;
        seteuid(self.uid)?;
        let done = act();
        seteuid(uid)?;
        setegid(gid)?;
        setgroups(&groups)?;
        Ok(done)
    }
}

/// The account for sessions; None: that of who started us.
///
/// # Errors
/// There is no such account, or we are not root and cannot become it.
pub(crate) fn account(user: Option<&str>) -> Result<Option<Account>> {
    match user {
        Some(name) => {
            let account = find(name)?.ok_or_else(|| Error::new(format!("no user '{name}'")))?;
            if account.uid == geteuid() && account.uid.as_raw() != 0 {
                return Ok(None);
            }
            if !geteuid().is_root() {
                return Err(Error::new(format!("only root can run sessions as user '{name}'")));
            }
            Ok(Some(account))
        }
        None if geteuid().is_root() => {
            for name in ACCOUNTS {
                if let Some(account) = find(name)? {
                    return Ok(Some(account));
                }
            }
            let names = ACCOUNTS.join(", ");
            Err(Error::new(format!("none of the accounts {names} exists; give one with --user")))
        }
        None => Ok(None),
    }
}

/// What `~` is for an account, be it there already or to be made.
pub(crate) fn home(account: &Account) -> PathBuf {
    let is_own = |path: &Path| {
        fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == account.uid.as_raw())
    };
    let state = Path::new(STATE_DIR);
    match is_own(&account.home) {
        true => account.home.clone(),
        false if is_own(state) || !state.exists() => state.to_owned(),
        false => PathBuf::from(format!("{STATE_DIR}-{}", account.name)),
    }
}

/// Finds out what `~` is and, as root, makes it and the configured spool folder for the account,
/// where they do not exist.
///
/// # Errors
/// A folder cannot be made.
pub(crate) fn prepare_before_drop(config: &Config, account: &Account) -> Result<()> {
    let fail = |error| Error::new(format!("cannot become user '{}': {error}", account.name));
    // The configuration may be the account's, so root reads nothing there.
    let (home, spool) = account
        .lend(|| (home(account), config.is_set(SPOOL_DIR).then(|| config.setting(SPOOL_DIR))))
        .map_err(fail)?;
    make_for(&home, 0o755, account)?;
    config.set_home(home);
    let confinement = account.lend(|| plugin::confinement(config)).map_err(fail)?;
    if confinement.all
        && let Err(error) = confine::empty_bounding_set()
    {
        config.note_problem(format_args!("the bounding set of capabilities stays: {error}"));
    }
    if let Some(spool) = spool {
        make_for(&config.expand(&spool), 0o700, account)?;
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
        return Err(Error::new(format!("becoming user '{}' did not take", account.name)));
    }
    Ok(())
}

/// What `~` is for who starts us: $HOME, where they may write there, else the home of the account.
pub(crate) fn own_home() -> PathBuf {
    let told = env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    if let Some(home) = told.as_ref().filter(|home| access(*home, AccessFlags::W_OK).is_ok()) {
        return home.clone();
    }
    let listed = User::from_uid(geteuid()).ok().flatten().map(|user| user.dir);
    listed.or(told).unwrap_or_else(|| "/".into())
}

/// The name of the user who this process is.
pub(crate) fn own_name() -> Option<String> {
    Some(User::from_uid(geteuid()).ok()??.name)
}

/// Who this process is, for the log.
pub(crate) fn whoami() -> String {
    let (uid, gid) = (geteuid(), getegid());
    let user = User::from_uid(uid).ok().flatten().map_or(uid.to_string(), |user| user.name);
    let group = Group::from_gid(gid).ok().flatten().map_or(gid.to_string(), |group| group.name);
    format!("{user}:{group}")
}

fn find(name: &str) -> Result<Option<Account>> {
    let found = User::from_name(name)
        .map_err(|error| Error::new(format!("cannot look up user '{name}': {error}")))?;
    Ok(found.map(|user| Account { name: user.name, uid: user.uid, gid: user.gid, home: user.dir }))
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
        if !geteuid().is_root() {
            return Ok(());
        }
        let only = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let made = OpenOptions::new().read(true).custom_flags(only).open(path)?;
        let (user, group) = account.ids();
        fchown(made, Some(user), Some(group))
    };
    rights::for_path(path, Some(account), make).map_err(|error| {
        Error::new(format!("cannot make {} for '{}': {error}", path.display(), account.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_users_are_named() {
        let error = account(Some("no-such-user-here")).unwrap_err().to_string();
        assert_eq!(error, "no user 'no-such-user-here'");
    }

    #[test]
    fn root_gets_an_account_and_others_stay_who_they_are() {
        let found = account(None).unwrap();
        assert_eq!(found.is_some(), geteuid().is_root());
        if let Some(found) = found {
            assert!(ACCOUNTS.contains(&found.name.as_str()));
        }
    }
}
