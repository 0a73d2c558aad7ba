//! What a read looked at: every path and what was there, also where nothing was. As long as all of
//! it is as it was, reading again would give the same.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    changed: (i64, i64),
}

/// One path that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) path: PathBuf,
    found: Found,
    names: Option<Vec<OsString>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// With this error number.
    Failed(i32),
    There(Fingerprint),
}

/// The search path, and the place where problems are kept.
#[derive(Default)]
pub(super) struct Search {
    pub(super) dirs: Vec<PathBuf>,
    pub(super) problems: Problems,
    /// Whether something was asked for since this was last looked at that cannot be read and never
    /// was.
    pub(super) has_unread: Cell<bool>,
}

/// What went wrong while reading, until somebody takes it.
#[derive(Clone, Default)]
pub(super) struct Problems(Rc<RefCell<Vec<String>>>);

/// Looks at paths on behalf of one read and remembers them.
pub(super) struct Lookup<'a> {
    /// Where to look, and where to say what went wrong.
    pub(super) search: &'a Search,
    last_good: &'a [PathBuf],
    has_answer: bool,
    started: SystemTime,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) is_stable: bool,
}

impl<'a> Lookup<'a> {
    /// `last_good` are the files of the last good read, which must not go out of reach; nor may they go
    /// away if `has_answer` says that there is an answer to keep.
    pub(super) fn new(
        search: &'a Search,
        last_good: &'a [PathBuf],
        has_answer: bool,
    ) -> Lookup<'a> {
        Lookup {
            search,
            last_good,
            has_answer,
            started: SystemTime::now(),
            dependencies: Vec::new(),
            is_stable: true,
        }
    }

    /// The first of the search path that has `name`; an absolute `name` is its own place. A folder
    /// is an error, but for those who can use one.
    pub(super) fn find(
        &mut self,
        name: &str,
        folders: bool,
    ) -> Result<Option<(PathBuf, Fingerprint)>, String> {
        if name.is_empty() {
            return Ok(None);
        }
        let here = PathBuf::new();
        let dirs =
            if name.starts_with('/') { std::slice::from_ref(&here) } else { &self.search.dirs };
        for dir in dirs {
            let path = dir.join(name);
            match self.look(&path)? {
                Some(fingerprint) if fingerprint.kind == Kind::Folder && !folders => {
                    return Err(format!("{}: a folder, not a file", path.display()));
                }
                Some(fingerprint) => return Ok(Some((path, fingerprint))),
                None => {}
            }
        }
        Ok(None)
    }

    /// What is at `path`. A path that this process may not reach is as good as nothing, unless the
    /// last good read came from there: neither a file that is out of reach nor one that is gone may
    /// look like an empty list.
    pub(super) fn look(&mut self, path: &Path) -> Result<Option<Fingerprint>, String> {
        let found = Found::at(path);
        self.dependencies.push(Dependency { path: path.to_owned(), found, names: None });
        let was_good = self.last_good.iter().any(|last_good| last_good == path);
        match found {
            Found::Nothing if was_good && self.has_answer => Err(format!(
                "{}: gone; its contents stay in use until the next HUP",
                path.display()
            )),
            Found::Nothing => Ok(None),
            Found::There(fingerprint) => {
                self.is_stable &= fingerprint.is_stable(self.started);
                Ok(Some(fingerprint))
            }
            Found::Failed(_) if found.is_out_of_sight() && !was_good => Ok(None),
            Found::Failed(code) => {
                Err(format!("{}: {}", path.display(), io::Error::from_raw_os_error(code)))
            }
        }
    }

    /// The files of a folder that belong to the configuration, in byte-wise order.
    pub(super) fn folder(&mut self, path: &Path) -> Result<Vec<OsString>, String> {
        let found = Found::at(path);
        let names = names(path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.dependencies.push(Dependency {
            path: path.to_owned(),
            found,
            names: Some(names.clone()),
        });
        Ok(names)
    }
}

impl Problems {
    /// Notes what is wrong, once also where it is found by several reads.
    pub(super) fn note(&self, text: String) {
        let mut all = self.0.borrow_mut();
        if !all.contains(&text) {
            all.push(text);
        }
    }

