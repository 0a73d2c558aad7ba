//! Replies (RFC 5321 4.2).

use std::borrow::Cow;

use crate::log::{beginning, is_plain};

/// The longest line of a reply in octets, CRLF included (RFC 5321 4.5.3.1.5).
const LONGEST: usize = 512;

/// How much text a reply has at most, in octets and in lines.  Who sends mail has room for so much of
/// a reply, Exim for 4096 octets with the codes; a refusal that does not fit is tried again for days.
const MOST: usize = 2000;
const MOST_LINES: usize = 50;

/// The replies that are for people, and are as long as they want to be.
const HELP: u16 = 214;

/// A reply: a code (RFC 5321 4.2), an enhanced status (RFC 2034) and lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    status: Option<Cow<'static, str>>,
    text: Cow<'static, str>,
}

impl Reply {
    /// A reply whose text's lines are its lines.  `status` is `x.y.z`, or empty for replies that
    /// have none.  A status that ends the text, ` (#5.7.1)`, goes before it, with the class of the
    /// code, as RFC 2034 4 wants it.  Of a text that is too long for a client, the beginning is used.
    pub fn new(code: u16, status: &'static str, text: impl Into<Cow<'static, str>>) -> Reply {
        let text = text.into();
        let own = text.lines().next_back().and_then(split_status);
        let status = match own {
            _ if status.is_empty() => None,
            Some((_, own)) => Some(format!("{}{}", code / 100, &own[1..]).into()),
            None => Some(status.into()),
        };
        let text = if code == HELP { text } else { shortened(text) };
        Reply { code, status, text }
    }

    /// A reply in a plugin's own words, with the general status of its code's class.
    pub fn own(code: u16, text: impl Into<Cow<'static, str>>) -> Reply {
        let status = match code / 100 {
            2 => "2.0.0",
            4 => "4.0.0",
            5 => "5.0.0",
            _ => "",
        };
        Reply::new(code, status, text)
    }

    /// The code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The first line of the text.
    pub fn text(&self) -> &str {
        self.text.lines().next().unwrap_or("")
    }

    /// Adds the reply as it goes on the wire to `out`.
    pub fn write(&self, form: Form, out: &mut Vec<u8>) {
        let status = self.status.as_deref().filter(|_| form.enhanced);
        let room = LONGEST - 6 - status.map_or(0, |status| status.len() + 1);
        // A reply without text is one empty line.
        let mut lines = self.text.lines().chain(self.text.is_empty().then_some("")).peekable();
        while let Some(line) = lines.next() {
            let is_last = lines.peek().is_none();
            let text = match split_status(line) {
                Some((text, _)) if status.is_some() && is_last => text,
                _ => line,
            };
            let text = printable(text, form.utf8);
            let mut rest = Some(&*text);
            while let Some(line) = rest {
                let (piece, more) = cut(line, room);
                let mark = if is_last && more.is_none() { b' ' } else { b'-' };
                out.extend_from_slice(&digits(self.code));
                out.push(mark);
                if let Some(status) = status {
                    out.extend_from_slice(status.as_bytes());
                    out.push(b' ');
                }
                out.extend_from_slice(piece.as_bytes());
                out.extend_from_slice(b"\r\n");
                rest = more;
            }
        }
    }
}

/// What a client may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    /// Enhanced statuses: it greeted with EHLO (RFC 2034 4).
    pub enhanced: bool,
    /// UTF-8: it said SMTPUTF8 (RFC 6531 3.7.4).  Without this a reply is ASCII (RFC 5321 4.2), and
    /// `?` stands for any other character.
    pub utf8: bool,
}

/// As much of a text as a reply may have.
fn shortened(text: Cow<'static, str>) -> Cow<'static, str> {
    let lines = text.match_indices('\n').nth(MOST_LINES - 1).map_or(text.len(), |(end, _)| end);
    match beginning(&text, lines.min(MOST)) {
        all if all.len() == text.len() => text,
        part => part.to_owned().into(),
    }
}

fn digits(code: u16) -> [u8; 3] {
    [code / 100, code / 10, code].map(|number| b'0' + (number % 10) as u8)
}

/// `text (#5.7.1)` as its text and its status.
fn split_status(line: &str) -> Option<(&str, &str)> {
    let (text, status) = line.strip_suffix(')')?.rsplit_once(" (#")?;
    let mut numbers = status.split('.');
    let digits = |part: Option<&str>| {
        part.is_some_and(|part| {
            (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        })
    };
    let class = matches!(numbers.next(), Some("2" | "4" | "5"));
    (class && digits(numbers.next()) && digits(numbers.next()) && numbers.next().is_none())
        .then_some((text, status))
}

fn printable(text: &str, utf8: bool) -> Cow<'_, str> {
    if is_plain(text) && !text.contains('\t') || utf8 && !text.chars().any(char::is_control) {
        return text.into();
    }
    let plain = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() || !utf8 && !c.is_ascii() => '?',
        c => c,
    };
    text.chars().map(plain).collect()
}

