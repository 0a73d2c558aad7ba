//! The folder of the file: whose it is, and who may write there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{AccessFlags, access, geteuid};

/// Makes `inner`, a folder within `folder`, where there is none.
///
/// # Errors
/// What the file system says, or that everybody may write in the folder.
pub(super) fn make(folder: &Path, inner: &Path) -> io::Result<()> {
    if !inner.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(inner)?;
    }
    match is_open(&fs::metadata(folder)?) {
        false => Ok(()),
        true => Err(io::Error::other(OPEN)),
    }
}

/// Makes room for the locks of so many readers, which are memory: on a full disk a process would be
/// killed when it takes one.
///
/// # Errors
/// What the file system says; one that makes room only when it is used has none to reserve.
pub(super) fn reserve(locks: &Path, readers: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).mode(0o600).open(locks)?;
    let size = i64::from(readers) * LOCK + LOCK_HEAD;
    match fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(Errno::EOPNOTSUPP | Errno::EINTR) => Ok(()),
        done => Ok(done?),
    }
}

/// What LMDB has for each reader, and for all, in octets.
const LOCK: i64 = 64;
const LOCK_HEAD: i64 = 4096;

/// What makes a folder unfit for this process's user, without a change to it.  `makes`: one that does
/// not exist will be made by somebody who can make it anywhere.
pub(super) fn fault(folder: &Path, inner: &Path, makes: bool) -> Option<String> {
    let shown = folder.display();
    let found = match fs::metadata(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return cannot_make(folder, makes),
        Err(error) => return Some(format!("{shown}: {error}")),
    };
    let (owner, own) = (found.uid(), geteuid());
    match () {
        () if !found.is_dir() => Some(format!("{shown}: Not a directory")),
        () if is_open(&found) => Some(format!("{shown}: {OPEN}")),
        () if owner != own.as_raw() => {
            Some(format!("{shown} belongs to user {owner}, and sessions run as {own}"))
        }
        () => [folder, inner].into_iter().filter(|path| path.exists()).find_map(no_access),
    }
}

/// Why nobody would be safe from others.
const OPEN: &str = "everybody may write in it";

fn is_open(found: &fs::Metadata) -> bool {
    found.mode() & 0o002 != 0
}

fn cannot_make(folder: &Path, makes: bool) -> Option<String> {
    let above = folder.ancestors().skip(1).find(|above| above.exists());
    let above = above.unwrap_or(Path::new("."));
    let error = match access(above, AccessFlags::W_OK | AccessFlags::X_OK) {
        _ if !above.is_dir() => "Not a directory",
        Err(error) if !makes => error.desc(),
        _ => return None,
    };
    Some(format!("cannot make {}: {error}", folder.display()))
}

fn no_access(path: &Path) -> Option<String> {
    let error = access(path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    Some(format!("{}: {}", path.display(), error.desc()))
}
