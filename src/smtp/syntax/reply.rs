//! Replies, and THE table that makes one of a verdict.

use std::borrow::Cow;
use std::io::Write;

use crate::hook::{Code, Hook, Verdict};

/// The longest line of a reply in octets, CRLF included (RFC 5321 4.5.3.1.5).
const LONGEST: usize = 512;

/// The text for the client when a plugin could not do its work.
pub const INTERNAL_ERROR: &str = "Internal error - try again later";

/// A reply: a code (RFC 5321 4.2), an enhanced status (RFC 2034) and lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    status: Option<String>,
    text: String,
}

impl Reply {
    /// A reply whose text's lines are its lines.  `status` is `x.y.z`, or empty for replies that
    /// have none.  A status that ends the text, ` (#5.7.1)`, goes before it, with the class of the
    /// code, as RFC 2034 4 wants it.
    pub fn new(code: u16, status: &str, text: &str) -> Reply {
        let own = text.lines().next_back().and_then(split_status);
        let status = match own {
            _ if status.is_empty() => None,
            Some((_, own)) => Some(format!("{}{}", code / 100, &own[1..])),
            None => Some(status.to_owned()),
        };
        Reply { code, status, text: text.to_owned() }
    }

    /// A reply in a plugin's own words, with the general status of its code's class.
    pub fn own(code: u16, text: &str) -> Reply {
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
                let mark = if is_last && more.is_none() { ' ' } else { '-' };
                // Writing to memory does not fail.
                let _ = write!(out, "{:03}{mark}", self.code);
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

/// What a refusal of one kind means at one hook.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The reply's code.
    pub code: u16,
    /// Its text where the plugin gives none; `{}` is what the command was about.
    pub text: &'static str,
    /// Is the connection closed?
    pub close: bool,
}

/// One row of the reply table: what the four refusals mean at a hook.  None: the refusal has no
/// meaning there, the default reply is given.
#[derive(Debug)]
pub struct Row {
    /// The hook.
    pub hook: Hook,
    /// DENY, DENYSOFT, DENY_DISCONNECT and DENYSOFT_DISCONNECT.
    pub answers: [Option<Answer>; 4],
}

const fn keep(code: u16, text: &'static str) -> Option<Answer> {
    Some(Answer { code, text, close: false })
}

const fn shut(code: u16, text: &'static str) -> Option<Answer> {
    Some(Answer { code, text, close: true })
}

const NOT_YOU: &str = "Sorry, service not available for you";
const LATER: &str = "Sorry, try again later";
const BYE: &str = "Connection from you denied, bye bye.";
const BYE_NOW: &str = "Connection from you temporarily denied, bye bye.";
const DENIED: &str = "Message denied";
const DENIED_NOW: &str = "Message denied temporarily";

/// THE reply table.
pub const TABLE: &[Row] = &[
    row(
        Hook::PreConnection,
        [shut(550, NOT_YOU), shut(451, LATER), shut(550, NOT_YOU), shut(451, LATER)],
    ),
    row(Hook::Connect, [shut(550, BYE), shut(450, BYE_NOW), shut(550, BYE), shut(450, BYE_NOW)]),
    row(Hook::Helo, HELLO),
    row(Hook::Ehlo, HELLO),
    row(
        Hook::Mail,
        [
            keep(550, "{}, denied"),
            keep(450, "{}, temporarily denied"),
            shut(550, "{}, denied"),
            shut(421, "{}, temporarily denied"),
        ],
    ),
    row(
        Hook::Rcpt,
        [
            keep(550, "relaying denied"),
            keep(450, "relaying denied"),
            shut(550, "delivery denied"),
            shut(421, "relaying denied"),
        ],
    ),
    row(
        Hook::Data,
        [keep(554, DENIED), keep(451, DENIED_NOW), shut(554, DENIED), shut(421, DENIED_NOW)],
    ),
    row(Hook::DataHeadersEnd, [None, None, shut(554, DENIED), shut(421, DENIED_NOW)]),
    row(Hook::DataPostHeaders, MESSAGE),
    row(Hook::DataPost, MESSAGE),
    row(Hook::QueuePre, MESSAGE),
    row(Hook::Queue, MESSAGE),
    row(Hook::Vrfy, [keep(554, "Access Denied"), None, shut(554, "Access Denied"), None]),
    row(
        Hook::Noop,
        [keep(500, "Stop wasting my time."), None, shut(500, "Stop wasting my time."), None],
    ),
    row(
        Hook::Help,
        [
            keep(500, "Syntax error, command not recognized"),
            None,
            shut(500, "Syntax error, command not recognized"),
            None,
        ],
    ),
    row(
        Hook::UnrecognizedCommand,
        [keep(500, "Unrecognized command"), None, shut(521, "Unrecognized command"), None],
    ),
];

const HELLO: [Option<Answer>; 4] = [
    keep(550, "{} is not welcome here"),
    keep(450, "{} is not welcome now"),
    shut(550, "{} is not welcome here"),
    shut(450, "{} is not welcome now"),
];

const MESSAGE: [Option<Answer>; 4] =
    [keep(552, DENIED), keep(452, DENIED_NOW), shut(552, DENIED), shut(452, DENIED_NOW)];

const fn row(hook: Hook, answers: [Option<Answer>; 4]) -> Row {
    Row { hook, answers }
}

/// The reply that refuses, and whether the connection is closed; None where the verdict refuses
/// nothing.  `about` is what the command was about.
pub fn refusal(hook: Hook, verdict: &Verdict, about: &str) -> Option<(Reply, bool)> {
    if verdict.is_failure() {
        let close = matches!(hook, Hook::PreConnection | Hook::Connect);
        let code = if close { 421 } else { 451 };
        return Some((Reply::new(code, "4.3.0", INTERNAL_ERROR), close));
    }
    let column = match verdict.code() {
        Code::Deny => 0,
        Code::DenySoft => 1,
        Code::DenyDisconnect => 2,
        Code::DenySoftDisconnect => 3,
        Code::Declined | Code::Ok | Code::Done => return None,
    };
    let answer = TABLE.iter().find(|row| row.hook == hook)?.answers[column]?;
    let text = match verdict.text() {
        "" => answer.text.replace("{}", about),
        text => text.to_owned(),
    };
    if let Some(code) = verdict.reply().filter(|code| code / 100 == answer.code / 100) {
        return Some((Reply::own(code, &text), answer.close));
    }
    let status = match (hook, answer.code / 100) {
        (Hook::Noop | Hook::Help | Hook::UnrecognizedCommand, _) => "5.5.1",
        (_, 4) => "4.7.1",
        _ => "5.7.1",
    };
    Some((Reply::new(answer.code, status, &text), answer.close))
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
    let is_plain = text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if is_plain || utf8 && !text.chars().any(char::is_control) {
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
    let fits = (0..=room).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(room);
    let end = line[..fits].rfind(' ').filter(|at| *at > 0).unwrap_or(fits);
    (&line[..end], Some(line[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{DECLINED, DONE, OK};

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
        for line in wire(&Reply::new(550, "5.7.1", &long), true).split_inclusive("\r\n") {
            assert!(line.len() <= LONGEST && line.starts_with("550"), "{line}");
        }
        let long = Reply::own(550, &"\u{fc}".repeat(700));
        for line in written(&long, Form { enhanced: true, utf8: true }).split_inclusive("\r\n") {
            assert!(line.len() <= LONGEST, "{line}");
        }
    }

    #[test]
    fn replies_are_ascii_unless_the_client_takes_utf_8() {
        let reply = Reply::own(250, "<\u{fc}b@\u{6771}>\u{85}\nb\u{e4}\tc");
        let form = Form { enhanced: false, utf8: true };
        assert_eq!(written(&reply, form), "250-<\u{fc}b@\u{6771}>?\r\n250 b\u{e4} c\r\n");
        assert_eq!(wire(&reply, false), "250-<?b@?>?\r\n250 b? c\r\n");
    }

    #[test]
    fn verdicts_become_upstreams_replies() {
        let cases = [
            (Hook::Connect, Verdict::denysoft(""), 450, BYE_NOW, true),
            (Hook::Mail, Verdict::deny(""), 550, "<a@b>, denied", false),
            (Hook::Mail, Verdict::denysoft_disconnect("no"), 421, "no", true),
            (Hook::Rcpt, Verdict::deny(""), 550, "relaying denied", false),
            (Hook::Data, Verdict::denysoft(""), 451, DENIED_NOW, false),
            (Hook::DataPost, Verdict::deny(""), 552, DENIED, false),
            (Hook::DataPostHeaders, Verdict::deny("x"), 552, "x", false),
            (Hook::Queue, Verdict::denysoft(""), 452, DENIED_NOW, false),
            (Hook::UnrecognizedCommand, Verdict::deny_disconnect("x"), 521, "x", true),
        ];
        for (hook, verdict, code, text, close) in cases {
            let (reply, closes) = refusal(hook, &verdict, "<a@b>").unwrap();
            assert_eq!((reply.code(), reply.text(), closes), (code, text, close), "{hook:?}");
        }
        for verdict in [OK, DECLINED, DONE] {
            assert!(refusal(Hook::Rcpt, &verdict, "").is_none());
        }
        assert!(refusal(Hook::DataHeadersEnd, &Verdict::deny(""), "").is_none());
    }

    /// RFC 2034 4: a status whose first digit is the code's.
    #[test]
    fn every_refusal_has_a_status_of_its_class() {
        use crate::hook::TABLE as HOOKS;
        let verdicts = [
            Verdict::deny(""),
            Verdict::denysoft("text"),
            Verdict::deny_disconnect("text (#5.7.1)"),
            Verdict::denysoft_disconnect("text (#5.7.1)"),
            Verdict::denysoft("text (#9.9.9)"),
            Verdict::deny("").with_reply(550),
            Verdict::denysoft("").with_reply(451),
            Verdict::failure("why"),
        ];
        let mut count = 0;
        for (row, verdict) in HOOKS.iter().flat_map(|row| verdicts.iter().map(move |v| (row, v))) {
            let Some((reply, _)) = refusal(row.hook, verdict, "x") else { continue };
            let line = wire(&reply, true);
            let (code, rest) = line.split_once(' ').unwrap();
            let status: Vec<&str> = rest.split(' ').next().unwrap().split('.').collect();
            let is_status = status.len() == 3 && status.iter().all(|n| n.parse::<u16>().is_ok());
            assert!(is_status && status[0] == &code[..1], "{} {verdict:?}: {line}", row.name);
            count += 1;
        }
        assert!(count > 4 * TABLE.len(), "{count}");
    }

    #[test]
    fn a_code_of_the_plugins_own_keeps_its_class() {
        for (verdict, want) in [
            (Verdict::deny("no (#5.1.1)").with_reply(550), "550 5.1.1 no\r\n"),
            (Verdict::deny("no").with_reply(554), "554 5.0.0 no\r\n"),
            (Verdict::denysoft("").with_reply(451), "451 4.0.0 Message denied temporarily\r\n"),
            (Verdict::deny("no").with_reply(250), "552 5.7.1 no\r\n"),
            (Verdict::denysoft("no").with_reply(550), "452 4.7.1 no\r\n"),
        ] {
            let (reply, _) = refusal(Hook::Queue, &verdict, "").unwrap();
            assert_eq!(wire(&reply, true), want);
        }
        assert!(refusal(Hook::Queue, &OK.with_reply(550), "").is_none());
    }

    #[test]
    fn a_failing_plugin_never_accepts() {
        let failure = Verdict::failure("why");
        let (reply, close) = refusal(Hook::Rcpt, &failure, "").unwrap();
        assert_eq!((reply.code(), reply.text(), close), (451, INTERNAL_ERROR, false));
        assert_eq!(refusal(Hook::Connect, &failure, "").unwrap().0.code(), 421);
    }
}
