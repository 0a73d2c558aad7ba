//! A service manager's rules for one unit, as far as a daemon can tell them from those of systemd.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Config, Log, Process, TIMEOUT, daemon, poll};

/// `Type=` of a unit: when has it started, and which process is the main one?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// At once; the process that was started.
    Simple,
    /// When the process that was started has ended; the one in the pid file.
    Forking,
    /// When it says so; the process that was started.
    Notify,
}

/// `KillMode=` of a unit: who gets SIGTERM at its end?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KillMode {
    /// Every process.
    ControlGroup,
    /// The main process.
    Mixed,
}

/// What stands in the unit's file.  The temporary folder of `config` is its control group: every
/// process that works there belongs to it.
pub(super) struct Unit<'a> {
    pub(super) config: &'a Config,
    pub(super) kind: Type,
    pub(super) kill_mode: KillMode,
    /// `EnvironmentFile=`.
    pub(super) environment: &'static str,
    /// `ExecStart=`, where `$NAME` is a value of the environment.
    pub(super) exec_start: String,
    /// Octets of data and of address space that each process may have.
    pub(super) memory: u64,
}

/// A unit that has started.
pub(super) struct Started<'a> {
    unit: &'a Unit<'a>,
    process: Process,
    main: Pid,
    pub(super) log: Log,
}

impl Unit<'_> {
    /// Starts it, and waits until it has started by the rules of its type.
    pub(super) fn start(&self) -> Started<'_> {
        let environment = assignments(self.environment);
        let value = |word: &str| match word.strip_prefix('$') {
            Some(name) => environment[name].clone(),
            None => word.to_owned(),
        };
        let notify = self.config.path("notify");
        fs::remove_file(&notify).ok();
        let told = UnixDatagram::bind(&notify).unwrap();
        fs::set_permissions(&notify, fs::Permissions::from_mode(0o777)).unwrap();
        told.set_read_timeout(Some(TIMEOUT)).unwrap();

        let mut command = self.config.command("prlimit");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
        command.envs([
            ("INVOCATION_ID", "5d2d76a3d5b24e2e9ab2ba1d0a4bd5b7"),
            ("JOURNAL_STREAM", "8:1"),
        ]);
        command.envs(&environment).env("QPSMTPD_CONFIG", self.config.path("config"));
        if self.kind == Type::Notify {
            command.env("NOTIFY_SOCKET", &notify);
        }
        command.args(["data", "as"].map(|limit| format!("--{limit}={}", self.memory)));
        command.args(self.exec_start.split(' ').map(value));
        let log = Log::default();
        let mut process = Process::spawn(command, &log);
        let mut main = process.pid();
        match self.kind {
            Type::Simple => {}
            Type::Forking => {
                let status = process.wait().unwrap();
                assert!(status.success(), "{status}: {}", log.tail());
                let text = fs::read_to_string(self.config.path("run/daemon.pid")).unwrap();
                main = Pid::from_raw(text.trim().parse().unwrap());
            }
            Type::Notify => {
                let mut text = [0; 200];
                let count = told.recv(&mut text).unwrap_or_else(|_| panic!("{}", log.tail()));
                assert!(String::from_utf8_lossy(&text[..count]).contains("READY=1"));
            }
        }
        Started { unit: self, process, main, log }
    }
}

impl Started<'_> {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        let found = self.log.wait_until(|text| daemon::addresses(text).first().copied());
        found.unwrap_or_else(|| panic!("it does not listen:\n{}", self.log.tail()))
    }

    /// `ExecReload=/bin/kill -HUP $MAINPID`.
    pub(super) fn reload(&self) {
        let pid = self.main.to_string();
        let status = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it: an error says which process needed SIGKILL, or that the end was a failure.
    pub(super) fn stop(mut self) -> Result<(), String> {
        let all = self.unit.config.processes();
        let told = match self.unit.kill_mode {
            KillMode::ControlGroup => all,
            KillMode::Mixed => vec![self.main],
        };
        for pid in told {
            // One that ended meanwhile needs nothing.
            kill(pid, Signal::SIGTERM).ok();
        }
        if self.unit.kind != Type::Forking {
            let status = self.process.wait()?;
            if !status.success() {
                return Err(format!("ended with {status}:\n{}", self.log.tail()));
            }
        }
        let is_gone = || kill(self.main, None).is_err().then_some(());
        poll(TIMEOUT, is_gone).ok_or_else(|| format!("{} does not end", self.main))?;
        self.unit.config.nothing_left()
    }
}

/// The lines `NAME=value` of a file of the environment.
fn assignments(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}
