use super::*;

/// What comes out when the input comes in pieces of `size`: the message, how it ended and
/// what is left over.
fn run(policy: BareNewline, input: &[u8], size: usize) -> (Vec<u8>, Progress, Vec<u8>, bool) {
    let mut dots = Unstuffer::new(policy);
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
            assert_eq!((out.as_slice(), end, bare), (message, Progress::End(input.len()), false));
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
                    assert_eq!((&out, bare), (&found.0, found.3), "{policy:?} {size} {input:?}");
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
        let mut dots = Unstuffer::new(BareNewline::Accept);
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
        let input: Vec<u8> = (0..7).map(|n| LETTERS[(number >> (2 * n)) as usize & 3]).collect();
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
                let mut dots = Unstuffer::plain(policy);
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
