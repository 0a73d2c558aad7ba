//! The replies of a back end.

use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::hook::{Code, Verdict};
use crate::log::beginning;
use crate::net::Wire;

/// The longest reply, in octets.
const LONGEST: usize = 1 << 20;

/// So many octets of its texts are kept: whatever a server goes on to say, its code decides.
const KEPT: usize = 16 * 1024;

/// A reply (RFC 5321 4.2): its code, and the texts of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) lines: Vec<String>,
}

impl Reply {
    /// Reads a reply that may take `most` to come.
    ///
    /// # Errors
    /// `InvalidData` where it is none; else as [`Wire::octet`].
    pub(crate) fn read(wire: &mut Wire, most: Duration) -> io::Result<Reply> {
        let until = wire.within(most);
        let (mut room, mut lines, mut first) = (LONGEST, vec![], None);
        let mut kept = KEPT;
        loop {
            let line =
                wire.up_to(b'\n', room, until)?.ok_or_else(|| none("a reply is too long"))?;
            room = room.saturating_sub(line.len() + 1);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
            let (code, more, text) = parts(&line).ok_or_else(|| none("not a reply"))?;
            if *first.get_or_insert(code) != code {
                return Err(none("a reply has two codes"));
            }
            if kept > 0 {
                let text = beginning(text, kept);
                lines.push(text.to_owned());
                kept = kept.saturating_sub(text.len() + 1);
            }
            if !more {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// Has the command been carried out?
    pub(crate) fn is_ok(&self) -> bool {
        self.code / 100 == 2
    }

    /// Is it a refusal for good of what the client wants, rather than of us?
    pub(crate) fn is_permanent(&self) -> bool {
        self.code / 100 == 5 && !self.is_about_us()
    }

    /// 530 wants us to authenticate or to encrypt (RFC 4954, RFC 3207): the client cannot help it.
    fn is_about_us(&self) -> bool {
        self.code == 530
    }

    /// The code and the last line, for the log.
    pub(crate) fn shown(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" / "))
    }

    /// The last word, which is the id of the message in the final replies of most servers.
    pub(crate) fn last_word(&self) -> &str {
        self.lines.iter().rev().find_map(|line| line.split_whitespace().next_back()).unwrap_or("")
    }

    /// The enhanced status (RFC 3463) of the last line that has one.
    pub(crate) fn status(&self) -> Option<&str> {
        self.lines.iter().rev().find_map(|line| Some(self.split_status(line)?.0))
    }

    /// The text, in as many lines, with its enhanced status at the end as plugins write it:
    /// ` (#5.1.1)`.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.iter();
        let lines =
            lines.map(|line| self.split_status(line).map_or(line.as_str(), |(_, text)| text));
        let text = lines.collect::<Vec<_>>().join("\n");
        match self.status() {
            Some(status) => format!("{text} (#{status})"),
            None => text,
        }
    }

    /// The refusal that it means: with the reply's code and text.
    pub(crate) fn refusal(&self) -> Verdict {
        let verdict = |code, text| Verdict::new(code, text);
        match self.code {
            // The connection that 421 ends is ours.
            421 => verdict(Code::DenySoft, self.text()).with_reply(451),
            530 => unable("the back end refused this server", "4.3.5"),
            400..=499 => verdict(Code::DenySoft, self.text()).with_reply(self.code),
            500..=599 => verdict(Code::Deny, self.text()).with_reply(self.code),
            _ => unable("the back end gave a wrong answer", "4.5.0"),
        }
    }

    fn split_status<'a>(&self, line: &'a str) -> Option<(&'a str, &'a str)> {
        let (status, text) = line.split_once(' ').unwrap_or((line, ""));
        let parts: Vec<&str> = status.split('.').collect();
        let is_number =
            |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let class = (self.code / 100).to_string();
        (parts.len() == 3 && parts[0] == class && parts.iter().all(is_number))
            .then_some((status, text))
    }
}

