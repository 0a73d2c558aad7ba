//! The header of the PROXY protocol of haproxy, version 1 and 2.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

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

/// The octets of the two addresses of a Unix socket in version 2.
const UNIX: usize = 216;

const MALFORMED: &str = "it is malformed";

/// The client's end and ours; None where the proxy speaks for itself or does not know them.
pub type Ends = Option<(SocketAddr, SocketAddr)>;

/// How many more octets are part of the header for certain; 0: it is complete.
///
/// # Errors
/// It is no header.
pub fn missing(header: &[u8]) -> Result<usize, &'static str> {
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
///
/// # Errors
/// What is wrong with it, for the log.
pub fn parse(header: &[u8]) -> Result<Ends, &'static str> {
    match header.strip_prefix(V1) {
        Some(line) => version_1(line).ok_or(MALFORMED),
        None => version_2(header),
    }
}

/// `TCP4 client server port port`.
fn version_1(line: &[u8]) -> Option<Ends> {
    let line = str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    if !line.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        return None;
    }
    let words: Vec<_> = line.split(' ').collect();
    let [client, server] = match words[..] {
        ["UNKNOWN", ..] => return Some(None),
        ["TCP4", client, server, ..] => [client, server].map(|ip| ip.parse().ok().map(IpAddr::V4)),
        ["TCP6", client, server, ..] => [client, server].map(|ip| ip.parse().ok().map(IpAddr::V6)),
        _ => return None,
    };
    let [_, _, _, client_port, server_port] = words[..] else { return None };
    let end = |ip: Option<IpAddr>, port| Some(SocketAddr::new(ip?, read_port(port)?));
    Some(Some((end(client, client_port)?, end(server, server_port)?)))
}

/// A number without a sign and without zeroes in front.
fn read_port(word: &str) -> Option<u16> {
    let port = u16::from_str(word).ok()?;
    (port.to_string() == word).then_some(port)
}

/// Addresses and ports of either family, and what nobody here reads behind them.
fn version_2(header: &[u8]) -> Result<Ends, &'static str> {
    let Some([command, family, _, _, block @ ..]) = header.strip_prefix(V2) else {
        return Err(MALFORMED);
    };
    match (*command, *family) {
        (LOCAL, _) | (PROXY, 0x00) => Ok(None),
        (PROXY, 0x11) => ends::<4>(block),
        (PROXY, 0x21) => ends::<16>(block),
        (PROXY, 0x31 | 0x32) if block.len() >= UNIX => Ok(None),
        (PROXY, 0x12 | 0x22) => Err("it is not about TCP"),
        _ => Err(MALFORMED),
    }
}

/// Two addresses of `N` octets, and two ports.
fn ends<const N: usize>(block: &[u8]) -> Result<Ends, &'static str>
where
    IpAddr: From<[u8; N]>,
{
    let (client, rest) = block.split_first_chunk::<N>().ok_or(MALFORMED)?;
    let (server, rest) = rest.split_first_chunk::<N>().ok_or(MALFORMED)?;
    let (client_port, rest) = rest.split_first_chunk::<2>().ok_or(MALFORMED)?;
    let (server_port, _) = rest.split_first_chunk::<2>().ok_or(MALFORMED)?;
    let end = |ip: &[u8; N], port: &[u8; 2]| SocketAddr::from((*ip, u16::from_be_bytes(*port)));
    Ok(Some((end(client, client_port), end(server, server_port))))
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
