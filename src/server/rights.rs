//! With whose rights files are made before root becomes the account.
//!
//! The account may put a link in the place of whatever lies in a folder where it may write, at any
//! moment.  So root goes by itself only where nobody but root can change what a path leads to, and
//! everywhere else it takes the account's rights for as long as that takes: what the account could
//! trick us into, it can do by itself.

use std::collections::VecDeque;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::unistd::geteuid;

use crate::server::account::Account;

/// How many links are followed before a path is taken for one that leads nowhere.
const MOST_LINKS: u32 = 40;

/// The permissions that let others than the owner change a folder.
const OTHERS_WRITE: u32 = 0o022;
/// Such a folder where nobody removes what belongs to somebody else.
const STICKY: u32 = 0o1000;

/// Runs `act`, which makes, opens or removes `path`: as root where the folders that lead there are
/// root's alone, with the account's rights elsewhere.
///
/// # Errors
/// What `act` says, and what the system says of the change of rights.
pub(crate) fn for_path<T>(
    path: &Path,
    account: Option<&Account>,
    act: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    match account {
        Some(account) if geteuid().is_root() && !is_roots_alone(path) => account.lend(act)?,
        _ => act(),
    }
}

/// Can nobody but root change what `path` leads to, or will lead to when it has been made?
fn is_roots_alone(path: &Path) -> bool {
    let mut at = PathBuf::from("/");
    let Ok(path) = env::current_dir().map(|folder| folder.join(path)) else { return false };
    let Some((folder, _)) = path.parent().zip(path.file_name()) else { return false };
    let mut names = names(folder);
    let mut links = 0;
    loop {
        let Ok(folder) = fs::symlink_metadata(&at) else { return false };
        let Some(name) = names.pop_front() else { return guards(&folder, None) };
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let entry = match fs::symlink_metadata(&next) {
            Ok(entry) => entry,
            Err(error) => return error.kind() == ErrorKind::NotFound && guards(&folder, None),
        };
        if !guards(&folder, Some(&entry)) {
            return false;
        }
        if !entry.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        let Some(target) = fs::read_link(&next).ok().filter(|_| links <= MOST_LINKS) else {
            return false;
        };
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for name in self::names(&target).into_iter().rev() {
            names.push_front(name);
        }
    }
}

/// Can nobody but root put something else in the place of `entry`, or where nothing is?
fn guards(folder: &Metadata, entry: Option<&Metadata>) -> bool {
    let stays = |entry: &Metadata| entry.uid() == 0 && !entry.is_symlink();
    let is_open = folder.mode() & OTHERS_WRITE != 0;
    let keeps = folder.mode() & STICKY != 0 && entry.is_some_and(stays);
    folder.is_dir() && folder.uid() == 0 && (!is_open || keeps)
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).map(OsStr::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn a_path_is_roots_alone_where_every_step_is() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::Builder::new().tempdir_in("/").unwrap();
        let path = |name: &str| dir.path().join(name);
        for (name, mode, owner) in [
            ("own", 0o755, 0),
            ("own/inner", 0o700, 0),
            ("open", 0o777, 0),
            ("open/own", 0o755, 0),
            ("sticky", 0o1777, 0),
            ("sticky/own", 0o755, 0),
            ("sticky/theirs", 0o755, 1),
            ("group", 0o775, 0),
            ("theirs", 0o755, 1),
            ("theirs/own", 0o755, 0),
        ] {
            fs::create_dir(path(name)).unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
            chown(path(name), Some(owner), Some(owner)).unwrap();
        }
        symlink("own/../own", path("link")).unwrap();
        symlink("/no/such/../../folder", path("nowhere")).unwrap();
        symlink(path("theirs"), path("away")).unwrap();
        symlink("round", path("round")).unwrap();
        symlink(path("own"), path("sticky/link")).unwrap();
        for (name, alone) in [
            ("own/x", true),
            ("own/inner/x", true),
            ("own/not/yet/x", true),
            ("own/../x", true),
            ("link/x", true),
            ("nowhere/x", true),
            ("open/x", false),
            ("open/own/x", false),
            ("sticky/x", false),
            ("sticky/own/x", true),
            ("sticky/theirs/x", false),
            ("sticky/link/x", false),
            ("group/x", false),
            ("theirs/x", false),
            ("theirs/own/x", false),
            ("theirs/../x", true),
            ("away/x", false),
            ("round/x", false),
        ] {
            assert_eq!(is_roots_alone(&path(name)), alone, "{name}");
        }
    }
}
