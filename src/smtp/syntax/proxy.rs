//! The PROXY protocol of haproxy, version 1 and 2: who the client of a proxy is, said before
//! anything else, TLS included.  Nothing after the header is read here.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

use crate::log::Level;
use crate::smtp::dialogue::Dialogue;
use crate::smtp::stream::End;
use crate::smtp::waits::{State, Wait};
use crate::sys::title;

/// What a header of version 1, and of version 2, begins with.
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The most octets of a header of version 1, and the least of either version.
const V1_MOST: usize = 107;
const LEAST: usize = 15;

/// The octets of version 2 before the addresses; the last two say how many octets follow.
const V2_START: usize = 16;

/// Commands of version 2: the proxy speaks for itself, or for a client.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// The client's end and ours; None where the proxy speaks for itself or does not know them.
pub(crate) type Ends = Option<(SocketAddr, SocketAddr)>;

/// Reads the header of a proxy, and makes the session one with the client for which it speaks.
///
/// # Errors
/// The reason why there is no session: the header is missing, malformed or late.
pub(crate) fn unwrap(dialogue: &mut Dialogue) -> Result<(), String> {
    let proxy = dialogue.session.connection.remote_ip;
    let port = dialogue.session.connection.remote_port;
    let ends = receive(dialogue).map_err(|why| format!("no PROXY header from {proxy}: {why}"))?;
    if let Some((client, server)) = ends {
        let connection = &mut dialogue.session.connection;
        connection.set_ends((client.ip(), client.port()), (server.ip(), server.port()));
        title::serves(connection.remote_ip);
        dialogue.log(Level::Info, format_args!("PROXY: {proxy}:{port} speaks for {client}"));
    }
    Ok(())
}

fn receive(dialogue: &mut Dialogue) -> Result<Ends, &'static str> {
    let mut wait = None;
    let received = header(dialogue, &mut wait);
    dialogue.stream.over(wait);
    received
}

fn header(dialogue: &mut Dialogue, wait: &mut Option<Wait>) -> Result<Ends, &'static str> {
    let mut header = vec![];
    loop {
        let most = missing(&header)?;
        if most == 0 {
            return parse(&header);
        }
        let is_empty = header.is_empty();
        let came = dialogue.stream.exactly(most, State::Proxy, wait, &mut header);
        came.map_err(|end| match end {
            End::Timeout => "it took too long",
            End::Stopping => "the server stops, or others wait",
            End::Closed | End::Endless if is_empty => "the connection was closed",
            End::Closed | End::Endless => "the connection was closed within it",
        })?;
    }
}

/// How many more octets are part of the header for certain; 0: it is complete.
pub(crate) fn missing(header: &[u8]) -> Result<usize, &'static str> {
    let begins = |with: &[u8]| header.iter().zip(with).all(|(one, other)| one == other);
    if begins(V2) {
        return Ok(match header.get(V2_START - 2..V2_START) {
            Some(length) => {
                V2_START + usize::from(u16::from_be_bytes([length[0], length[1]])) - header.len()
            }
            // So short, it could be the other version still.
            None if header.is_empty() => LEAST,
            None => V2_START - header.len(),
        });
    }
    if !begins(V1) {
        return Err("something else came");
    }
    match header {
        _ if header.len() < LEAST => Ok(LEAST - header.len()),
        [.., b'\r', b'\n'] => Ok(0),
        _ if header.len() >= V1_MOST => Err("it has no end"),
        [.., b'\r'] => Ok(1),
        _ => Ok((V1_MOST - header.len()).min(2)),
    }
}

/// Reads a header that is complete.
pub(crate) fn parse(header: &[u8]) -> Result<Ends, &'static str> {
    const MALFORMED: &str = "it is malformed";
    if header.starts_with(V1) {
        check_v1(header).ok_or(MALFORMED)?;
    } else if header[V2.len()] == LOCAL {
        return Ok(None);
    } else if header[V2.len()] != PROXY {
        return Err(MALFORMED);
    }
    let (parsed, length) =
        ProxyHeader::parse(header, ParseConfig::default()).map_err(|_| MALFORMED)?;
    if length != header.len() {
        return Err(MALFORMED);
    }
    match parsed.proxied_address() {
        None => Ok(None),
        Some(ends) if ends.protocol == Protocol::Stream => {
            Ok(Some((ends.source, ends.destination)))
        }
        Some(_) => Err("it is not about TCP"),
    }
}

