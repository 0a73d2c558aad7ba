//! The argument of MAIL and RCPT (RFC 5321 4.1.2): a path and parameters.

use crate::state::Params;

/// The parameter of RFC 6531 3.4.
pub const SMTPUTF8: &str = "smtputf8";

/// The parameters of MAIL and RCPT that RFC 3461 has.
pub const DSN: [&str; 4] = ["ret", "envid", "notify", "orcpt"];

/// What an argument of MAIL or RCPT lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It does not begin with the keyword.
    Command,
    /// There is nothing, or a path without its end.
    Path,
    /// What follows the path are no parameters.
    Parameters,
}

/// `FROM:<path> KEY=value ...`, of which `FROM:` is the keyword: the path as text, and the
/// parameters.  The path need not have brackets here: a plugin may add them.
///
/// # Errors
/// What is wrong with it.
pub fn parse<'a>(argument: &'a str, keyword: &str) -> Result<(&'a str, Params), Malformed> {
    if argument.is_empty() {
        return Err(Malformed::Path);
    }
    let rest = match argument.get(..keyword.len()) {
        Some(start) if start.eq_ignore_ascii_case(keyword) => argument[keyword.len()..].trim(),
        _ => return Err(Malformed::Command),
    };
    let end = match rest.starts_with('<') {
        true => end_of_path(rest).ok_or(Malformed::Path)?,
        false => rest.find([' ', '\t']).unwrap_or(rest.len()),
    };
    let (path, words) = rest.split_at(end);
    if !words.is_empty() && !words.starts_with([' ', '\t']) {
        let parameters = words.trim_end().contains([' ', '\t']);
        return Err(if parameters { Malformed::Parameters } else { Malformed::Path });
    }
    let words: Vec<&str> = words.split_whitespace().collect();
    if !words.iter().all(|word| is_param(word)) {
        return Err(Malformed::Parameters);
    }
    Ok((path, Params::from_words(words)))
}

/// Where a path that begins with `<` ends: after the `>` that is not in a quoted string.
fn end_of_path(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// esmtp-param of RFC 5321 4.1.2.
fn is_param(word: &str) -> bool {
    let (key, value) = match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    };
    key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && value.is_none_or(|value| {
            !value.is_empty() && !value.chars().any(|c| c == '=' || c.is_control())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_parameters_are_told_apart() {
        for (argument, path, size) in [
            ("FROM:<a@b>", "<a@b>", None),
            ("from: <a@b> SIZE=10 BODY=8BITMIME", "<a@b>", Some("10")),
            ("FROM:<\"a> b\"@c> size=1", "<\"a> b\"@c>", Some("1")),
            ("FROM:<\"a\\\">\"@c> size=1", "<\"a\\\">\"@c>", Some("1")),
            ("FROM:a@b SIZE=5", "a@b", Some("5")),
            ("FROM:<>\tSIZE=7", "<>", Some("7")),
            ("FROM:", "", None),
        ] {
            let (found, params) = parse(argument, "FROM:").unwrap();
            assert_eq!((found, params.get("size")), (path, size), "{argument}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        for (argument, wrong) in [
            ("", Malformed::Path),
            ("<a@b>", Malformed::Command),
            ("TO:<a@b>", Malformed::Command),
            ("FROM:<a@b", Malformed::Path),
            ("FROM:<a@b>SIZE=1", Malformed::Path),
            ("FROM:<a@b>, <c@d>", Malformed::Parameters),
            ("FROM:<a@b> SIZE= =x", Malformed::Parameters),
            ("FROM:<a@b> -X=1", Malformed::Parameters),
            ("FROM:<a@b> X=1=2", Malformed::Parameters),
        ] {
            assert_eq!(parse(argument, "FROM:").unwrap_err(), wrong, "{argument}");
        }
    }
}
