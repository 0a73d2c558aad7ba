//! Where to listen: addresses and paths from the command line or sockets from systemd, bound before
//! privileges go.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, getsockname,
    listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod, umask};

use crate::error::{Error, Result};
use crate::server::account::Account;
use crate::server::listener::Listener;
use crate::server::rights;
use crate::smtp::stream;
use crate::sys::descriptors;

/// The permissions of a socket in the file system: reading and writing, for all.
const EVERYBODY: Mode = Mode::S_IRUSR
    .union(Mode::S_IWUSR)
    .union(Mode::S_IRGRP)
    .union(Mode::S_IWGRP)
    .union(Mode::S_IROTH)
    .union(Mode::S_IWOTH);

/// How many clients the kernel keeps waiting while we are busy.
const BACKLOG: i32 = 1024;

/// Listens on `addresses`, each with its own port or all of `ports`, or a path; on all addresses of the
/// host where there are none.  Sockets that systemd passed (LISTEN_FDS) are taken instead.  `account`:
/// whom root will become.
///
/// # Errors
/// An address that cannot be understood or bound.
pub(crate) fn bind_all(
    addresses: &[String],
    ports: &[u16],
    account: Option<&Account>,
) -> Result<Vec<Listener>> {
    let passed = from_systemd()?;
    if !passed.is_empty() {
        return Ok(passed);
    }
    let (paths, addresses): (Vec<_>, Vec<_>) =
        addresses.iter().partition(|address| address.starts_with('/'));
    let mut wanted: Vec<SocketAddr> = vec![];
    for address in &addresses {
        wanted.extend(parse(address, ports)?);
    }
    if !wanted.is_empty() || !paths.is_empty() {
        let listeners = wanted.iter().map(|address| bind_one(*address, &wanted));
        return listeners.chain(paths.iter().map(|path| bind_path(path, account))).collect();
    }
    let all = |ip: IpAddr| -> Result<Vec<Listener>> {
        ports.iter().map(|port| bind_one((ip, *port).into(), &[])).collect()
    };
    match has_ipv6() {
        true => all(Ipv6Addr::UNSPECIFIED.into()),
        false => all([0, 0, 0, 0].into()),
    }
}

/// What is wrong with addresses of the command line, without a try to bind them.
pub(crate) fn faults(addresses: &[String], ports: &[u16]) -> Vec<Error> {
    let addresses = addresses.iter().filter(|address| !address.starts_with('/'));
    addresses.filter_map(|address| parse(address, ports).err()).collect()
}

/// `192.0.2.1`, `192.0.2.1:25`, `::1`, `[::1]`, `[::1]:25`, `localhost`.
fn parse(text: &str, ports: &[u16]) -> Result<Vec<SocketAddr>> {
    let wrong = |why: &str| Error::new(format!("--listen-address {text}: {why}"));
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(ports.iter().map(|port| (ip, *port).into()).collect());
    }
    let (name, ports) = match text.rsplit_once(':') {
        Some((name, port)) => (name, vec![port.parse().map_err(|_| wrong("no such port"))?]),
        None => (text, ports.to_vec()),
    };
    let mut found = vec![];
    for port in ports {
        let addresses = (name, port).to_socket_addrs().map_err(|_| wrong("no such address"))?;
        found.extend(addresses);
    }
    Ok(found)
}

fn bind_one(address: SocketAddr, all: &[SocketAddr]) -> Result<Listener> {
    let fail = |error: nix::Error| {
        let hint = match error {
            nix::Error::EACCES if address.port() < 1024 => {
                " (ports below 1024 need root; choose another with --port)"
            }
            _ => "",
        };
        Error::new(format!("cannot listen on {address}: {}{hint}", error.desc()))
    };
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None).map_err(fail)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(fail)?;
    if address.is_ipv6() {
        let own_ipv4 = all.iter().any(|other| {
            other.is_ipv4() && other.ip().is_unspecified() && other.port() == address.port()
        });
        setsockopt(&fd, sockopt::Ipv6V6Only, &own_ipv4).map_err(fail)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(fail)?;
    listen(&fd, Backlog::new(BACKLOG).map_err(fail)?).map_err(fail)?;
    tcp(fd.into()).map_err(|error| Error::new(format!("cannot listen on {address}: {error}")))
}