    /// Takes back what begins with `text`.
    pub(super) fn forget(&self, text: &str) {
        self.0.borrow_mut().retain(|noted| !noted.starts_with(text));
    }

    pub(super) fn take(&self) -> Vec<String> {
        self.0.take()
    }
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

    pub(super) fn is_there(&self) -> bool {
        matches!(self.found, Found::There(_))
    }
}

impl Found {
    fn at(path: &Path) -> Found {
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
    fn is_out_of_sight(self) -> bool {
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
    fn new(metadata: &fs::Metadata) -> Fingerprint {
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

    fn is_stable(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(self.changed.0.try_into().unwrap_or(0));
        changed + TICK <= now
    }
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !is_leftover(&name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Hidden files, editors' backups, and what package managers put beside a changed file.
pub(crate) fn is_leftover(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let extension = name.rsplit(|byte| *byte == b'.').next().filter(|last| *last != name);
    name.starts_with(b".")
        || name.ends_with(b"~")
        || extension.is_some_and(|last| last.starts_with(b"dpkg-") || last.starts_with(b"rpm"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    fn search(dirs: &[PathBuf]) -> Search {
        Search { dirs: dirs.to_vec(), ..Search::default() }
    }

    #[test]
    fn knows_leftovers() {
        for name in [".", ".hidden", "x~", "x.dpkg-old", "x.dpkg-dist", "x.rpmnew", "x.rpmsave"] {
            assert!(is_leftover(OsStr::new(name)), "{name}");
        }
        for name in ["x", "10-x.conf", "rpmnew", "dpkg-old", "x.rpmnew.conf", "~x"] {
            assert!(!is_leftover(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_fresh_file_is_not_settled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let fingerprint = Fingerprint::new(&file.as_file().metadata().unwrap());
        let changed = UNIX_EPOCH + Duration::from_secs(fingerprint.changed.0.try_into().unwrap());
        let search = search(&[]);
        for (seconds, is_stable) in [(0, false), (1, false), (2, true), (3, true)] {
            let mut lookup = Lookup::new(&search, &[], false);
            lookup.started = changed + Duration::from_secs(seconds);
            lookup.look(Path::new("/no/such/file")).unwrap();
            lookup.look(file.path()).unwrap().unwrap();
            assert_eq!(lookup.is_stable, is_stable, "{seconds}");
        }
    }

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
    fn remembers_where_nothing_was() {
        let dir = tempfile::tempdir().unwrap();
        let search = search(&[dir.path().join("a"), dir.path().join("b")]);
        let dirs = &search.dirs;
        fs::create_dir(&dirs[1]).unwrap();
        fs::write(dirs[1].join("me"), "x").unwrap();

        let mut lookup = Lookup::new(&search, &[], false);
        let (path, fingerprint) = lookup.find("me", false).unwrap().unwrap();
        assert_eq!((path, fingerprint.kind), (dirs[1].join("me"), Kind::Plain));
        assert!(lookup.dependencies.iter().all(Dependency::unchanged));

        fs::create_dir(&dirs[0]).unwrap();
        assert!(lookup.dependencies.iter().all(Dependency::unchanged));
        fs::write(dirs[0].join("me"), "").unwrap();
        assert!(!lookup.dependencies[0].unchanged());
    }

    #[test]
    fn sees_new_names_in_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "").unwrap();
        let search = search(&[]);
        let mut lookup = Lookup::new(&search, &[], false);
        assert_eq!(lookup.folder(dir.path()).unwrap(), ["b"]);
        assert!(lookup.dependencies[0].unchanged());
        fs::write(dir.path().join("a"), "").unwrap();
        assert!(!lookup.dependencies[0].unchanged());
    }

    #[test]
    fn a_name_that_cannot_exist_is_nothing() {
        for name in ["x\0y".to_owned(), "x".repeat(5000), "/dev/null/x".to_owned()] {
            assert_eq!(Found::at(Path::new(&name)), Found::Nothing);
        }
    }

    #[test]
    fn a_link_to_itself_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("me");
        std::os::unix::fs::symlink("me", &path).unwrap();
        let search = search(&[dir.path().to_owned()]);
        let error = Lookup::new(&search, &[], false).find("me", false).unwrap_err();
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    }
}
