//! Messages for programs of this machine, whose lines end in LF.

use std::io::{self, Write};

/// Counts octets.
pub(crate) struct Counter(pub(crate) u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes every CRLF as LF, and a CR or an LF alone as it is.
///
/// The last octet of a piece may be a CR that is only written with the next piece, so the message
/// ends with [`flush`](Write::flush).
#[derive(Debug)]
pub struct UnixLines<W> {
    out: W,
    /// Was the last octet a CR?  It is not written yet.
    held: bool,
}

impl<W: Write> UnixLines<W> {
    /// Writes to `out`, in many small pieces.
    pub fn new(out: W) -> UnixLines<W> {
        UnixLines { out, held: false }
    }

    /// What is below, after a flush.
    pub(super) fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for UnixLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        if self.held && !rest.is_empty() {
            self.held = false;
            if rest[0] != b'\n' {
                self.out.write_all(b"\r")?;
            }
        }
        while let Some(at) = memchr::memchr(b'\r', rest) {
            // The CR goes out with what is before it, unless an LF follows or might follow.
            let bare = rest.get(at + 1).is_some_and(|next| *next != b'\n');
            self.held = at + 1 == rest.len();
            self.out.write_all(&rest[..at + usize::from(bare)])?;
            rest = &rest[at + 1..];
        }
        self.out.write_all(rest)?;
        Ok(bytes.len())
    }

    /// The end of the message: what is held goes out as well.
    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.held) {
            self.out.write_all(b"\r")?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_converted_wherever_a_piece_ends() {
        let text = b"\r\n\r\r\na\rb\nc\r\n\n\rd\r\n\r\n\r";
        let want = b"\n\r\na\rb\nc\n\n\rd\n\n\r";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut lines = UnixLines::new(vec![]);
                for piece in [&text[..first], &text[first..second], &text[second..]] {
                    lines.write_all(piece).unwrap();
                }
                lines.flush().unwrap();
                assert_eq!(lines.out, want, "{first}, {second}");
            }
        }
    }
}
