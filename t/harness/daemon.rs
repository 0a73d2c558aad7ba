//! A daemon started on a configuration folder, in one of the three process models.

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use nix::sys::signal::Signal;
use regex::Regex;

use super::config::unprivileged;
use super::{Client, Config, Log, Process, client};

/// The three ways to run qpsmtpd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    Inetd,
    Forkserver,
    Prefork,
}

impl Model {
    /// Every model.
    pub(crate) const ALL: [Model; 3] = [Model::Inetd, Model::Forkserver, Model::Prefork];
    /// The models with a parent process that listens.
    pub(crate) const PARENTS: [Model; 2] = [Model::Forkserver, Model::Prefork];

    /// The program's path.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Model::Inetd => env!("CARGO_BIN_EXE_qpsmtpd"),
            Model::Forkserver => env!("CARGO_BIN_EXE_qpsmtpd-forkserver"),
            Model::Prefork => env!("CARGO_BIN_EXE_qpsmtpd-prefork"),
        }
    }

    /// The arguments that make a parent listen on `address`.
    pub(crate) fn listen(self, address: &str) -> [&str; 2] {
        [if self == Model::Prefork { "--listen-address" } else { "-l" }, address]
    }

    /// The arguments that allow so many sessions, and so many from one address.
    pub(crate) fn limits<'a>(self, sessions: &'a str, per_address: &'a str) -> [&'a str; 4] {
        match self {
            Model::Prefork => ["--children", sessions, "--max-from-ip", per_address],
            _ => ["-c", sessions, "-m", per_address],
        }
    }

    /// The usual arguments; `more` are added, instead of those that they give another value.
    pub(crate) fn arguments(self, more: &[&str]) -> Vec<String> {
        let user = unprivileged().map(|user| user.name).unwrap_or_default();
        let mut usual: Vec<&str> = Vec::new();
        usual.extend(self.listen("127.0.0.1:0"));
        usual.extend(self.limits("20", "100"));
        if self == Model::Prefork {
            usual.extend(["--idle-children", "2"]);
        }
        if !user.is_empty() {
            usual.extend(["--user", &user]);
        }
        let usual = usual.chunks(2).filter(|pair| !more.contains(&pair[0])).flatten();
        usual.chain(more).map(|argument| argument.to_string()).collect()
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// A running server. In the inetd model there is no parent: each connection starts a process.
pub(crate) struct Server<'a> {
    model: Model,
    config: &'a Config,
    log: Log,
    parent: Option<Process>,
    sessions: Mutex<Vec<Process>>,
}

