//! The configuration: one file per name.
//!
//! A file holds one entry per line. Blanks around a line do not count, nor do empty lines and lines
//! that start with `#`. Where one value is wanted, it is the first line. `$include NAME` stands for
//! the lines of another file, or of all files of a folder in the order of their names, without
//! hidden ones, backups (`x~`) and what package managers leave behind (`x.dpkg-old`, `x.rpmnew`).
//! A large map can be a constant database, `NAME.cdb`.
//!
//! Each name is looked up for itself in the folders of the search path, and the first file found is
//! the one: see [`Config::from_env`].
//!
//! A change takes effect by itself: an answer is given again for one second without a look at the
//! files, and after that for as long as no file that it came from has changed. When a changed file
//! cannot be read, or has gone away, the last good answer stays, and the reason goes to
//! [`Config::take_problems`].

mod cache;
mod cdb;
mod derived;
mod fingerprint;
mod folder;
mod lines;
mod lookup;
mod map;
mod values;

pub use crate::settings::{leading_numbers, network};
pub use derived::Derived;
pub use lines::{Line, Lines, word_and_rest};
pub use map::Map;
pub use values::Shown;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use crate::error::Error;
use crate::settings::{self, Default};
use cache::{Cache, Source};
pub(crate) use folder::is_leftover;
pub(crate) use lines::has_byte_order_mark;
use lookup::{Lookup, Search};
use values::Values;

/// The configuration as it is on disk now. A clone is the same configuration.
///
/// Every name that was ever asked for is remembered, so names are the program's own, never a
/// client's. An absolute path is a name too.
#[derive(Clone)]
pub struct Config(Rc<Inner>);

struct Inner {
    search: Search,
    /// What `$QPSMTPD_CONFIG` names.
    given: Option<PathBuf>,
    lists: Cache<Lines>,
    maps: Cache<Map>,
    places: Cache<Place>,
    values: Values,
    hostname: OnceCell<String>,
    home: RefCell<PathBuf>,
}

impl Config {
    /// Searches `$QPSMTPD_CONFIG` or, where that is not set, `config` in the working directory (by a
    /// relative path, so that it stays in reach when the folders above do not), then `config` beside the
    /// program, and `${QMAIL:-/var/qmail}/control`.
    pub fn from_env() -> Config {
        let program = env::current_exe().ok();
        let given = env::var_os("QPSMTPD_CONFIG").filter(|folder| !folder.is_empty());
        let dirs = search_path(given.clone(), program, env::var_os("QMAIL"));
        Config::with_given(dirs, given.map(PathBuf::from))
    }

    /// Searches exactly `dirs`.
    pub fn new(dirs: Vec<PathBuf>) -> Config {
        Config::with_given(dirs, None)
    }

    fn with_given(dirs: Vec<PathBuf>, given: Option<PathBuf>) -> Config {
        let home = env::var_os("HOME").filter(|home| !home.is_empty());
        Config(Rc::new(Inner {
            search: Search { dirs, ..Search::default() },
            given,
            lists: Cache::default(),
            maps: Cache::default(),
            places: Cache::default(),
            values: Values::default(),
            hostname: OnceCell::new(),
            home: RefCell::new(home.map_or_else(|| PathBuf::from("/"), PathBuf::from)),
        }))
    }

    /// All lines of `name`; empty where there is no such file. Never fails: what goes wrong is a
    /// problem to log, and the last good lines stay.
    pub fn list(&self, name: &str) -> Lines {
        self.0.lists.get(&self.0.search, name, Instant::now())
    }

    /// The first line of `name`, or its built-in default.
    pub fn value(&self, name: &str) -> Option<String> {
        self.list(name).first().map(str::to_owned).or_else(|| self.built_in(name))
    }

    /// The first line of `name` as a number, or else `default`: for plugins, the core has
    /// [`Config::setting`].  A line that is no number gives `default` and a problem.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        let lines = self.list(name);
        let Some(line) = lines.entries().next() else {
            return self.built_in(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        };
        settings::number(&line.text).unwrap_or_else(|| {
            if lines.report() {
                let text = format!("{name}: not a number: {}; taken as {default}", line.text);
                self.0.search.problems.note(Error::at(&line.file, line.number, text).to_string());
            }
            default
        })
    }

    /// The constant database `name.cdb`; empty where there is no such file.
    pub fn map(&self, name: &str) -> Map {
        self.0.maps.get(&self.0.search, name, Instant::now())
    }

    /// Reads all lines of `name` now, however fresh the last ones are; empty where there is no such
    /// file. For start-up: an error is not a problem to log as well.
    ///
    /// # Errors
    /// The file, or one that it includes, cannot be read; with file and line.
    pub fn load(&self, name: &str) -> Result<Lines, Error> {
        self.0.values.expire();
        self.0.lists.load(&self.0.search, name, Instant::now())
    }

    /// As [`Config::load`], with all that is wrong, and the lines that can be read in spite of it.
    pub(crate) fn load_what_can_be(&self, name: &str) -> (Lines, Vec<Error>) {
        match self.load(name) {
            Ok(lines) => (lines, vec![]),
            Err(error) => {
                let (lines, mut errors) = Lines::what_can_be_read(&self.0.search, name);
                // What has gone out of reach is an error only for who had it before.
                if errors.is_empty() {
                    errors.push(error);
                }
                (lines, errors)
            }
        }
    }

    /// Whether `name` has a file. Built-in defaults do not count.
    pub fn exists(&self, name: &str) -> bool {
        self.path(name).is_some()
    }