/// What the parser would let pass: other words that begin with UNKNOWN, signs and zeroes in front
/// of ports, control characters.
fn check_v1(header: &[u8]) -> Option<()> {
    let line = header.strip_prefix(V1)?.strip_suffix(b"\r\n")?;
    if !line.iter().all(|octet| (b' '..=b'~').contains(octet)) {
        return None;
    }
    let mut words = line.split(|octet| *octet == b' ');
    if words.next()? == b"UNKNOWN" {
        return Some(());
    }
    let words: Vec<_> = words.collect();
    let is_port = |word: &[u8]| {
        word == b"0" || (!word.starts_with(b"0") && word.iter().all(u8::is_ascii_digit))
    };
    (words.len() == 4 && words[2..].iter().all(|word| is_port(word))).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a header that comes in two pieces, the first of `cut` octets, and says how many
    /// octets it took.
    fn read_cut(wire: &[u8], cut: usize) -> Result<(Ends, usize), &'static str> {
        let mut length = 0;
        loop {
            let most = missing(&wire[..length])?;
            if most == 0 {
                return Ok((parse(&wire[..length])?, length));
            }
            length += if length < cut { most.min(cut - length) } else { most };
            if length > wire.len() {
                return Err("more is wanted");
            }
        }
    }

    fn read(wire: &[u8]) -> Result<(Ends, usize), &'static str> {
        read_cut(wire, 0)
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = (block.len() as u16).to_be_bytes();
        [V2, &[command, family], &length, block].concat()
    }

    fn ends(client: &str, server: &str) -> Ends {
        Some((client.parse().unwrap(), server.parse().unwrap()))
    }

    const IPV4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0, 25];

    #[test]
    fn both_versions_say_who_the_ends_are() {
        let ipv4 = ends("192.0.2.7:40000", "198.51.100.1:25");
        let ipv6 = ends("[2001:db8::7]:40000", "[2001:db8::1]:25");
        let mut block = [0; 36];
        block[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        block[16..20].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        (block[15], block[31]) = (7, 1);
        block[32..].copy_from_slice(&IPV4[8..]);
        let with_tlv = [IPV4, &[4, 0, 1, 0]].concat();
        for (wire, want) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n".to_vec(), &ipv4),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 25\r\n".to_vec(), &ipv6),
            (v2(PROXY, 0x11, IPV4), &ipv4),
            (v2(PROXY, 0x11, &with_tlv), &ipv4),
            (v2(PROXY, 0x21, &block), &ipv6),
        ] {
            let more = [&wire[..], b"EHLO a\r\n"].concat();
            assert_eq!(read(&more), Ok((*want, wire.len())), "{}", wire.escape_ascii());
            for length in 0..wire.len() {
                assert_eq!(read(&wire[..length]), Err("more is wanted"), "{length}");
                assert_eq!(read_cut(&more, length), Ok((*want, wire.len())), "{length}");
            }
        }
    }

    #[test]
    fn a_proxy_may_speak_for_itself_or_not_know() {
        let longest = [b"PROXY UNKNOWN ", &[b'x'; V1_MOST - 16][..], b"\r\n"].concat();
        for wire in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n".to_vec(),
            longest,
            v2(LOCAL, 0, b""),
            v2(LOCAL, 0x77, b"anything"),
            v2(LOCAL, 0x11, IPV4),
            v2(PROXY, 0, b""),
            v2(PROXY, 0x31, &[0; 216]),
        ] {
            assert_eq!(read(&wire), Ok((None, wire.len())), "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; V1_MOST]].concat();
        for wire in [
            b"EHLO client.test\r\n".to_vec(),
            b"PROXYTCP4 192.0.2.7 198.51.100.1 1 2\r\n".to_vec(),
            b"proxy UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWNS\r\n".to_vec(),
            b"PROXY UNKNOWN\r\r\n".to_vec(),
            b"PROXY UNKNOWN a\nb\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n".to_vec(),
            b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 02\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n".to_vec(),
            endless,
            v2(0x11, 0x11, IPV4),
            v2(0x22, 0x11, IPV4),
            v2(PROXY, 0x11, &IPV4[1..]),
            v2(PROXY, 0x21, IPV4),
            v2(PROXY, 0x12, IPV4),
            v2(PROXY, 0x13, IPV4),
            v2(PROXY, 0x31, IPV4),
            v2(PROXY, 0x41, IPV4),
            b"\r\n\r\n\0\r\nQUIT\r\nEHLO".to_vec(),
        ] {
            let found = read(&wire);
            let why = found.expect_err(&wire.escape_ascii().to_string());
            assert_ne!(why, "more is wanted", "{}", wire.escape_ascii());
        }
    }
}
