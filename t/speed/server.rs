//! Servers to be measured.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::Result;
use crate::client::Job;

/// A program; one of another build where there is a path.
#[derive(Clone)]
pub(crate) enum Kind {
    Sink,
    Prefork(Option<PathBuf>),
    Forkserver(Option<PathBuf>),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, other) = match self {
            Kind::Sink => ("sink", false),
            Kind::Prefork(path) => ("prefork", path.is_some()),
            Kind::Forkserver(path) => ("forkserver", path.is_some()),
        };
        f.pad(&format!("{name}{}", if other { ", other build" } else { "" }))
    }
}

/// How a server is set up.
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    /// Processes that wait.
    pub(crate) workers: usize,
    /// Sessions at a time, and those of one address; 0: any number.
    pub(crate) most: usize,
    pub(crate) max_from_ip: usize,
    /// Plugins that decline at `rcpt`, before the one that decides.
    pub(crate) plugins: usize,
    /// Lines of `config/rcpthosts`.
    pub(crate) domains: usize,
    pub(crate) stored: bool,
    /// Does it offer TLS and AUTH?
    pub(crate) offers: bool,
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Child,
    before: f64,
    _dir: TempDir,
}

impl Setup {
    /// The server for a job.
    pub(crate) fn new(kind: Kind, job: &Job) -> Setup {
        let stored = job.stored;
        Setup {
            kind,
            workers: 10,
            most: 300,
            max_from_ip: 0,
            plugins: 0,
            domains: 1,
            stored,
            offers: false,
        }
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&self) -> Result<Server> {
        let dir = tempfile::tempdir()?;
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        self.configure(&dir)?;
        if self.domains > 1000 {
            // As long as a file is new, everybody reads it again each second.
            thread::sleep(Duration::from_secs(3));
        }
        let [workers, most, max_from_ip] =
            [self.workers, self.most, self.max_from_ip].map(|number| number.to_string());
        let (program, words) = match &self.kind {
            Kind::Sink => (std::env::current_exe()?, vec!["sink"]),
            Kind::Prefork(path) => {
                let own = env!("CARGO_BIN_EXE_qpsmtpd-prefork");
                let words = vec!["--children", &most, "--idle-children", &workers];
                (path.clone().unwrap_or_else(|| own.into()), words)
            }
            Kind::Forkserver(path) => {
                let own = env!("CARGO_BIN_EXE_qpsmtpd-forkserver");
                (path.clone().unwrap_or_else(|| own.into()), vec!["-c", &most])
            }
        };
        let mut command = Command::new(program);
        command.args(words).env("QPSMTPD_CONFIG", dir.path().join("config")).stderr(Stdio::piped());
        if !matches!(self.kind, Kind::Sink) {
            let limit = ["--max-from-ip", &max_from_ip];
            command.args(["--listen-address", "127.0.0.1:0", "--no-rdns"]).args(limit);
        }
        let before = spent()?;
        let mut process = command.spawn()?;
        let mut lines = BufReader::new(process.stderr.take().ok_or("no standard error")?);
        let mut said = String::new();
        let address = loop {
            let from = said.len();
            if lines.read_line(&mut said)? == 0 {
                return Err(format!("the server did not start: {said}").into());
            }
            if let Some((_, address)) = said[from..].split_once("listening on ") {
                break address.trim().parse()?;
            }
        };
        // Nobody may wait for room in the pipe.
        thread::spawn(move || lines.read_to_end(&mut vec![]));
        Ok(Server { address, process, before, _dir: dir })
    }

    fn configure(&self, dir: &TempDir) -> Result<()> {
        let dir = dir.path();
        let mut plugins: String = (0..self.plugins).map(|n| format!("badrcptto:{n}\n")).collect();
        if self.offers {
            let made = rcgen::generate_simple_self_signed(vec!["mx.bench.example".to_owned()])?;
            let pem = made.cert.pem() + &made.signing_key.serialize_pem();
            fs::create_dir(dir.join("ssl"))?;
            fs::write(dir.join("ssl/default.pem"), pem)?;
            plugins += &format!("tls certs {}/ssl\nauth/auth_flat_file\n", dir.display());
        }
        plugins += "rcpt_ok\n";
        plugins += &match self.stored {
            true => format!("queue/maildir {}/Maildir\n", dir.display()),
            false => "queue/discard\n".to_owned(),
        };
        let others = (1..self.domains).map(|n| format!("domain{n}.example\n"));
        let domains: String = others.chain(["bench.example\n".to_owned()]).collect();
        fs::create_dir(dir.join("config"))?;
        for (name, text) in [
            ("me", "mx.bench.example"),
            ("plugins", &plugins),
            ("rcpthosts", &domains),
            ("loglevel", "4"),
            ("flat_auth_pw", "me:secret"),
            ("databytes", "0"),
            ("spool_dir", &format!("{}/spool", dir.display())),
        ] {
            fs::write(dir.join("config").join(name), format!("{text}\n"))?;
        }
        fs::create_dir(dir.join("Maildir"))?;
        fs::set_permissions(dir.join("Maildir"), Permissions::from_mode(0o777))?;
        Ok(())
    }
}

impl Server {
    /// Stops it, and says what it and its children have spent in seconds.
    pub(crate) fn stop(mut self) -> Result<f64> {
        let signal = Signal::SIGTERM;
        kill(Pid::from_raw(self.process.id().try_into()?), signal)?;
        self.process.wait()?;
        Ok(spent()? - self.before)
    }

    /// What perf(1) says of it while `work` is done.
    pub(crate) fn profile(self, work: impl FnOnce(SocketAddr) -> Result<()>) -> Result<String> {
        let data = self._dir.path().join("perf.data");
        let mut perf = Command::new("perf")
            .args(["record", "-q", "-a", "-g", "-e", "cpu-clock", "-F", "2000", "-o"])
            .arg(&data)
            .spawn()
            .map_err(|error| format!("perf: {error}"))?;
        let done = work(self.address);
        kill(Pid::from_raw(perf.id().try_into()?), Signal::SIGINT)?;
        perf.wait()?;
        done?;
        let report = Command::new("perf")
            .args(["report", "--no-children", "-g", "none", "--percentage", "relative"])
            .args(["--comm", "qpsmtpd-prefork,qpsmtpd-forkser", "--sort", "dso,symbol", "-i"])
            .arg(&data)
            .stderr(Stdio::null())
            .output()?;
        self.stop()?;
        Ok(String::from_utf8_lossy(&report.stdout).into_owned())
    }
}

/// The processor time of all processes that were waited for, and of those that they waited for.
fn spent() -> Result<f64> {
    let usage: Usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
