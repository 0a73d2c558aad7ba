//! The line ends and the dots of a message on its way out.

use std::io::{self, Write};

use memchr::{memchr, memchr2};

/// Writes CRLF for every CRLF, CR alone and LF alone, and everything else as it is.
///
/// Servers do not agree on what ends a line.  A CR or LF alone that one of them takes for the end
/// could make it see a second message, with an envelope of the sender's choice.
pub(crate) struct CrlfLines<W> {
    out: W,
    /// Was the last octet a CR?  It is not written yet.
    held: bool,
}

impl<W: Write> CrlfLines<W> {
    pub(crate) fn new(out: W) -> CrlfLines<W> {
        CrlfLines { out, held: false }
    }

    /// Writes what is held.  Returns what is below, not flushed.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if self.held {
            self.out.write_all(b"\r\n")?;
        }
        Ok(self.out)
    }
}

impl<W: Write> Write for CrlfLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut from, mut at) = (0, 0);
        if self.held && !bytes.is_empty() {
            self.held = false;
            self.out.write_all(b"\r\n")?;
            from = usize::from(bytes[0] == b'\n');
            at = from;
        }
        while let Some(found) = memchr2(b'\r', b'\n', &bytes[at..]) {
            at += found;
            match &bytes[at..] {
                [b'\r', b'\n', ..] => at += 2,
                [b'\r'] => {
                    self.held = true;
                    self.out.write_all(&bytes[from..at])?;
                    return Ok(bytes.len());
                }
                _ => {
                    self.out.write_all(&bytes[from..at])?;
                    self.out.write_all(b"\r\n")?;
                    at += 1;
                    from = at;
                }
            }
        }
        self.out.write_all(&bytes[from..])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Doubles the dot at the start of a line (RFC 5321 4.5.2) of a message whose lines end in CRLF.
pub(crate) struct Stuffer<W> {
    out: W,
    at_start: bool,
}

impl<W: Write> Stuffer<W> {
    pub(crate) fn new(out: W) -> Stuffer<W> {
        Stuffer { out, at_start: true }
    }

    /// Ends the last line, and the message.  Returns what is below, not flushed.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(if self.at_start { b".\r\n" } else { b"\r\n.\r\n" })?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Stuffer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut from, mut at) = (0, 0);
        while at < bytes.len() {
            if self.at_start && bytes[at] == b'.' {
                self.out.write_all(&bytes[from..at])?;
                self.out.write_all(b".")?;
                from = at;
            }
            let end = memchr(b'\n', &bytes[at..]);
            self.at_start = end.is_some();
            at = end.map_or(bytes.len(), |end| at + end + 1);
        }
        self.out.write_all(&bytes[from..])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes out for a message that comes in pieces of that size.
    fn wire(message: &[u8], size: usize) -> Vec<u8> {
        let mut lines = CrlfLines::new(Stuffer::new(vec![]));
        for piece in message.chunks(size) {
            lines.write_all(piece).unwrap();
        }
        lines.finish().unwrap().finish().unwrap()
    }

    #[test]
    fn dots_are_doubled_and_lines_end_in_crlf_whatever_the_pieces() {
        for (message, want) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b".\r\n..\r\n.a\r\na.\r\n", b"..\r\n...\r\n..a\r\na.\r\n.\r\n"),
            (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r.\rb\r", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\r\n.\n\r.\r\n", b"a\r\n\r\n..\r\n\r\n..\r\n.\r\n"),
            (b"a\r\n.\n\r\n", b"a\r\n..\r\n\r\n.\r\n"),
            (b"\0\xff.\r\n", b"\0\xff.\r\n.\r\n"),
        ] {
            for size in 1..=message.len().max(1) {
                let out = wire(message, size);
                assert_eq!(out.escape_ascii().to_string(), want.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn no_mixture_of_line_ends_can_end_the_message_early() {
        // Every text of seven octets over this alphabet.
        let alphabet = b"\r\n.a";
        for number in 0..4usize.pow(7) {
            let text: Vec<u8> = (0..7).map(|place| alphabet[number >> (2 * place) & 3]).collect();
            let out = wire(&text, 3);
            let body = out.strip_suffix(b"\r\n.\r\n").unwrap_or(b"");
            for line in body.split(|b| *b == b'\n') {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                assert!(line != b"." && !line.contains(&b'\r'), "{}", text.escape_ascii());
            }
            let lone = body.iter().filter(|b| **b == b'\r').count();
            assert_eq!(lone, body.iter().filter(|b| **b == b'\n').count());
        }
    }
}
