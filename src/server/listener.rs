//! Where to listen: addresses from the command line or from systemd, bound before privileges go.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};

use crate::error::{Error, Result};
use crate::sys::descriptors;

/// How many clients the kernel keeps waiting while we are busy.
const BACKLOG: i32 = 1024;

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) remote: (IpAddr, u16),
    pub(crate) local: (IpAddr, u16),
}

impl Peer {
    /// IPv4 clients of a dual-stack listener become plain IPv4 clients here, once and for all.
    pub(crate) fn new(remote: SocketAddr, local: SocketAddr) -> Peer {
        let plain = |end: SocketAddr| (end.ip().to_canonical(), end.port());
        Peer { remote: plain(remote), local: plain(local) }
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// The next client; `WouldBlock` when there is none.
    pub(crate) fn accept(&self) -> io::Result<(OwnedFd, Peer)> {
        let (client, remote) = self.0.accept()?;
        let local = local_of(&client, &self.0)?;
        Ok((client.into(), Peer::new(remote, local)))
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.local_addr() {
            Ok(address) => write!(f, "{address}"),
            Err(_) => f.write_str("a socket"),
        }
    }
}

/// Listens on `addresses`, each with its own port or all of `ports`; on all addresses of the host
/// where there are none.  Sockets that systemd passed (LISTEN_FDS) are taken instead.
///
/// # Errors
/// An address that cannot be understood or bound.
pub(crate) fn bind_all(addresses: &[String], ports: &[u16], default: u16) -> Result<Vec<Listener>> {
    let passed = from_systemd()?;
    if !passed.is_empty() {
        return Ok(passed);
    }
    let ports = if ports.is_empty() { &[default] } else { ports };
    let mut wanted: Vec<SocketAddr> = vec![];
    for address in addresses {
        wanted.extend(parse(address, ports)?);
    }
    if !addresses.is_empty() {
        return wanted.iter().map(|address| bind_one(*address, &wanted)).collect();
    }
    let all = |ip: IpAddr| -> Result<Vec<Listener>> {
        ports.iter().map(|port| bind_one((ip, *port).into(), &[])).collect()
    };
    match has_ipv6() {
        true => all(Ipv6Addr::UNSPECIFIED.into()),
        false => all([0, 0, 0, 0].into()),
    }
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
                " (ports below 1024 are root's; --port takes another)"
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
    Ok(Listener(fd.into()))
}

fn has_ipv6() -> bool {
    socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).is_ok()
}

/// The sockets of a systemd socket unit.
fn from_systemd() -> Result<Vec<Listener>> {
    let mut listeners = vec![];
    for fd in descriptors::from_systemd() {
        let listener = TcpListener::from(fd);
        listener
            .local_addr()
            .and_then(|_| listener.set_nonblocking(true))
            .map_err(|error| Error::new(format!("a socket from systemd: {error}")))?;
        listeners.push(Listener(listener));
    }
    Ok(listeners)
}

/// The client's local end: the listener's own address, unless that is for all addresses.
fn local_of(client: &TcpStream, listener: &TcpListener) -> io::Result<SocketAddr> {
    let local = listener.local_addr()?;
    if local.ip().is_unspecified() { client.local_addr() } else { Ok(local) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let port = listener.0.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        listener.0.set_nonblocking(false).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.remote.0, IpAddr::from([127, 0, 0, 1]));
        assert_eq!(peer.local, ([127, 0, 0, 1].into(), port));
    }
}
