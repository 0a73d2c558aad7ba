//! The server name for which a TLS client asks (RFC 6066 3), as it was sent: for the log, where the
//! handshake failed because of it.

/// The first name in the client's first message.  None: there is none, or it has not come whole.
pub(crate) fn server_name(records: &[u8]) -> Option<String> {
    let message = handshake(records);
    let mut rest = Octets(&message);
    // The kind of message, its length, version and random number.
    (rest.take(1)? == [1]).then_some(())?;
    rest.take(3 + 2 + 32)?;
    // The session, the cipher suites, the ways of compression.
    rest.list(1)?;
    rest.list(2)?;
    rest.list(1)?;
    let mut extensions = Octets(rest.list(2)?);
    loop {
        let kind = extensions.take(2)?;
        let content = extensions.list(2)?;
        if kind == [0, 0] {
            let mut names = Octets(Octets(content).list(2)?);
            names.take(1)?;
            return Some(String::from_utf8_lossy(names.list(2)?).into_owned());
        }
    }
}

/// What is in the records of the kind handshake (RFC 8446 5.1) at the beginning.
fn handshake(records: &[u8]) -> Vec<u8> {
    let mut rest = Octets(records);
    let mut message = vec![];
    while let Some(&[22, _, _]) = rest.take(3) {
        let Some(content) = rest.list(2) else { break };
        message.extend_from_slice(content);
    }
    message
}

struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// What comes after its length, which has so many octets.
    fn list(&mut self, octets: usize) -> Option<&'a [u8]> {
        let length = self.take(octets)?.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(octets: usize, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - octets..], content].concat()
    }

    /// A ClientHello of TLS 1.2 that asks for `name`, in records of so many octets.
    fn hello(name: &str, size: usize) -> Vec<u8> {
        let names = list(2, &[&[0][..], &list(2, name.as_bytes())].concat());
        let groups = list(2, &[0, 23]);
        let extensions = [&[0, 10][..], &list(2, &groups), &[0, 0], &list(2, &names)].concat();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &list(1, &[]),
            &list(2, &[0xc0, 0x2f]),
            &list(1, &[0]),
            &list(2, &extensions),
        ];
        let message = [&[1][..], &list(3, &body.concat())].concat();
        let record = |piece: &[u8]| [&[22, 3, 1][..], &list(2, piece)].concat();
        message.chunks(size).flat_map(record).collect()
    }

    #[test]
    fn the_name_is_found_and_nothing_else_is_read() {
        for size in [1, 7, 10_000] {
            let whole = hello("mx.test:587", size);
            assert_eq!(server_name(&whole).as_deref(), Some("mx.test:587"));
            for length in 0..whole.len() {
                assert_eq!(server_name(&whole[..length]), None, "{size} {length}");
            }
        }
        assert_eq!(server_name(b"EHLO client.test\r\n"), None);
    }
}