/// As much of a line as a reply has room for, up to a blank where there is one, and the rest.
fn cut(line: &str, room: usize) -> (&str, Option<&str>) {
    if line.len() <= room {
        return (line, None);
    }
    let fits = beginning(line, room).len();
    let end = line[..fits].rfind(' ').filter(|at| *at > 0).unwrap_or(fits);
    (&line[..end], Some(line[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply, enhanced: bool) -> String {
        written(reply, Form { enhanced, utf8: false })
    }

    fn written(reply: &Reply, form: Form) -> String {
        let mut out = vec![];
        reply.write(form, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_and_statuses_go_on_the_wire() {
        let reply = Reply::new(250, "2.0.0", "one\ntwo");
        assert_eq!(wire(&reply, true), "250-2.0.0 one\r\n250 2.0.0 two\r\n");
        assert_eq!(wire(&reply, false), "250-one\r\n250 two\r\n");
        assert_eq!(wire(&Reply::new(354, "", "go ahead"), true), "354 go ahead\r\n");
        assert_eq!(wire(&Reply::new(221, "2.0.0", ""), true), "221 2.0.0 \r\n");
    }

    #[test]
    fn a_status_at_the_end_of_the_text_moves_to_its_front() {
        let reply = Reply::new(550, "5.0.0", "Relaying denied (#5.7.1)");
        assert_eq!(wire(&reply, true), "550 5.7.1 Relaying denied\r\n");
        assert_eq!(wire(&reply, false), "550 Relaying denied (#5.7.1)\r\n");
        assert_eq!(wire(&Reply::own(550, "a (#5.7)"), true), "550 5.0.0 a (#5.7)\r\n");
        assert_eq!(wire(&Reply::own(450, "a (#5.7.1)"), true), "450 4.7.1 a\r\n");
    }

    #[test]
    fn nothing_can_be_injected_and_no_line_is_too_long() {
        assert_eq!(wire(&Reply::own(250, "a\rb\x1b[0m\0"), false), "250 a?b?[0m?\r\n");
        let long = "word ".repeat(300);
        for line in wire(&Reply::new(550, "5.7.1", long), true).split_inclusive("\r\n") {
            assert!(line.len() <= LONGEST && line.starts_with("550"), "{line}");
        }
        let long = Reply::own(550, "\u{fc}".repeat(700));
        for line in written(&long, Form { enhanced: true, utf8: true }).split_inclusive("\r\n") {
            assert!(line.len() <= LONGEST, "{line}");
        }
    }

    #[test]
    fn a_long_text_is_cut_and_keeps_its_status() {
        let words = "word ".repeat(5000);
        let lines = "a line\n".repeat(3000);
        for text in [words, lines, "\u{fc}".repeat(9000), "\n".repeat(9000)] {
            let reply = Reply::own(550, format!("{text} (#5.1.1)"));
            let wire = wire(&reply, true);
            assert!(wire.len() < 4000, "{}", wire.len());
            assert!(wire.lines().all(|line| line[3..].starts_with(['-', ' '])), "{wire}");
            assert!(wire.lines().all(|line| line[4..].starts_with("5.1.1 ")), "{wire}");
            assert!(wire.lines().last().unwrap().starts_with("550 "), "{wire}");
        }
        let help = "a line\n".repeat(100);
        assert_eq!(wire(&Reply::own(214, help), true).lines().count(), 100);
    }

    #[test]
    fn replies_are_ascii_unless_the_client_takes_utf_8() {
        let reply = Reply::own(250, "<\u{fc}b@\u{6771}>\u{85}\nb\u{e4}\tc");
        let form = Form { enhanced: false, utf8: true };
        assert_eq!(written(&reply, form), "250-<\u{fc}b@\u{6771}>?\r\n250 b\u{e4} c\r\n");
        assert_eq!(wire(&reply, false), "250-<?b@?>?\r\n250 b? c\r\n");
    }
}