impl Server<'_> {
    /// Starts a server and waits until it listens.
    pub(crate) fn start(config: &Config, model: Model) -> Server<'_> {
        Server::start_with(config, model, &[])
    }

    /// As [`Server::start`], with arguments of the program.
    pub(crate) fn start_with<'a>(config: &'a Config, model: Model, more: &[&str]) -> Server<'a> {
        Server::try_start(config, model, more).unwrap_or_else(|why| panic!("{why}"))
    }

    /// As [`Server::start_with`], with an error for a server that does not come to listen.
    pub(crate) fn try_start<'a>(
        config: &'a Config,
        model: Model,
        more: &[&str],
    ) -> Result<Server<'a>, String> {
        if model == Model::Inetd {
            let (log, sessions) = (Log::default(), Mutex::default());
            return Ok(Server { model, config, log, parent: None, sessions });
        }
        Server::try_command(config, model, Server::command(config, model, more))
    }

    /// A parent that `command` starts, in its own way.
    pub(crate) fn start_command(config: &Config, model: Model, command: Command) -> Server<'_> {
        Server::try_command(config, model, command).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_command(config: &Config, model: Model, command: Command) -> Result<Server<'_>, String> {
        let log = Log::default();
        let parent = Some(Process::spawn(command, &log));
        let server = Server { model, config, log, parent, sessions: Mutex::default() };
        match server.log.wait_until(|text| addresses(text).first().copied()) {
            Some(_) => Ok(server),
            None => Err(format!("{model} does not come to listen:\n{}", server.log.tail())),
        }
    }

    /// The command that [`Server::start_with`] runs.
    pub(crate) fn command(config: &Config, model: Model, more: &[&str]) -> Command {
        let mut command = config.command(model.program());
        command.args(model.arguments(more));
        command
    }

    /// The parent process.
    pub(crate) fn parent(&mut self) -> &mut Process {
        self.parent.as_mut().expect("the model has a parent process")
    }

    /// The addresses that the parent listens on, as soon as there are `count` of them.
    pub(crate) fn addresses(&self, count: usize) -> Vec<SocketAddr> {
        let enough = |text: &str| Some(addresses(text)).filter(|found| found.len() >= count);
        let found = self.log.wait_until(enough);
        found.unwrap_or_else(|| panic!("not {count} listeners:\n{}", self.log.tail()))
    }

    /// The port of the first listener.
    pub(crate) fn port(&self) -> u16 {
        self.addresses(1)[0].port()
    }

    /// A new connection; the greeting is not read yet.
    pub(crate) fn connect(&self) -> Client {
        match self.model {
            Model::Inetd => self.connect_inetd(),
            _ => self.connect_to(self.addresses(1)[0]),
        }
    }

    /// A new connection to one of several listeners.
    pub(crate) fn connect_to(&self, address: SocketAddr) -> Client {
        Client::connect(address, &self.log)
    }

    /// A new connection from an address of the caller's choosing, such as 127.0.0.2.
    pub(crate) fn connect_from(&self, from: Ipv4Addr) -> Client {
        Client::new(client::connect_from(from, self.addresses(1)[0]), &self.log)
    }

    /// Does what inetd does: accepts, and starts the program with the connection as stdin and
    /// stdout.
    fn connect_inetd(&self) -> Client {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, peer) = listener.accept().unwrap();
        let mut command = self.config.command(self.model.program());
        command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        command.stdout(Stdio::from(OwnedFd::from(socket)));
        let port = peer.port().to_string();
        command.envs([("PROTO", "TCP"), ("TCPLOCALIP", "127.0.0.1"), ("TCPLOCALPORT", "25")]);
        command.env("TCPREMOTEHOST", "localhost");
        let is_given =
            |(name, value): (&OsStr, Option<&OsStr>)| name == "TCPREMOTEIP" && value.is_some();
        if !command.get_envs().any(is_given) {
            command.env("TCPREMOTEIP", "127.0.0.1");
        }
        command.env("TCPREMOTEPORT", port);
        self.sessions.lock().unwrap().push(Process::spawn(command, &self.log));
        Client::new(client, &self.log)
    }

    /// Sends a signal to each process of the inetd model.
    pub(crate) fn signal_sessions(&self, signal: Signal) {
        self.sessions.lock().unwrap().iter().for_each(|session| session.signal(signal));
    }

    /// What the server wrote to stderr so far.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Ends the server as an operator would, after the clients have left. The error says what did
    /// not end well: a status other than 0, a process or a spool file that is left.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        if let Some(parent) = &self.parent {
            parent.signal(Signal::SIGTERM);
        }
        let sessions = std::mem::take(self.sessions.get_mut().unwrap());
        for mut process in self.parent.take().into_iter().chain(sessions) {
            let status = process.wait()?;
            if !status.success() {
                return Err(format!("{} ended with {status}:\n{}", self.model, self.log.tail()));
            }
        }
        self.config.nothing_left()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            super::say(&format!("the log of {}:\n{}", self.model, self.log.tail()));
        }
    }
}

/// What the parent says when it listens, with the port that it got for port 0.
pub(crate) fn addresses(log: &str) -> Vec<SocketAddr> {
    static LISTENING: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?m)listening on (\S+)$").expect("a constant"));
    let mut found = Vec::new();
    for address in LISTENING.captures_iter(log).filter_map(|line| line[1].parse().ok()) {
        let address = loopback(address);
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The address to connect to for a listener on "every address".
fn loopback(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let v4 = address.is_ipv4();
        address.set_ip(if v4 {
            Ipv4Addr::LOCALHOST.into()
        } else {
            IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1])
        });
    }
    address
}
