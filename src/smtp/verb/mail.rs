//! MAIL (RFC 5321 4.1.1.2), and the syntax that it shares with RCPT.

use crate::hook::{Ability, Call, Code, ENVELOPE_FROM, Hook, Verdict};
use crate::log::Level;
use crate::mail::{Address, notify};
use crate::settings::DATABYTES;
use crate::smtp::dialogue::Dialogue;
use crate::smtp::stream::End;
use crate::state::Params;

/// The parameter of RFC 6531 3.4.
pub(crate) const SMTPUTF8: &str = "smtputf8";

/// The parameters of MAIL and RCPT that RFC 3461 has.
pub(crate) const DSN: [&str; 4] = ["ret", "envid", "notify", "orcpt"];

/// The answer to parameters that are malformed.
pub(crate) const SYNTAX: (u16, &str, &str) = (501, "5.5.4", "Syntax error in parameters");

/// The answer to a path that is none.
const NO_PATH: &str = "could not parse your mail from command";

pub(crate) fn mail(dialogue: &mut Dialogue, argument: &str) {
    dialogue.reset_transaction();
    if dialogue.stream.is_to_leave() {
        return dialogue.give_up(End::Stopping);
    }
    if dialogue.session.connection.hello.is_none() {
        return dialogue.say(503, "5.5.1", "please say hello first ...");
    }
    dialogue.session.connection.notes.set(ENVELOPE_FROM, argument.to_owned());
    let parsed = dialogue.ask(Hook::MailParse, &Call::Line(argument));
    if parsed.is_failure() {
        dialogue.settled(Hook::Mail, &parsed, "");
        return;
    }
    let (path, params) = match path_and_params(&parsed, argument, "FROM:", NO_PATH) {
        Ok(found) => found,
        Err(text) => return dialogue.say(501, "5.5.4", &text),
    };
    let mended = dialogue.ask(Hook::MailPre, &Call::Path(&path, &params));
    if dialogue.settled(Hook::Mail, &mended, &path) {
        return;
    }
    let path = if mended.code() == Code::Ok { mended.text() } else { &path };
    let sender = match Address::parse(path) {
        _ if is_nobody(path) => Address::null(),
        Ok(address) if is_readable(&address, &params) => address,
        Ok(_) => return dialogue.say(501, "5.6.7", NO_PATH),
        Err(_) => return dialogue.say(501, "5.1.7", NO_PATH),
    };
    if let Some((code, status, text)) = wrong_param(dialogue, &params) {
        return dialogue.say(code, status, text);
    }
    dialogue.takes_utf8 = params.get(SMTPUTF8).is_some();
    dialogue.session.take_replaced();
    let verdict = dialogue.ask(Hook::Mail, &Call::Address(&sender, &params));
    let sender = dialogue.session.take_replaced().unwrap_or(sender);
    let shown = sender.to_string();
    if dialogue.settled(Hook::Mail, &verdict, &shown) {
        dialogue.log(Level::Info, format_args!("{} mail from {shown}", verdict.code()));
        return;
    }
    let text = format!("{shown}, sender OK - how exciting to get mail from you!");
    dialogue.say(250, "2.1.0", &text);
    dialogue.junk.got_sender();
    dialogue.session.begin_transaction();
    let known: &[&str] = if offers_dsn(dialogue) { &[] } else { &DSN };
    dialogue.session.transaction.mail_params = params.without(known);
    dialogue.session.transaction.set_sender(sender);
}

/// Does this path say `<>` in other words?  qmail sends double bounces from the first, and some
/// clients the second.
fn is_nobody(path: &str) -> bool {
    let is_path = path.starts_with('<') && path.ends_with('>');
    path == "<#@[]>" || (is_path && path.contains("[undefined]"))
}

/// Does this client get SMTPUTF8 (RFC 6531)?  Only where the plugins that queue can do it.
pub(crate) fn offers_smtputf8(dialogue: &Dialogue) -> bool {
    let is_esmtp = dialogue.session.connection.is_esmtp();
    is_esmtp && dialogue.session.plugins().can(Ability::Smtputf8)
}

/// Does this client get DSN (RFC 3461)?  Only where the plugins that queue can hand on what it asks.
pub(crate) fn offers_dsn(dialogue: &Dialogue) -> bool {
    let is_esmtp = dialogue.session.connection.is_esmtp();
    is_esmtp && dialogue.session.plugins().can(Ability::Dsn)
}

/// An address outside ASCII needs SMTPUTF8 among the parameters of its MAIL command.  Octets that
/// are no UTF-8 were replaced when the line was read.
pub(crate) fn is_readable(address: &Address, params: &Params) -> bool {
    address.is_ascii()
        || (params.get(SMTPUTF8).is_some()
            && !address.address().contains(char::REPLACEMENT_CHARACTER))
}

