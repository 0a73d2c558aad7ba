//! A folder with the configuration, the spool and the Maildir of one test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;

/// The files that every test starts from.
const FILES: &[(&str, &str)] = &[
    ("me", "mail.test"),
    ("plugins", "rcpt_ok\nqueue/maildir {work}/Maildir"),
    ("rcpthosts", "example.com\n.example.org"),
    ("logging", "logging/warn LOGINFO"),
    ("databytes", "10000"),
    // A client that waits for something else as long as it may is still there.
    ("timeout", "600"),
    ("timeout_overload", "600"),
    ("spool_dir", "{work}/spool"),
    ("store", "lmdb {work}/store 64M"),
];

/// Variables of the one who runs the tests that a daemon would listen to.
const UNSET: &[&str] = &[
    "TCPREMOTEIP",
    "TCPREMOTEHOST",
    "TCPREMOTEPORT",
    "TCPREMOTEINFO",
    "TCPLOCALIP",
    "TCPLOCALHOST",
    "TCPLOCALPORT",
    "PROTO",
    "RELAYCLIENT",
    "WHITELISTCLIENT",
    "RBLSMTPD",
    "QMAIL",
    "QMAILQUEUE",
    "POSTFIXQUEUE",
    "PORT",
    "TMPDIR",
];

/// A temporary folder with `config/`, `spool/` and `Maildir/`. Dropped, it ends every process
/// that still works in it and goes away.
pub(crate) struct Config {
    work: TempDir,
    env: Vec<(&'static str, String)>,
}

impl Config {
    /// The common configuration: `rcpt_ok`, a Maildir, log lines on stderr.
    pub(crate) fn new() -> Config {
        // What root writes is there for the daemons' account to read, whatever root's habits are.
        umask(Mode::from_bits_truncate(0o022));
        // Whatever $TMPDIR says: every account can get there, and the path is short and has no blank.
        let work = tempfile::Builder::new().prefix("qpsmtpd-t-").tempdir_in("/tmp").unwrap();
        let config = Config { work, env: vec![] };
        let folders = ["config", "spool", "Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"];
        for folder in folders {
            fs::create_dir(config.path(folder)).unwrap();
        }
        fs::set_permissions(config.path("spool"), fs::Permissions::from_mode(0o700)).unwrap();
        if let Some(user) = unprivileged() {
            for folder in folders.iter().chain(&["."]) {
                chown(config.path(folder), Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                    .unwrap();
            }
        }
        FILES.iter().fold(config, |config, (name, text)| config.set(name, text))
    }

    /// Sets the file `name` to `text`; `{work}` becomes the folder's path.
    pub(crate) fn set(self, name: &str, text: &str) -> Config {
        self.write(name, text);
        self
    }

    /// Gives the daemon the environment variable `name`.
    pub(crate) fn env(mut self, name: &'static str, value: &str) -> Config {
        self.env.push((name, value.to_owned()));
        self
    }

    /// As [`Config::set`], for a daemon that runs already.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let text = text.replace("{work}", &self.work().to_string_lossy());
        fs::write(self.path("config").join(name), text + "\n").unwrap();
    }

    /// Makes a program of the text; its path.
    pub(crate) fn program(&self, name: &str, text: &str) -> PathBuf {
        let source = self.path(&format!("{}.text", name.replace('/', "-")));
        fs::write(&source, text).unwrap();
        self.install(name, &source)
    }

    /// Copies a program into the folder; its path.  Another process writes it: while this one does,
    /// what its other threads start would have it open for writing too, and then it cannot run.
    pub(crate) fn install(&self, name: &str, source: &Path) -> PathBuf {
        let path = self.path(name);
        let status = Command::new("install").args([source, &path]).status().unwrap();
        assert!(status.success(), "{}", path.display());
        path
    }

    /// The temporary folder.
    pub(crate) fn work(&self) -> &Path {
        self.work.path()
    }

    /// The path of `name` in the temporary folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// `--check` by the account that the daemons of tests have.
    pub(crate) fn check(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.command(program);
        command.arg("--check").args(unprivileged().map(|user| format!("--user={}", user.name)));
        command
    }

    /// A command that runs in the temporary folder and knows where the configuration is.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.work()).stdin(Stdio::null());
        for name in UNSET {
            command.env_remove(name);
        }
        // What the system says is in English.
        command.env_remove("LANGUAGE").env("LC_ALL", "C");
        command.env("QPSMTPD_CONFIG", self.path("config"));
        command.envs(self.env.iter().cloned());
        command
    }

    /// The messages in `Maildir/new`, ordered by file name.
    pub(crate) fn mails(&self) -> Vec<Vec<u8>> {
        names(&self.path("Maildir/new")).iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// As [`Config::mails`], and takes them out of the Maildir.
    pub(crate) fn take_mails(&self) -> Vec<Vec<u8>> {
        let mails = self.mails();
        names(&self.path("Maildir/new")).iter().for_each(|file| fs::remove_file(file).unwrap());
        mails
    }

    /// The files in the spool.
    pub(crate) fn spool_left(&self) -> Vec<PathBuf> {
        names(&self.path("spool"))
    }

    /// Processes that have the temporary folder as their current one.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let here = |pid: &i32| {
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(self.work()))
        };
        let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok());
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(here).map(Pid::from_raw).collect()
    }

    /// Waits until no process works in the folder any more and the spool is empty; an error says
    /// what is left.
    pub(crate) fn nothing_left(&self) -> Result<(), String> {
        let empty = || (self.processes().is_empty() && self.spool_left().is_empty()).then_some(());
        super::poll(super::TIMEOUT, empty).ok_or_else(|| {
            format!("left behind: processes {:?}, spool {:?}", self.processes(), self.spool_left())
        })
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill(pid, Signal::SIGKILL).ok();
        }
    }
}

/// The account that takes over from root in the daemons; `None` when the tests do not run as root.
pub(crate) fn unprivileged() -> Option<User> {
    geteuid().is_root().then(|| User::from_name("nobody").unwrap().unwrap())
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}
