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
pub struct Dots {
    policy: BareNewline,
    /// Do dots at the start of a line mean anything?
    stuffed: bool,
    at: At,
    bare: bool,
    line: usize,
    longest: usize,
}

impl Dots {
    /// The start of a message that a line with a dot ends.
    pub fn new(policy: BareNewline) -> Dots {
        Dots { policy, stuffed: true, at: At::LineStart, bare: false, line: 0, longest: 0 }
    }

    /// The start of a message of known length (RFC 3030 2): a dot is an octet like any other, and
    /// [`Dots::feed`] always asks for more.  [`Dots::finish`] follows the last piece.
    pub fn plain(policy: BareNewline) -> Dots {
        Dots { stuffed: false, ..Dots::new(policy) }
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
mod tests {
    use super::*;

    /// What comes out when the input comes in pieces of `size`: the message, how it ended and
    /// what is left over.
    fn run(policy: BareNewline, input: &[u8], size: usize) -> (Vec<u8>, Progress, Vec<u8>, bool) {
        let mut dots = Dots::new(policy);
        let mut out = vec![];
        let mut at = 0;
        for piece in input.chunks(size) {
            match dots.feed(piece, &mut |bytes| out.extend_from_slice(bytes)) {
                Progress::More => at += piece.len(),
                Progress::End(used) => {
                    let rest = input[at + used..].to_vec();
                    return (out, Progress::End(at + used), rest, dots.has_bare());
                }
                Progress::LoneDot => return (out, Progress::LoneDot, vec![], true),
            }
        }
        (out, Progress::More, vec![], dots.has_bare())
    }

    /// The same the slow way: byte for byte by the rules of RFC 5321.
    fn model(policy: BareNewline, input: &[u8]) -> (Vec<u8>, Option<usize>, bool) {
        let mut out = vec![];
        let mut bare = false;
        let mut line_start = true;
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            if line_start && rest.starts_with(b".\r\n") {
                return (out, Some(at + 3), bare);
            }
            if line_start && rest.starts_with(b"..") {
                out.push(b'.');
                at += 2;
                line_start = false;
                continue;
            }
            line_start = false;
            if rest.starts_with(b"\r\n") {
                out.extend_from_slice(b"\r\n");
                at += 2;
                line_start = true;
                continue;
            }
            if rest[0] == b'\r' || rest[0] == b'\n' {
                bare = true;
                if policy == BareNewline::Normalize {
                    out.extend_from_slice(b"\r\n");
                } else {
                    out.push(rest[0]);
                }
            } else {
                out.push(rest[0]);
            }
            at += 1;
        }
        (out, None, bare)
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_message() {
        for (input, message) in [
            (&b"a\r\n.\r\n"[..], &b"a\r\n"[..]),
            (b".\r\n", b""),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"...x\r\n.\r\n", b"..x\r\n"),
            (b".x\r\n.\r\n", b".x\r\n"),
            (b"a.\r\n.b\r\n\r\n.\r\n", b"a.\r\n.b\r\n\r\n"),
        ] {
            for size in 1..=input.len() {
                let (out, end, _, bare) = run(BareNewline::Reject, input, size);
                assert_eq!(
                    (out.as_slice(), end, bare),
                    (message, Progress::End(input.len()), false)
                );
            }
        }
    }

    /// Every text of CR, LF, dot and a letter up to eight octets, in pieces of every size, against
    /// the model: no policy and no cut makes a difference.
    #[test]
    fn no_combination_smuggles() {
        const LETTERS: [u8; 4] = [b'\r', b'\n', b'.', b'a'];
        for length in 0..=8u32 {
            for number in 0..4u32.pow(length) {
                let text = (0..length).map(|n| LETTERS[(number >> (2 * n)) as usize & 3]);
                let mut input: Vec<u8> = text.collect();
                input.extend_from_slice(b"\r\n.\r\nQUIT\r\n");
                for policy in [BareNewline::Accept, BareNewline::Normalize, BareNewline::Reject] {
                    let (out, end, bare) = model(policy, &input);
                    for size in [1, 2, 3, input.len()] {
                        let found = run(policy, &input, size);
                        if found.1 == Progress::LoneDot {
                            assert_eq!(policy, BareNewline::Reject, "{input:?}");
                            continue;
                        }
                        assert_eq!(Progress::End(end.unwrap()), found.1, "{policy:?} {input:?}");
                        assert_eq!(
                            (&out, bare),
                            (&found.0, found.3),
                            "{policy:?} {size} {input:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_lone_dot_before_a_bare_lf_is_noticed_at_once() {
        for input in [&b"a\r\n.\nMAIL"[..], b"a\n.\nMAIL", b".\nMAIL"] {
            for size in 1..=input.len() {
                assert_eq!(run(BareNewline::Reject, input, size).1, Progress::LoneDot, "{input:?}");
                assert_eq!(run(BareNewline::Accept, input, size).1, Progress::More, "{input:?}");
            }
        }
    }

    #[test]
    fn long_lines_are_measured() {
        for size in [1, 7, 5000] {
            let mut dots = Dots::new(BareNewline::Accept);
            let mut input = vec![b'x'; 3000];
            input.extend_from_slice(b"\r\nshort\r\n.\r\n");
            for piece in input.chunks(size) {
                dots.feed(piece, &mut |_| {});
            }
            assert_eq!(dots.longest_line(), 3000);
        }
    }

    /// Without dots that mean something, what comes out is what comes in, with every policy and
    /// in pieces of every size, but for the line ends that a policy changes.
    #[test]
    fn a_plain_message_keeps_its_dots_and_has_no_end() {
        const LETTERS: [u8; 4] = [b'\r', b'\n', b'.', b'a'];
        for number in 0..4u32.pow(7) {
            let input: Vec<u8> =
                (0..7).map(|n| LETTERS[(number >> (2 * n)) as usize & 3]).collect();
            for policy in [BareNewline::Accept, BareNewline::Normalize, BareNewline::Reject] {
                let mut rest = &input[..];
                let (mut want, mut bare) = (vec![], false);
                while let Some(octet) = rest.first() {
                    let is_end = matches!(octet, b'\r' | b'\n');
                    let size = if rest.starts_with(b"\r\n") { 2 } else { 1 };
                    bare |= is_end && size == 1;
                    match policy == BareNewline::Normalize && is_end {
                        true => want.extend_from_slice(b"\r\n"),
                        false => want.extend_from_slice(&rest[..size]),
                    }
                    rest = &rest[size..];
                }
                for size in [1, 2, 3, 7] {
                    let mut dots = Dots::plain(policy);
                    let mut out = vec![];
                    for piece in input.chunks(size) {
                        let progress = dots.feed(piece, &mut |bytes| out.extend_from_slice(bytes));
                        assert_eq!(progress, Progress::More, "{input:?}");
                    }
                    dots.finish(&mut |bytes| out.extend_from_slice(bytes));
                    assert_eq!((&out, dots.has_bare()), (&want, bare), "{policy:?} {input:?}");
                }
            }
        }
    }
}