/// Listens at a path, in the place of a socket that nobody listens to any more.  Who may go through
/// the folder may connect.
fn bind_path(path: &str, account: Option<&Account>) -> Result<Listener> {
    let make = || -> io::Result<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        if is_left_over(Path::new(path)) {
            fs::remove_file(path)?;
        }
        // The socket is made with its permissions: another file may be in its place a moment later.
        fchmod(&fd, EVERYBODY)?;
        let usual = umask(Mode::empty());
        let bound = UnixAddr::new(path).and_then(|address| bind(fd.as_raw_fd(), &address));
        umask(usual);
        bound?;
        listen(&fd, Backlog::new(BACKLOG)?)?;
        Ok(fd)
    };
    let fd = rights::for_path(Path::new(path), account, make)
        .map_err(|error| Error::new(format!("cannot listen on {path}: {error}")))?;
    Ok(Listener::Unix(fd.into()))
}

fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refuses = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refuses)
}

fn has_ipv6() -> bool {
    socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).is_ok()
}

/// The sockets of a systemd socket unit.
fn from_systemd() -> Result<Vec<Listener>> {
    let mut listeners = vec![];
    for fd in descriptors::from_systemd() {
        let fail = |error: io::Error| Error::new(format!("a socket from systemd: {error}"));
        if getsockname::<UnixAddr>(fd.as_raw_fd()).is_ok() {
            let listener = UnixListener::from(fd);
            listener.set_nonblocking(true).map_err(fail)?;
            listeners.push(Listener::Unix(listener));
            continue;
        }
        let listener = TcpListener::from(fd);
        listener.set_nonblocking(true).map_err(fail)?;
        listeners.push(tcp(listener).map_err(fail)?);
    }
    Ok(listeners)
}

/// A listener whose clients need no further preparation.
fn tcp(listener: TcpListener) -> io::Result<Listener> {
    stream::prepare(&listener);
    let own = listener.local_addr()?;
    Ok(Listener::Tcp(listener, own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::peer::Peer;
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt;

    fn strings(addresses: Vec<SocketAddr>) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_are_read_in_all_spellings() {
        let ports = [25, 587];
        for (text, found) in [
            ("192.0.2.1", vec!["192.0.2.1:25", "192.0.2.1:587"]),
            ("192.0.2.1:2525", vec!["192.0.2.1:2525"]),
            ("::1", vec!["[::1]:25", "[::1]:587"]),
            ("[::1]", vec!["[::1]:25", "[::1]:587"]),
            ("[::1]:2525", vec!["[::1]:2525"]),
        ] {
            assert_eq!(strings(parse(text, &ports).unwrap()), found, "{text}");
        }
        for text in ["192.0.2.300", "127.0.0.1:port", "[::1]:99999"] {
            assert!(parse(text, &ports).unwrap_err().to_string().contains(text), "{text}");
        }
    }

    #[test]
    fn port_0_is_a_free_port_and_a_taken_one_is_an_error() {
        let first = bind_one("127.0.0.1:0".parse().unwrap(), &[]).unwrap();
        let address = first.to_string();
        assert!(!address.ends_with(":0"));
        let error = bind_one(address.parse().unwrap(), &[]).unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains("in use"), "{error}");
    }

    #[test]
    fn ipv4_clients_of_a_dual_stack_listener_are_ipv4_clients() {
        if !has_ipv6() {
            return;
        }
        let listener = bind_one("[::]:0".parse().unwrap(), &[]).unwrap();
        let Listener::Tcp(socket, _) = &listener else { panic!("{listener}") };
        let port = socket.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nonblocking(false).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), Some([127, 0, 0, 1].into()));
        assert_eq!(peer.ends().1, ([127, 0, 0, 1].into(), port));
    }

    #[test]
    fn a_path_is_taken_over_from_nobody_but_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lmtp").display().to_string();
        let listen = || bind_all(std::slice::from_ref(&path), &[25], None);
        drop(listen().unwrap());
        assert!(Path::new(&path).exists());
        let listeners = listen().unwrap();
        assert_eq!(listeners[0].to_string(), path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(listeners[0].accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let _client = UnixStream::connect(&path).unwrap();
        let (_, peer) = listeners[0].accept().unwrap();
        assert!(peer == Peer::Unix && peer.ends().0.0.is_loopback());
        let error = listen().unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {path}: ")), "{error}");
        drop(listeners);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(listen().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let long = format!("/{}", "x".repeat(200));
        assert!(bind_all(&[long], &[25], None).is_err());
    }
}
