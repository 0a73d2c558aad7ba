//! RCPT (RFC 5321 4.1.1.3).

use crate::hook::{Call, Code, ENVELOPE_RCPT, Hook};
use crate::mail::{Address, notify};
use crate::settings::MAX_RECIPIENTS;
use crate::smtp::dialogue::Dialogue;
use crate::smtp::verb::mail::{DSN, SMTPUTF8, SYNTAX, is_readable, offers_dsn, path_and_params};
use crate::state::Params;

/// The answer to a path that is none.
const NO_PATH: &str = "could not parse recipient";

pub(crate) fn rcpt(dialogue: &mut Dialogue, argument: &str) {
    dialogue.session.connection.notes.set(ENVELOPE_RCPT, argument.to_owned());
    let parsed = dialogue.ask(Hook::RcptParse, &Call::Line(argument));
    if parsed.is_failure() {
        dialogue.settled(Hook::Rcpt, &parsed, "");
        return;
    }
    let found = match path_and_params(&parsed, argument, "TO:", NO_PATH) {
        Ok((path, _)) if path.is_empty() => Err("Syntax error in address".into()),
        found => found,
    };
    // What can be taken apart is out of order first, and a bad path only then.
    let has_sender = dialogue.session.transaction.sender().is_some();
    let (path, params) = match found {
        Ok(found) if has_sender => found,
        Err(text) if has_sender || text != NO_PATH => return dialogue.say(501, "5.5.4", &text),
        _ => return dialogue.say(503, "5.5.1", "Use MAIL before RCPT"),
    };
    if dialogue.chunks.is_some() {
        return dialogue.say(503, "5.5.1", "The message is on its way already");
    }
    let most = dialogue.session.setting(MAX_RECIPIENTS);
    if most > 0 && dialogue.session.transaction.recipients().len() as u64 >= most {
        return dialogue.say(452, "4.5.3", "Too many recipients");
    }
    let mended = dialogue.ask(Hook::RcptPre, &Call::Path(&path, &params));
    if dialogue.settled(Hook::Rcpt, &mended, &path) {
        return;
    }
    let path = if mended.code() == Code::Ok { mended.text() } else { &path };
    let recipient = match Address::parse(path) {
        Ok(address) if !is_readable(&address, &dialogue.session.transaction.mail_params) => {
            return dialogue.say(501, "5.6.7", NO_PATH);
        }
        Ok(address) if !address.is_null() => address,
        _ => return dialogue.say(501, "5.1.3", NO_PATH),
    };
    let is_utf8 = dialogue.session.transaction.mail_params.get(SMTPUTF8).is_some();
    if offers_dsn(dialogue) && !asks_well(&params, is_utf8) {
        let (code, status, text) = SYNTAX;
        return dialogue.say(code, status, text);
    }
    dialogue.session.take_replaced();
    let verdict = dialogue.ask(Hook::Rcpt, &Call::Address(&recipient, &params));
    let recipient = dialogue.session.take_replaced().unwrap_or(recipient);
    let shown = recipient.to_string();
    if dialogue.settled(Hook::Rcpt, &verdict, &shown) {
        return;
    }
    if verdict.code() != Code::Ok {
        return dialogue.say(450, "4.7.1", "No plugin decided if relaying is allowed");
    }
    dialogue.say(250, "2.1.5", &format!("{shown}, recipient ok"));
    dialogue.stream.waits.is_proven();
    dialogue.junk.got_on();
    let known: &[&str] = if offers_dsn(dialogue) { &[] } else { &DSN };
    dialogue.session.transaction.accept_recipient(recipient, params.without(known));
}

/// NOTIFY and ORCPT, each at most once and well-formed (RFC 3461 4.1, 4.2).
fn asks_well(params: &Params, is_utf8: bool) -> bool {
    params.count("notify") <= 1
        && params.count("orcpt") <= 1
        && params.get("notify").is_none_or(|value| notify::Notify::parse(value).is_some())
        && params.get("orcpt").is_none_or(|value| {
            (value.is_ascii() || is_utf8) && notify::original_recipient(value).is_some()
        })
}