/// A temporary failure of this server's own.
pub(crate) fn unable(why: &str, status: &str) -> Verdict {
    Verdict::denysoft(format!("Unable to queue message ({why}) (#{status})")).with_reply(451)
}

fn none(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// `250-text`: the code, whether more lines follow, the text.
fn parts(line: &str) -> Option<(u16, bool, &str)> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code = digits.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest.as_bytes().first() {
        None => Some((code, false, "")),
        Some(b' ') => Some((code, false, &rest[1..])),
        Some(b'-') => Some((code, true, &rest[1..])),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::forward::Peer;
    use crate::net::Endpoint;

    const LONG: Duration = Duration::from_secs(60);

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply { code, lines: lines.iter().map(|line| line.to_string()).collect() }
    }

    #[test]
    fn lines_are_taken_apart() {
        assert_eq!(parts("250-a b"), Some((250, true, "a b")));
        assert_eq!(parts("354 go"), Some((354, false, "go")));
        assert_eq!(parts("250"), Some((250, false, "")));
        for line in ["", "25", "2x0 a", "+50 a", "250a", "150 a", "650 a", "2\u{e9}0"] {
            assert_eq!(parts(line), None, "{line}");
        }
    }

    /// The reply that is read where the server says this.
    fn read(said: &str) -> io::Result<Reply> {
        let peer = Peer::start(&format!("+ {said}"));
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port: peer.port };
        let mut wire = Wire::connect(&endpoint, Instant::now() + LONG).unwrap();
        let reply = Reply::read(&mut wire, LONG);
        drop(wire);
        peer.end();
        reply
    }

    #[test]
    fn a_long_refusal_is_a_refusal() {
        let words = "word ".repeat(5000);
        let reply = read(&format!("550 5.1.1 {words}")).unwrap();
        assert_eq!((reply.code, reply.status()), (550, Some("5.1.1")));
        assert_eq!(reply.lines, [&format!("5.1.1 {words}")[..KEPT]]);
        let lines = "552-5.3.4 a line\\n".repeat(1700);
        let reply = read(&format!("{lines}552 5.3.4 the end")).unwrap();
        assert_eq!((reply.code, reply.status()), (552, Some("5.3.4")));
        assert!(reply.lines.iter().map(String::len).sum::<usize>() <= KEPT);
        assert_eq!(read("550-").unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let error = read(&format!("550 {}", "x".repeat(LONGEST))).unwrap_err();
        assert_eq!(error.to_string(), "a reply is too long");
    }

    #[test]
    fn the_status_goes_to_the_end_of_the_text() {
        for (code, lines, text) in [
            (550, &["5.1.1 no such user"][..], "no such user (#5.1.1)"),
            (550, &["5.1.1 no", "5.1.2 such user"], "no\nsuch user (#5.1.2)"),
            (450, &["5.1.1 odd"], "5.1.1 odd"),
            (550, &["5.1.1"], " (#5.1.1)"),
            (550, &["5.1 a"], "5.1 a"),
            (550, &["5.1.1111 a"], "5.1.1111 a"),
            (550, &[""], ""),
        ] {
            assert_eq!(reply(code, lines).text(), text);
        }
    }

    #[test]
    fn classes_keep_their_meaning() {
        for (code, verdict) in [
            (450, Verdict::denysoft("x").with_reply(450)),
            (421, Verdict::denysoft("x").with_reply(451)),
            (552, Verdict::deny("x").with_reply(552)),
            (530, unable("the back end refused this server", "4.3.5")),
            (354, unable("the back end gave a wrong answer", "4.5.0")),
        ] {
            assert_eq!(reply(code, &["x"]).refusal(), verdict, "{code}");
        }
    }

    #[test]
    fn the_last_word_is_the_id() {
        assert_eq!(reply(250, &["2.0.0 Ok: queued as 4XYZ"]).last_word(), "4XYZ");
        assert_eq!(reply(250, &["a b", ""]).last_word(), "b");
        assert_eq!(reply(250, &[""]).last_word(), "");
    }
}
