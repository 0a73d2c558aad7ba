//! The accounts of the system: the one for sessions, and who this process is.

use std::env;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{
    AccessFlags, Gid, Group, Uid, User, access, getegid, geteuid, getgroups, initgroups, setegid,
    seteuid, setgroups,
};

use crate::error::{Error, Result};

/// The accounts that root's daemons take where no --user is given, the first that exists.
const ACCOUNTS: [&str; 3] = ["smtpd", "qpsmtpd", "nobody"];

/// What an account without a home of its own has as `~` when root starts the daemon; with its name
/// appended where this belongs to somebody else.
const STATE_DIR: &str = "/var/spool/qpsmtpd";

/// An account to run as.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
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

/// The account for sessions; None: that of the user who started us.
///
/// # Errors
/// There is no such account, or we are not root and cannot become it.
pub(crate) fn for_sessions(user: Option<&str>) -> Result<Option<Account>> {
    match user {
        Some(name) => {
            let account =
                find(name)?.ok_or_else(|| Error::new(format!("unknown user '{name}'")))?;
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

/// What `~` is for an account, whether the folder exists already or is to be made.
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

/// What `~` is for the user who starts us: $HOME if it can be written, else the home of the account.
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

/// An error for the person who starts us: where a permission was missing, with the user who lacked it.
pub(crate) fn told(error: &Error) -> String {
    let text = error.to_string();
    if !text.contains("Permission denied") {
        return text;
    }
    let name = own_name().unwrap_or_else(|| geteuid().to_string());
    format!("{text}, for user {name}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_told_with_its_user() {
        let name = User::from_uid(geteuid()).unwrap().expect("an account").name;
        let denied = "/x: Permission denied (os error 13)";
        assert_eq!(told(&Error::new(denied)), format!("{denied}, for user {name}"));
        assert_eq!(told(&Error::new("/x: no such file")), "/x: no such file");
    }

    #[test]
    fn unknown_users_are_named() {
        let error = for_sessions(Some("no-such-user-here")).unwrap_err().to_string();
        assert_eq!(error, "unknown user 'no-such-user-here'");
    }

    #[test]
    fn root_gets_an_account_and_others_stay_who_they_are() {
        let found = for_sessions(None).unwrap();
        assert_eq!(found.is_some(), geteuid().is_root());
        if let Some(found) = found {
            assert!(ACCOUNTS.contains(&found.name.as_str()));
        }
    }
}
