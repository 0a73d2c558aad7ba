//! The versions of files and folders: whether what is at a path is still what was there.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::folder::names;

/// A file changed this shortly before it was read may change again without its times showing it
/// (clocks tick in milliseconds, some file systems in seconds): it is read once more.
const TICK: Duration = Duration::from_secs(2);

/// What kind of thing a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Folder,
    Other,
}

/// The version of a file or folder, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) kind: Kind,
    /// Device and inode.
    pub(super) id: (u64, u64),
    size: u64,
    modified: (i64, i64),
    /// Of the inode: also when it got other permissions, or an older modification time.
    pub(super) changed: (i64, i64),
}

/// One path that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) path: PathBuf,
    pub(super) found: Found,
    pub(super) names: Option<Vec<OsString>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// With this error number.
    Failed(i32),
    There(Fingerprint),
}

impl Dependency {
    /// Whether the path is now as it was.
    pub(super) fn unchanged(&self) -> bool {
        let same = match (self.found, Found::at(&self.path)) {
            (before, now) if before == now => true,
            (before, now) => before.is_out_of_sight() && now.is_out_of_sight(),
        };
        same && self
            .names
            .as_ref()
            .is_none_or(|before| names(&self.path).is_ok_and(|now| now == *before))
    }

    /// Was anything at the path?
    pub(super) fn is_there(&self) -> bool {
        matches!(self.found, Found::There(_))
    }
}

impl Found {
    /// What is at the path now.
    pub(super) fn at(path: &Path) -> Found {
        match fs::metadata(path) {
            Ok(metadata) => Found::There(Fingerprint::new(&metadata)),
            Err(error) => match error.kind() {
                ErrorKind::NotFound
                | ErrorKind::NotADirectory
                | ErrorKind::InvalidFilename
                | ErrorKind::InvalidInput => Found::Nothing,
                _ => Found::Failed(error.raw_os_error().unwrap_or_default()),
            },
        }
    }

    /// A child without privileges may not reach folders in which its parent found nothing: that
    /// makes no difference.
    pub(super) fn is_out_of_sight(self) -> bool {
        match self {
            Found::Nothing => true,
            Found::Failed(code) => {
                io::Error::from_raw_os_error(code).kind() == ErrorKind::PermissionDenied
            }
            Found::There(_) => false,
        }
    }
}

impl Fingerprint {
    /// The version that this metadata shows.
    pub(super) fn new(metadata: &fs::Metadata) -> Fingerprint {
        let kind = match metadata.file_type() {
            kind if kind.is_file() => Kind::Plain,
            kind if kind.is_dir() => Kind::Folder,
            _ => Kind::Other,
        };
        Fingerprint {
            kind,
            id: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Would a later change show in the times?  `now` is when the read began.
    pub(super) fn is_stable(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(self.changed.0.try_into().unwrap_or(0));
        changed + TICK <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn nothing_and_nothing_to_see_are_the_same() {
        let path = PathBuf::from("/no/such/file");
        let dependency = |found| Dependency { path: path.clone(), found, names: None };
        assert!(dependency(Found::Nothing).unchanged());
        assert!(dependency(Found::Failed(Errno::EACCES as i32)).unchanged());
        assert!(!dependency(Found::Failed(Errno::EIO as i32)).unchanged());
        let there = Found::at(Path::new("/"));
        assert!(!dependency(there).unchanged());
    }

    #[test]
    fn a_name_that_cannot_exist_is_nothing() {
        for name in ["x\0y".to_owned(), "x".repeat(5000), "/dev/null/x".to_owned()] {
            assert_eq!(Found::at(Path::new(&name)), Found::Nothing);
        }
    }
}
