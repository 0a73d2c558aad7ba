//! Ports for servers that cannot choose one and say which.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt,
};

/// Sockets that keep ports until the tests end.
static KEPT: Mutex<Vec<OwnedFd>> = Mutex::new(vec![]);

/// A port of 127.0.0.1 that no other test, and nobody who asks for any port, gets.
///
/// A socket has it that does not listen and that allows its address to be used again: a server that
/// allows that too, as servers do, can listen there, and the kernel gives the port to nobody else.
pub(crate) fn free_port() -> u16 {
    let kept = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&kept, sockopt::ReuseAddr, &true).unwrap();
    let [a, b, c, d] = Ipv4Addr::LOCALHOST.octets();
    bind(kept.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
    let port = getsockname::<SockaddrIn>(kept.as_raw_fd()).unwrap().port();
    KEPT.lock().unwrap().push(kept);
    port
}

#[test]
fn nobody_else_gets_a_port_that_is_kept() {
    let port = free_port();
    let others: Vec<_> = (0..2000).map(|_| free_port()).collect();
    assert!(!others.contains(&port));
    // A server can have it, and can have it again.
    for _ in 0..2 {
        let server = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        server.accept().unwrap();
    }
    std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
}
