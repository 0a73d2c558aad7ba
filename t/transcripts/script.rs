//! Reads a transcript; the language is described in `mod.rs`.

use std::iter::Peekable;

use regex::Regex;

use super::want::{Want, pattern};
use crate::harness::Model;

/// Lines that many sessions have in common.
const SHORTHAND: &[(&str, &str)] = &[
    ("@helo", "<* 220\n> HELO client.test\n<* 250"),
    ("@ehlo", "<* 220\n> EHLO client.test\n<* 250"),
    (
        "@mail",
        "> MAIL FROM:<a@example.net>\n< 250 <a@example.net>, sender OK - how exciting to get mail from you!",
    ),
    ("@rcpt", "> RCPT TO:<b@example.com>\n< 250 <b@example.com>, recipient ok"),
    (
        "@message",
        "> DATA\n< 354 go ahead\n> Subject: hi\n> From: a@example.net\n> To: b@example.com\n>\n> body line\n> .\n<~ 250 Queued!.*",
    ),
    ("@quit", "> QUIT\n< 221 mail.test closing connection. Have a wonderful day.\n! closed"),
];

/// A file.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) models: Vec<Model>,
    /// Names and texts of the configuration files that differ from the common ones.
    pub(crate) config: Vec<(String, String)>,
    pub(crate) sessions: Vec<Session>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) title: String,
    /// The number of the title's line.
    pub(crate) at: usize,
    /// Each with the number of its line.
    pub(crate) steps: Vec<(usize, Step)>,
    pub(crate) mails: usize,
    pub(crate) headers: Vec<Regex>,
    pub(crate) bodies: Vec<String>,
}

/// What happens in a session.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Line(Want),
    /// The rest of a reply: its code, the texts of lines that it has, and that it has not.
    Rest {
        code: String,
        has: Vec<Regex>,
        lacks: Vec<Regex>,
    },
    Closed,
    Log(String),
}

impl Script {
    /// Reads the text of a file; an error begins with the number of its line.
    pub(crate) fn parse(text: &str) -> Result<Script, String> {
        let mut script =
            Script { models: Model::ALL.to_vec(), config: Vec::new(), sessions: Vec::new() };
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line)).peekable();
        while let Some((at, line)) = lines.next() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let wrong = |what: &str| format!("{at}: {what}: {line}");
            if let Some(title) = line.strip_prefix("== ") {
                script.sessions.push(Session::new(title, at));
            } else if let Some(session) = script.sessions.last_mut() {
                session.add(at, line, &mut lines).map_err(|what| wrong(&what))?;
            } else {
                script.head(line, &mut lines).map_err(|what| wrong(&what))?;
            }
        }
        if script.sessions.is_empty() { Err("1: no session".to_string()) } else { Ok(script) }
    }

    fn head<'a>(
        &mut self,
        line: &str,
        lines: &mut Peekable<impl Iterator<Item = (usize, &'a str)>>,
    ) -> Result<(), String> {
        let (key, value) = line.split_once(':').ok_or("neither a setting nor a session")?;
        if key == "models" {
            let model = |name| Model::ALL.into_iter().find(|model| model.to_string() == name);
            let models = value.split_whitespace().map(model).collect::<Option<_>>();
            self.models = models.ok_or("no such model")?;
            return Ok(());
        }
        let name = key.strip_prefix("config ").or((key == "plugins").then_some(key));
        let name = name.ok_or("no such setting")?.to_string();
        let text = if value.trim().is_empty() { block(lines) } else { value.trim().to_string() };
        self.config.push((name, text));
        Ok(())
    }
}

impl Session {
    fn new(title: &str, at: usize) -> Session {
        let (headers, bodies) = (Vec::new(), Vec::new());
        Session { title: title.to_string(), at, steps: Vec::new(), mails: 0, headers, bodies }
    }