/// What a command's argument says: the path as text, and the parameters.
///
/// # Errors
/// The text of a 501.
pub(crate) fn path_and_params(
    parsed: &Verdict,
    argument: &str,
    keyword: &str,
    nothing: &str,
) -> Result<(String, Params), String> {
    match parsed.code() {
        Code::Ok => {
            let mut values = parsed.clone().into_values().into_iter();
            let path = values.next().ok_or("Syntax error in command")?;
            let words: Vec<String> = values.collect();
            Ok((path, Params::from_words(words.iter().map(String::as_str))))
        }
        Code::Declined => parse(argument, keyword, nothing),
        _ if parsed.text().is_empty() => Err("Syntax error in command".into()),
        _ => Err(parsed.text().to_owned()),
    }
}

/// `FROM:<path> KEY=value ...`.  The path need not have brackets here: a plugin may add them.
pub(crate) fn parse(
    argument: &str,
    keyword: &str,
    nothing: &str,
) -> Result<(String, Params), String> {
    if argument.is_empty() {
        return Err(nothing.into());
    }
    let rest = match argument.get(..keyword.len()) {
        Some(start) if start.eq_ignore_ascii_case(keyword) => argument[keyword.len()..].trim(),
        _ => return Err("Syntax error in command".into()),
    };
    let end = match rest.starts_with('<') {
        true => end_of_path(rest).ok_or(nothing)?,
        false => rest.find([' ', '\t']).unwrap_or(rest.len()),
    };
    let (path, words) = rest.split_at(end);
    if !words.is_empty() && !words.starts_with([' ', '\t']) {
        let parameters = words.trim_end().contains([' ', '\t']);
        return Err(if parameters { "Syntax error in parameters" } else { nothing }.into());
    }
    let words: Vec<&str> = words.split_whitespace().collect();
    if !words.iter().all(|word| is_param(word)) {
        return Err("Syntax error in parameters".into());
    }
    Ok((path.to_owned(), Params::from_words(words)))
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

/// What is wrong with the parameters that we know: code, status and text of the reply.
fn wrong_param(
    dialogue: &mut Dialogue,
    params: &Params,
) -> Option<(u16, &'static str, &'static str)> {
    if let Some(body) = params.get("body")
        && !["7BIT", "8BITMIME"].iter().any(|known| body.eq_ignore_ascii_case(known))
    {
        return Some(SYNTAX);
    }
    match params.get(SMTPUTF8) {
        Some("") if offers_smtputf8(dialogue) => {}
        Some("") => return Some((555, "5.6.7", "SMTPUTF8 is not supported")),
        Some(_) => return Some(SYNTAX),
        None => {}
    }
    if offers_dsn(dialogue) && !asks_well(params) {
        return Some(SYNTAX);
    }
    let size = params.get("size")?;
    if size.is_empty() || size.len() > 20 || !size.bytes().all(|b| b.is_ascii_digit()) {
        return Some(SYNTAX);
    }
    let most = dialogue.session.setting(DATABYTES);
    let size = size.parse::<u64>().unwrap_or(u64::MAX);
    (most > 0 && size > most).then_some((552, "5.3.4", "Message too big!"))
}

/// RET and ENVID, each at most once and well-formed.
fn asks_well(params: &Params) -> bool {
    params.count("ret") <= 1
        && params.count("envid") <= 1
        && params.get("ret").is_none_or(|value| notify::Return::parse(value).is_some())
        && params
            .get("envid")
            .is_none_or(|value| !value.is_empty() && notify::envelope_id(value).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(argument: &str) -> Result<(String, Params), String> {
        parse(argument, "FROM:", NO_PATH)
    }

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
            let (found, params) = from(argument).unwrap();
            assert_eq!((found.as_str(), params.get("size")), (path, size), "{argument}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_upstreams_words() {
        for (argument, text) in [
            ("", NO_PATH),
            ("<a@b>", "Syntax error in command"),
            ("TO:<a@b>", "Syntax error in command"),
            ("FROM:<a@b", NO_PATH),
            ("FROM:<a@b>SIZE=1", NO_PATH),
            ("FROM:<a@b>, <c@d>", "Syntax error in parameters"),
            ("FROM:<a@b> SIZE= =x", "Syntax error in parameters"),
            ("FROM:<a@b> -X=1", "Syntax error in parameters"),
            ("FROM:<a@b> X=1=2", "Syntax error in parameters"),
        ] {
            assert_eq!(from(argument).unwrap_err(), text, "{argument}");
        }
    }
}
