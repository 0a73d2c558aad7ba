//! Whatever a client sends as one message is one message for everybody behind us, or is refused.
//!
//! The sessions are in this process.  Client and server talk through a socket that keeps packets
//! apart, so that what is read at a time is what the test says.

// Line ends and dots in all combinations, cut everywhere.
pub(crate) mod matrix;
// Any octets in any pieces.
mod octets;
// What queue plugins hand on.
mod queues;

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::write;
use qpsmtpd::testing::{Trial, keeps, queued};

/// The most octets in a packet: the server has room for so many whenever it reads.
pub(crate) const LARGEST_PACKET: usize = 4096;

/// Client and server of a connection on which a packet is read as it was written.
pub(crate) fn packet_socket() -> (UnixStream, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (client, server) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    (client.into(), server)
}

/// What a client that sends these packets, without waiting for anything, is answered.  They have to
/// fit into the socket's buffer: some hundred small ones.
pub(crate) fn answers<'a>(trial: &Trial, packets: impl Iterator<Item = &'a [u8]>) -> String {
    let (client, server) = packet_socket();
    for packet in packets.filter(|packet| !packet.is_empty()) {
        assert_eq!(write(&client, packet), Ok(packet.len()));
    }
    client.shutdown(Shutdown::Write).unwrap();
    trial.serve(server);
    trial.take_log();
    everything(client)
}

/// All that the server has said.
pub(crate) fn everything(mut client: UnixStream) -> String {
    let mut said = vec![];
    let mut packet = [0; 64 * 1024];
    loop {
        match client.read(&mut packet) {
            Ok(0) => return String::from_utf8(said).expect("replies are UTF-8"),
            Ok(count) => said.extend_from_slice(&packet[..count]),
            // The server has left with something unread; what it said is still there.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The codes of replies, in one line.
pub(crate) fn codes(answers: &str) -> String {
    let last = answers.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
    last.map(|line| &line[..3]).collect::<Vec<_>>().join(" ")
}

/// Plugins that keep messages in memory, under a policy for bare line ends.
fn keeping(policy: &str, threshold: &str) -> Trial {
    queued();
    let files = [
        ("bare_newline", policy),
        ("size_threshold", threshold),
        ("me-auth-results", "none"),
        ("junk_commands", "0"),
    ];
    Trial::with(keeps, "", &files)
}

/// What a client means that sends this after DATA.
#[derive(Debug, PartialEq)]
enum Meant {
    /// A message, and how many octets of the input it takes with its end.
    Message(Vec<u8>, usize),
    /// A message that somebody may think ended where it does not: a dot before a bare LF.
    LoneDot,
    /// A message that has not ended yet.
    Unfinished,
}

/// The rules of RFC 5321 4.1.1.4 and 4.5.2, octet by octet.
fn meant(policy: &str, wire: &[u8]) -> Meant {
    let mut message = vec![];
    let mut at = 0;
    let (mut after_crlf, mut after_lf) = (true, false);
    while at < wire.len() {
        let rest = &wire[at..];
        if after_crlf && rest.starts_with(b".\r\n") {
            return Meant::Message(message, at + 3);
        }
        if policy == "reject" && (after_crlf || after_lf) && rest.starts_with(b".\n") {
            return Meant::LoneDot;
        }
        let skipped = usize::from(after_crlf && rest.starts_with(b".."));
        let taken = if rest.starts_with(b"\r\n") { 2 } else { 1 };
        message.extend_from_slice(&rest[skipped..skipped + taken]);
        after_crlf = taken == 2;
        after_lf = rest[0] == b'\n';
        at += skipped + taken;
    }
    Meant::Unfinished
}

#[test]
fn the_model_knows_the_rules() {
    let message = |text: &[u8], end| Meant::Message(text.to_vec(), end);
    assert_eq!(meant("reject", b"a\r\n..b\r\n...\r\n.\r\nX"), message(b"a\r\n.b\r\n..\r\n", 16));
    assert_eq!(meant("accept", b"a\n..\n.\r\n\r\n.\r\n"), message(b"a\n..\n.\r\n\r\n", 13));
    assert_eq!(meant("reject", b"a\n.\nX"), Meant::LoneDot);
    assert_eq!(meant("accept", b"a\r\n.\nX\r.\r\n"), Meant::Unfinished);
}
