//! What is started, and when it may be started again.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access};

use super::protocol::{self, Version};
use crate::error::{Error, Result};
use crate::net::Coprocess;

/// Where OpenSMTPD's filters are, on Debian and elsewhere, beside $PATH.
const FOLDERS: [&str; 3] =
    ["/usr/libexec/opensmtpd", "/usr/libexec/smtpd", "/usr/local/libexec/smtpd"];

/// A filter that ends sooner than this is not started again at once.
const SOON: Duration = Duration::from_secs(10);

/// The first and the longest wait then.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// A filter as it is started.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    args: Vec<String>,
    version: Version,
}

impl Program {
    /// The program of these words: a path, or a name that is looked up.
    ///
    /// # Errors
    /// There is no such program.
    pub(super) fn new(words: &[String], version: Version) -> Result<Program> {
        let (name, args) = words.split_first().ok_or("argument missing: the filter's command")?;
        let is_program = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        let path = if name.contains('/') {
            Some(PathBuf::from(name)).filter(|path| path.is_absolute() && is_program(path))
        } else {
            let usual = std::env::var_os("PATH").unwrap_or_default();
            let folders = FOLDERS.iter().map(PathBuf::from).chain(std::env::split_paths(&usual));
            folders.map(|folder| folder.join(name)).find(|path| is_program(path))
        };
        let path = path.ok_or_else(|| Error::new(format!("not a program: '{name}'")))?;
        Ok(Program { path, args: args.to_vec(), version })
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Starts it and greets it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(&self, me: &str) -> io::Result<Coprocess> {
        let mut command = Command::new(&self.path);
        command.args(&self.args);
        let mut process = Coprocess::start(command)?;
        match process.lines.send(protocol::greeting(self.version, me).as_bytes()) {
            // It has ended already; what it said says more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(process),
            done => done.map(|()| process),
        }
    }
}

/// When it may be started again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    next: Option<Instant>,
    wait: Duration,
}

impl Backoff {
    /// It has failed, or was made an end of, after it had run for `age`.
    pub(super) fn failed(&mut self, age: Duration) {
        self.wait = if age < SOON { (self.wait * 2).clamp(FIRST, LONGEST) } else { Duration::ZERO };
        self.next = Some(Instant::now() + self.wait);
    }

    /// How long it must not be started yet.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.next?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_unless_it_ran_for_a_while() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.left(), None);
        for want in [1, 2, 4, 8, 16, 32, 60, 60] {
            backoff.failed(Duration::ZERO);
            assert_eq!(backoff.wait.as_secs(), want);
            assert!(backoff.left().is_some());
        }
        backoff.failed(SOON);
        assert_eq!(backoff.left(), None);
    }

    #[test]
    fn programs_are_found() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let find = |text: &str| Program::new(&words(text), Version::V07);
        assert_eq!(find("sh -c x").unwrap().args, ["-c", "x"]);
        assert_eq!(find("/bin/sh").unwrap().name(), "sh");
        for name in ["no-such-filter", "/etc/passwd", "bin/sh", "/bin"] {
            let error = find(name).unwrap_err().to_string();
            assert_eq!(error, format!("not a program: '{name}'"));
        }
        let error = Program::new(&[], Version::V07).unwrap_err().to_string();
        assert_eq!(error, "argument missing: the filter's command");
    }
}
