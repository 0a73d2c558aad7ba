//! ```text
//! NAME
//!     parse_addr_withhelo - refuses parameters of MAIL and RCPT after HELO
//!
//! SYNOPSIS
//!     parse_addr_withhelo
//!
//! DESCRIPTION
//!     Parameters after the address belong to ESMTP.  A client that greeted with HELO and sends
//!     them all the same gets 501 "No parameters allowed in MAIL" or "... in RCPT".
//!
//!     A line without FROM: or TO: is answered 501 "Syntax error in command".  A line without
//!     anything like an address is answered 501 "Could not parse your MAIL FROM command" or "Could
//!     not parse your RCPT TO command".
//!
//!     "MAIL FROM:" without a path is refused, as it is without this plugin; the Perl plugin of the
//!     same name takes it as the null sender.
//!
//! SEE ALSO
//!     dont_require_anglebrackets
//! ```

use crate::error::Result;
use crate::hook::{Args, Hooks, Parsed, Session};
use crate::log::Level;
use crate::state::{Hello, Params};

/// A command: its verb, its keyword, the answer to what is no address, and the names that need no
/// domain to be one.
struct Syntax {
    verb: &'static str,
    keyword: &'static str,
    nothing: &'static str,
    names_alone: &'static [&'static str],
}

const MAIL: Syntax = Syntax {
    verb: "MAIL",
    keyword: "FROM:",
    nothing: "Could not parse your MAIL FROM command",
    names_alone: &[],
};
const RCPT: Syntax = Syntax {
    verb: "RCPT",
    keyword: "TO:",
    nothing: "Could not parse your RCPT TO command",
    names_alone: &["postmaster", "abuse"],
};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    hooks.mail_parse(|session, line| parse(session, line, &MAIL));
    hooks.rcpt_parse(|session, line| parse(session, line, &RCPT));
    Ok(())
}

fn parse(session: &Session, line: &str, syntax: &Syntax) -> Parsed {
    if session.connection.hello != Some(Hello::Helo) {
        return Parsed::Declined;
    }
    session.log(Level::Debug, format_args!("cmd=[{}], line=[{line}]", syntax.verb));
    match path(line, syntax) {
        Ok(path) => Parsed::Path(path.to_owned(), Params::default()),
        Err(text) => Parsed::Refused(text),
    }
}

/// The path, with its brackets if it has them.
fn path<'a>(line: &'a str, syntax: &Syntax) -> std::result::Result<&'a str, String> {
    let rest = match line.split_at_checked(syntax.keyword.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(syntax.keyword) => rest.trim(),
        _ => return Err("Syntax error in command".into()),
    };
    let end = match rest.starts_with('<') {
        true => end_of_path(rest).ok_or(syntax.nothing)?,
        false => rest.find(char::is_whitespace).unwrap_or(rest.len()),
    };
    let (path, more) = rest.split_at(end);
    let is_known =
        |path: &str| syntax.names_alone.iter().any(|name| path.eq_ignore_ascii_case(name));
    if !path.starts_with('<') && !path.contains('@') && !is_known(path) {
        return Err(syntax.nothing.into());
    }
    if !more.trim().is_empty() {
        return Err(format!("No parameters allowed in {}", syntax.verb));
    }
    Ok(path)
}

/// Where a path that begins with `<` ends: after the `>` that is not in a quoted string.
fn end_of_path(text: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'>' if !is_quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Call, Code, DECLINED, Hook, Verdict};
    use crate::testing::Trial;

    fn said(hello: Option<Hello>, hook: Hook, line: &str) -> Verdict {
        let mut trial = Trial::new("parse_addr_withhelo", &[]);
        trial.session.connection.hello = hello;
        trial.call(hook, &Call::Line(line))
    }

    #[test]
    fn paths_are_taken_without_parameters() {
        for (line, found) in [
            ("FROM:<a@b.test>", Ok("<a@b.test>")),
            ("from: <a@b.test> ", Ok("<a@b.test>")),
            ("FROM:<>", Ok("<>")),
            ("FROM:<\"a>b\"@c.test>", Ok("<\"a>b\"@c.test>")),
            ("FROM:a@b.test", Ok("a@b.test")),
            ("FROM:<a@b.test> SIZE=1", Err("No parameters allowed in MAIL")),
            ("FROM:<a@b.test>SIZE=1", Err("No parameters allowed in MAIL")),
            ("FROM:<a@b.test> AUTH=<>", Err("No parameters allowed in MAIL")),
            ("FROM:a@b.test SIZE=1", Err("No parameters allowed in MAIL")),
            ("FROM:<a@b.test", Err("Could not parse your MAIL FROM command")),
            ("FROM:abuse", Err("Could not parse your MAIL FROM command")),
            ("FROM:", Err("Could not parse your MAIL FROM command")),
            ("TO:<a@b.test>", Err("Syntax error in command")),
            ("", Err("Syntax error in command")),
            ("FR\u{fc}M:<a>", Err("Syntax error in command")),
        ] {
            assert_eq!(path(line, &MAIL), found.map_err(str::to_owned), "{line}");
        }
        for (line, found) in [
            ("TO:<a@b.test>", Ok("<a@b.test>")),
            ("TO:Postmaster", Ok("Postmaster")),
            ("TO:abuse", Ok("abuse")),
            ("TO:<a@b.test> NOTIFY=NEVER", Err("No parameters allowed in RCPT")),
            ("TO:nobody", Err("Could not parse your RCPT TO command")),
            ("FROM:<a@b.test>", Err("Syntax error in command")),
        ] {
            assert_eq!(path(line, &RCPT), found.map_err(str::to_owned), "{line}");
        }
    }

    #[test]
    fn only_helo_is_strict() {
        for (hook, line) in
            [(Hook::MailParse, "FROM:<a@b.test> X=1"), (Hook::RcptParse, "TO:<a@b.test> X=1")]
        {
            assert_eq!(said(Some(Hello::Helo), hook, line).code(), Code::Deny);
            assert_eq!(said(Some(Hello::Ehlo), hook, line), DECLINED);
            assert_eq!(said(None, hook, line), DECLINED);
        }
        assert!(Trial::load("parse_addr_withhelo strict", &[]).is_err());
    }
}
