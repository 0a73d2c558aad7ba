//! The octets of a message (RFC 5321 4.1.1.4, 4.5.2).  After DATA, only CRLF.CRLF ends a message, two dots at the start
//! of a line become one, and bare CR and LF are dealt with as `config/bare_newline` says.  A single
//! dot in front of other text, which no client should send, stays as qpsmtpd always left it.

use memchr::memchr2;

pub use crate::settings::BareNewline;

/// How far a piece of input got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All of it belongs to the message, and there is more.
    More,
    /// The message has ended; so many octets of the input belonged to it and its end.
    End(usize),
    /// Under [`BareNewline::Reject`]: a line with nothing but a dot, ended by a bare LF.  The client
    /// thinks the message has ended, or wants another server to think so.
    LoneDot,
}

/// What was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// CRLF, or nothing at all.
    LineStart,
    /// The dot at the start of a line, not yet handed on: before another dot it is not part of the
    /// message.
    Dot,
    /// That dot and a CR.
    DotCr,
    /// Anything else.
    Text,
    /// A CR within a line, not yet handed on.
    Cr,
    /// Under Reject, a bare LF.
    BareLf,
    /// Under Reject, a bare LF and a dot, not yet handed on.
    BareLfDot,
}

/// Takes a message apart, in pieces of any size.
#[derive(Debug)]
pub struct Unstuffer {
    policy: BareNewline,
    /// Do dots at the start of a line mean anything?
    stuffed: bool,
    at: At,
    bare: bool,
    line: usize,
    longest: usize,
}

impl Unstuffer {
    /// The start of a message that a line with a dot ends.
    pub fn new(policy: BareNewline) -> Unstuffer {
        Unstuffer { policy, stuffed: true, at: At::LineStart, bare: false, line: 0, longest: 0 }
    }

    /// The start of a message of known length (RFC 3030 2): a dot is an octet like any other, and
    /// [`Unstuffer::feed`] always asks for more.  [`Unstuffer::finish`] follows the last piece.
    pub fn plain(policy: BareNewline) -> Unstuffer {
        Unstuffer { stuffed: false, ..Unstuffer::new(policy) }
    }

    /// The message has ended without a line of its own for that: hands on what was held back.
    pub fn finish(&mut self, sink: &mut impl FnMut(&[u8])) {
        if self.at == At::Cr {
            self.bare_cr(sink);
            self.at = At::Text;
        }
    }

    /// Was there a bare CR or LF?
    pub fn has_bare(&self) -> bool {
        self.bare
    }

    /// The longest line so far in octets, without its end.
    pub fn longest_line(&self) -> usize {
        self.longest.max(self.line)
    }

    /// Reads a piece of input and hands what belongs to the message to `sink`.
    pub fn feed(&mut self, input: &[u8], sink: &mut impl FnMut(&[u8])) -> Progress {
        let mut from = 0;
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            match (self.at, byte) {
                (At::LineStart, b'.') if self.stuffed => {
                    sink(&input[from..at]);
                    from = at + 1;
                    self.at = At::Dot;
                    at += 1;
                }
                (At::Dot, b'\r') => {
                    self.at = At::DotCr;
                    from = at + 1;
                    at += 1;
                }
                (At::DotCr, b'\n') => return Progress::End(at + 1),
                (At::DotCr, _) => {
                    self.dot(sink);
                    self.bare_cr(sink);
                    from = at;
                    self.at = At::Text;
                }
                (At::Dot, b'\n') if self.policy == BareNewline::Reject => return Progress::LoneDot,
                (At::Dot, b'.') => self.at = At::Text,
                (At::Dot, _) => {
                    self.dot(sink);
                    self.at = At::Text;
                }
                (At::Cr, b'\n') => {
                    sink(b"\r\n");
                    from = at + 1;
                    at += 1;
                    self.end_line();
                    self.at = At::LineStart;
                }
                (At::Cr, _) => {
                    self.bare_cr(sink);
                    from = at;
                    self.at = At::Text;
                }
                (At::BareLf, b'.') if self.stuffed => {
                    sink(&input[from..at]);
                    from = at + 1;
                    at += 1;
                    self.at = At::BareLfDot;
                }
                (At::BareLfDot, b'\n') => return Progress::LoneDot,
                (At::BareLfDot, _) => {
                    self.dot(sink);
                    from = at;
                    self.at = At::Text;
                }
                (At::LineStart | At::Text | At::BareLf, _) => {
                    self.at = At::Text;
                    (from, at) = self.text(input, from, at, sink);
                }
            }
        }
        sink(&input[from.min(input.len())..]);
        Progress::More
    }

    /// Reads on within a line, over as many whole lines as need no attention.
    fn text(
        &mut self,
        input: &[u8],
        from: usize,
        mut at: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> (usize, usize) {
        loop {
            let Some(found) = memchr2(b'\r', b'\n', &input[at..]) else {
                self.line += input.len() - at;
                return (from, input.len());
            };
            let end = at + found;
            self.line += found;
            if input[end] == b'\n' {
                return self.bare_lf(input, from, end, sink);
            }
            if input.get(end + 1) != Some(&b'\n') {
                sink(&input[from..end]);
                self.at = At::Cr;
                return (end + 1, end + 1);
            }
            self.end_line();
            at = end + 2;
            match input.get(at) {
                None | Some(b'.') => {
                    self.at = At::LineStart;
                    return (from, at);
                }
                Some(_) => {}
            }
        }
    }

    fn bare_lf(
        &mut self,
        input: &[u8],
        from: usize,
        end: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> (usize, usize) {
        self.bare = true;
        self.end_line();
        if self.policy == BareNewline::Normalize {
            sink(&input[from..end]);
            sink(b"\r\n");
            self.at = At::Text;
            return (end + 1, end + 1);
        }
        self.at = if self.policy == BareNewline::Reject { At::BareLf } else { At::Text };
        (from, end + 1)
    }

    fn bare_cr(&mut self, sink: &mut impl FnMut(&[u8])) {
        self.bare = true;
        if self.policy == BareNewline::Normalize {
            self.end_line();
            sink(b"\r\n");
        } else {
            self.line += 1;
            sink(b"\r");
        }
    }

    /// The dot at the start of a line was part of the message after all.
    fn dot(&mut self, sink: &mut impl FnMut(&[u8])) {
        self.line += 1;
        sink(b".");
    }

    fn end_line(&mut self) {
        self.longest = self.longest.max(self.line);
        self.line = 0;
    }
}

#[cfg(test)]
mod tests;