    fn add<'a>(
        &mut self,
        at: usize,
        line: &str,
        lines: &mut Peekable<impl Iterator<Item = (usize, &'a str)>>,
    ) -> Result<(), String> {
        if line.starts_with('@') {
            let found = SHORTHAND.iter().find(|(name, _)| *name == line.trim());
            let (_, text) = found.ok_or("no such shorthand")?;
            return text.lines().try_for_each(|line| self.add(at, line, lines));
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| "no number");
        match word {
            ">" => self.step(at, Step::Send(format!("{rest}\r\n").into_bytes())),
            ">>" => self.step(at, Step::Send(unescape(rest)?)),
            "<" => self.step(at, Step::Line(Want::Text(rest.to_string()))),
            "<=" => self.step(at, Step::Line(Want::Exactly(rest.to_string()))),
            "<~" => self.step(at, Step::Line(Want::Pattern(pattern(rest)?))),
            "<*" => self.step(at, the_rest(rest)?),
            "!" if rest == "closed" => self.step(at, Step::Closed),
            "log:" => self.step(at, Step::Log(rest.to_string())),
            "mail:" => self.mails = number(rest)?,
            "header:" => self.headers.push(pattern(rest)?),
            "body:" => self.bodies.push(block(lines) + "\n"),
            _ => {
                let times = number(word.strip_prefix(">*").ok_or("not understood")?)?;
                self.step(at, Step::Send(format!("{rest}\r\n").repeat(times).into_bytes()));
            }
        }
        Ok(())
    }

    /// Adds a step; a run of bytes to send becomes one.
    fn step(&mut self, at: usize, step: Step) {
        match (self.steps.last_mut(), step) {
            (Some((_, Step::Send(earlier))), Step::Send(bytes)) => earlier.extend(bytes),
            (_, step) => self.steps.push((at, step)),
        }
    }
}

/// Reads what follows `<*`.
fn the_rest(text: &str) -> Result<Step, String> {
    let (code, texts) = text.split_once(' ').unwrap_or((text, ""));
    let mut rest = (Vec::new(), Vec::new());
    for text in texts.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match text.strip_prefix('!') {
            Some(text) => rest.1.push(pattern(text)?),
            None => rest.0.push(pattern(text)?),
        }
    }
    Ok(Step::Rest { code: code.to_string(), has: rest.0, lacks: rest.1 })
}

/// The lines that follow, four blanks deep; an empty line belongs to them when more follow it.
fn block<'a>(lines: &mut Peekable<impl Iterator<Item = (usize, &'a str)>>) -> String {
    let mut text = String::new();
    let inside = |(_, line): &(usize, &str)| line.starts_with("    ") || line.is_empty();
    while let Some((_, line)) = lines.next_if(inside) {
        text = text + line.strip_prefix("    ").unwrap_or(line) + "\n";
    }
    text.trim_end_matches('\n').to_string()
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [rest.next(), rest.next()].map(|byte| byte.unwrap_or(b' ') as char);
                let digits: String = digits.iter().collect();
                u8::from_str_radix(&digits, 16).map_err(|_| "no two digits after \\x")?
            }
            _ => return Err("no such escape".to_string()),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_is_not_understood_says_where() {
        for (text, why) in [
            ("models: inetd", "1: no session"),
            ("models: async\n== x", "1: no such model: models: async"),
            ("config: me\n== x", "1: no such setting: config: me"),
            ("== x\n@hello", "2: no such shorthand: @hello"),
            ("== x\n>> \\q", "2: no such escape: >> \\q"),
            ("== x\n250 OK", "2: not understood: 250 OK"),
            ("== x\n! open", "2: not understood: ! open"),
        ] {
            assert_eq!(Script::parse(text).unwrap_err(), why);
        }
    }

    #[test]
    fn a_block_ends_where_its_margin_ends() {
        let text = "plugins:\n    a\n\n    b\n\nconfig me: m\n== s\nbody:\n    one\n\n";
        let script = Script::parse(text).unwrap();
        let named = |name: &str, text: &str| (name.to_string(), text.to_string());
        assert_eq!(script.config, [named("plugins", "a\n\nb"), named("me", "m")]);
        assert_eq!(script.sessions[0].bodies, ["one\n"]);
    }

    #[test]
    fn lines_to_send_become_one_write() {
        let script = Script::parse("== s\n> A\n>*2 b\n>> \\x41\\0\n< 250 ok\n> C").unwrap();
        let steps = &script.sessions[0].steps;
        assert!(matches!(&steps[0].1, Step::Send(bytes) if bytes == b"A\r\nb\r\nb\r\nA\0"));
        assert!(matches!(&steps[2].1, Step::Send(bytes) if bytes == b"C\r\n"));
    }
}
