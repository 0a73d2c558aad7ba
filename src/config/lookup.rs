//! What a read looked at: every path and what was there, also where nothing was. As long as all of
//! it is as it was, reading again would give the same.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use super::fingerprint::{Dependency, Fingerprint, Found, Kind};
use super::folder::names;

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
        // Nothing is written where there is nothing: a new process shares the page with its parent.
        if self.is_empty() { vec![] } else { self.0.take() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    fn search(dirs: &[PathBuf]) -> Search {
        Search { dirs: dirs.to_vec(), ..Search::default() }
    }

    #[test]
    fn a_fresh_file_is_not_stable() {
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
    fn a_link_to_itself_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("me");
        std::os::unix::fs::symlink("me", &path).unwrap();
        let search = search(&[dir.path().to_owned()]);
        let error = Lookup::new(&search, &[], false).find("me", false).unwrap_err();
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
    }
}