    /// The file from which `name` is read. It is not opened.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.places.get(&self.0.search, name, Instant::now()).0
    }

    /// An error where `$QPSMTPD_CONFIG` names no folder: another one must not be used silently.
    ///
    /// # Errors
    /// There is no such folder, or this process may not look into it.
    pub fn reachable(&self) -> Result<(), Error> {
        let Some(folder) = &self.0.given else { return Ok(()) };
        match fs::read_dir(folder) {
            Ok(_) => Ok(()),
            Err(why) => Err(Error::new(format!("QPSMTPD_CONFIG is {}: {why}", folder.display()))),
        }
    }

    /// The folder in use: that of `plugins`, or else the first that is searched.
    pub fn folder(&self) -> PathBuf {
        let beside = self.path("plugins").and_then(|file| Some(file.parent()?.to_owned()));
        let folder = beside.or_else(|| self.0.search.dirs.first().cloned()).unwrap_or_default();
        std::path::absolute(&folder).unwrap_or(folder)
    }

    /// The files from which lists were read, those that `$include` names, too.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        self.0.lists.files().into_iter().map(absolute).collect()
    }

    /// A folder beside the files; None where there is none of that name.
    pub fn folder_named(&self, name: &str) -> Option<PathBuf> {
        self.0.search.dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_dir())
    }

    /// Checks everything that is known now: a parent does it before it forks, so that its child has
    /// nothing to read.
    pub fn refresh(&self) {
        let now = Instant::now();
        self.0.lists.refresh(&self.0.search, now);
        self.0.maps.refresh(&self.0.search, now);
        self.0.places.refresh(&self.0.search, now);
    }

    /// The same folders, with nothing read yet: for reading everything again, files that have gone
    /// away included, while who goes on with this one keeps what it has.
    pub fn anew(&self) -> Config {
        let inner = &self.0;
        Config(Rc::new(Inner {
            search: Search { dirs: inner.search.dirs.clone(), ..Search::default() },
            given: inner.given.clone(),
            lists: inner.lists.anew(),
            maps: inner.maps.anew(),
            places: inner.places.anew(),
            values: Values::default(),
            hostname: inner.hostname.clone(),
            home: inner.home.clone(),
        }))
    }

    /// Was something asked for since the last call that cannot be read and never was?  What was
    /// given in its place, such as an empty list, decides nothing.
    pub fn take_unread(&self) -> bool {
        self.0.search.has_unread.take()
    }

    /// Makes the next look at each name check its files.
    pub fn expire(&self) {
        self.0.values.expire();
        self.0.lists.expire();
        self.0.maps.expire();
        self.0.places.expire();
    }

    /// In a new process: its parent goes on looking at all that is known by now, and says what is wrong
    /// with it.  Otherwise each of many processes would.
    pub(crate) fn leave_parent(&self) {
        self.0.lists.watch_all();
        self.0.maps.watch_all();
        self.0.places.watch_all();
    }

    /// Are these lines those of the file `name`, and another process says what is wrong with them?
    pub(crate) fn is_watched(&self, name: &str, lines: &Lines) -> bool {
        self.0.lists.is_watched(name) && self.list(name).same(lines)
    }

    /// Adds a line to what [`Config::take_problems`] gives.
    pub(crate) fn note_problem(&self, problem: impl std::fmt::Display) {
        self.0.search.problems.note(problem.to_string());
    }

    /// Has [`Config::take_problems`] anything to give?
    pub(crate) fn has_problems(&self) -> bool {
        !self.0.search.problems.is_empty()
    }

    /// What went wrong while reading since the last call, a line each, for the log.
    pub fn take_problems(&self) -> Vec<String> {
        self.0.search.problems.take()
    }

    /// The folder that `~` means: `$HOME`, or `/` without one, until it is set.
    pub fn home(&self) -> PathBuf {
        self.0.home.borrow().clone()
    }

    /// Sets the folder that `~` means, for every clone.
    pub fn set_home(&self, home: PathBuf) {
        self.0.home.replace(home);
    }

    /// `path` with `~` or `~/` at its start replaced by the home folder.
    pub fn expand(&self, path: &str) -> PathBuf {
        match path.strip_prefix('~') {
            Some("") => self.home(),
            Some(rest) if rest.starts_with('/') => self.home().join(rest.trim_start_matches('/')),
            _ => PathBuf::from(path),
        }
    }

    fn built_in(&self, name: &str) -> Option<String> {
        let row = settings::find(name)?;
        match row.default {
            Default::Is(text) => Some(text.to_owned()),
            Default::Host => Some(self.host().to_owned()),
            Default::As(other) => self.value(other.name),
            Default::Without(_) => None,
        }
    }

    /// This host's name.
    fn host(&self) -> &str {
        self.0.hostname.get_or_init(hostname)
    }
}

/// The file that a name is read from.
#[derive(Clone, Default)]
struct Place(Option<PathBuf>);

impl Source for Place {
    fn read(lookup: &mut Lookup<'_>, name: &str) -> Result<Place, Error> {
        let found = lookup.find(name, false).map_err(Error::new)?;
        Ok(Place(found.map(|(path, _)| path)))
    }
}

fn search_path(
    config: Option<OsString>,
    program: Option<PathBuf>,
    qmail: Option<OsString>,
) -> Vec<PathBuf> {
    let given = |folder: Option<OsString>| folder.filter(|folder| !folder.is_empty());
    // The folder in which a program is started may be a stranger's: it adds nothing to one that is named.
    let mut dirs = vec![given(config).map_or_else(|| PathBuf::from("config"), PathBuf::from)];
    dirs.extend(program.as_deref().and_then(Path::parent).map(|folder| folder.join("config")));
    dirs.push(
        given(qmail).map_or_else(|| PathBuf::from("/var/qmail"), PathBuf::from).join("control"),
    );
    dirs
}

fn hostname() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
