//! qpsmtpd: no parent, one session on standard input and output.

use std::env;
use std::fs::OpenOptions;
use std::io::{stderr, stdin, stdout};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::socket::{SockaddrStorage, getpeername, getsockname};
use nix::unistd::dup2_stderr;

use crate::error::{Error, Result};
use crate::hook::{Rest, Shared};
use crate::log::Level;
use crate::server::peer::{End, Peer, has_path};
use crate::smtp::stream::is_same;
use crate::smtp::{Stream, serve, stream};
use crate::state::Connection;
use crate::sys::{deadline, stop};

/// Serves the client that tcpserver, inetd or systemd connected to standard input.
///
/// # Errors
/// Standard input or output is closed.
pub(crate) fn run(shared: &Shared) -> Result<()> {
    let fail = |error: std::io::Error| Error::new(format!("standard input: {error}"));
    let input = stdin().as_fd().try_clone_to_owned().map_err(fail)?;
    let output = stdout().as_fd().try_clone_to_owned().map_err(fail)?;
    let connection = connection(&input)?;
    let stream = match is_same(&input, &output).map_err(fail)? {
        true => Stream::new(input),
        false => Stream::pair(input, output),
    };
    stream::prepare(&stream.output());
    shared.spool.sweep_dead();
    stop::install_alone();
    let stream = stream.until(&stop::PARENT);
    deadline::install_alone(&["/proc/self/exe", "--overdue"]);
    shared.plugins.confine();
    shared.plugins.post_fork(&shared.config);
    serve(stream, connection, shared);
    shared.plugins.rest(Rest::Ends);
    look_after_store(shared);
    Ok(())
}

/// Has the store looked after, by a program for which nobody waits.
fn look_after_store(shared: &Shared) {
    if !shared.store.is_neglected() {
        return;
    }
    let mut tend = Command::new("/proc/self/exe");
    tend.args(["--store", "tend"]).stdin(Stdio::null()).stdout(Stdio::null());
    if let Err(error) = tend.stderr(Stdio::null()).process_group(0).spawn() {
        shared.plugins.log(Level::Warn, format_args!("the store is not looked after: {error}"));
    }
}

/// Takes the place of a process of which a handler was overdue: writes that to the log, and removes
/// what the process has left in the spool.
pub(crate) fn log_overdue(shared: &Shared, told: &[String]) -> ! {
    if let [session, hook, plugin] = told {
        shared.plugins.log_overdue(session, hook, plugin);
    }
    shared.spool.sweep(std::process::id());
    std::process::exit(deadline::EXIT_OVERDUE);
}

/// Under inetd and xinetd standard error is the client, too: nothing may be written there.
pub(crate) fn protect_client() {
    if is_same(&stdin(), &stderr()).unwrap_or(false)
        && let Ok(nothing) = OpenOptions::new().write(true).open("/dev/null")
    {
        let _ = dup2_stderr(nothing);
    }
}

/// Who the client is: what tcpserver says in the environment, else what the socket says.
///
/// # Errors
/// Neither says it in words that can be read.  Such a client must not count as one of this machine.
fn connection(input: &OwnedFd) -> Result<Connection> {
    let peer = socket_peer(input);
    if let (None, Some(text)) = (&peer, variable("TCPREMOTEIP"))
        && address(&text).is_none()
    {
        return Err(Error::new(format!("TCPREMOTEIP is '{text}', not an address")));
    }
    let (remote, local) = peer.unwrap_or(Peer::Unix).ends();
    let end = |ip: &str, port: &str, known: End| {
        let ip = variable(ip).and_then(|text| address(&text));
        let port = variable(port).and_then(|text| text.parse().ok());
        ip.map_or(known, |ip| (ip, port.unwrap_or(0)))
    };
    let remote = end("TCPREMOTEIP", "TCPREMOTEPORT", remote);
    let local = end("TCPLOCALIP", "TCPLOCALPORT", local);
    let mut connection = Connection::new(remote, local);
    connection.by_path = local.1 == 0 && has_path(input);
    let (host, user) = (variable("TCPREMOTEHOST"), variable("TCPREMOTEINFO"));
    Ok(match (host, variable("TCPREMOTEIP")) {
        (Some(host), _) => connection.with_look_up().with_remote(Some(host), user),
        (None, Some(_)) => connection.with_remote(Some("Unknown".into()), user),
        (None, None) => connection.with_look_up(),
    })
}

/// An address, which may have a zone (RFC 4007 11): `fe80::1%eth0`.
fn address(text: &str) -> Option<IpAddr> {
    text.split_once('%').map_or(text, |(address, _)| address).parse().ok()
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

fn socket_peer(input: &OwnedFd) -> Option<Peer> {
    let address = |storage: SockaddrStorage| -> Option<SocketAddr> {
        match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
            (Some(v4), _) => Some(SocketAddr::from((v4.ip(), v4.port()))),
            (_, Some(v6)) => Some(SocketAddr::from((v6.ip(), v6.port()))),
            _ => None,
        }
    };
    let remote = getpeername::<SockaddrStorage>(input.as_raw_fd()).ok()?;
    let local = getsockname::<SockaddrStorage>(input.as_raw_fd()).ok()?;
    Some(Peer::tcp(address(remote)?, address(local)?))
}
