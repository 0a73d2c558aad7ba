//! RCPT (RFC 5321 4.1.1.3).

use crate::hook::{Call, Code, ENVELOPE_RCPT, Extension, Hook, Outcome};
use crate::mail::{Address, notify};
use crate::settings::MAX_RECIPIENTS;
use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::envelope::{Unread, is_readable, malformed_params, meant, path_and_params};
use crate::smtp::syntax::path::SMTPUTF8;
use crate::smtp::syntax::reply::Reply;
use crate::state::Params;

/// The answer to a path that is none.
const NO_PATH: &str = "could not parse recipient";

pub(crate) fn rcpt(dialogue: &mut Dialogue, argument: &str) -> Answer {
    dialogue.session.connection.notes.set(ENVELOPE_RCPT, argument.to_owned());
    let found = match path_and_params(dialogue, Hook::RcptParse, argument, "TO:")? {
        Ok((path, _)) if path.is_empty() => Err(Unread::Other("Syntax error in address".into())),
        found => found,
    };
    // Without a sender the command is out of order, 503, even where its path is none.  Another error
    // of syntax is told first, 501.
    let has_sender = dialogue.session.transaction.sender().is_some();
    let (path, params) = match found {
        Ok(found) if has_sender => found,
        Ok(_) => return Ok(no_sender()),
        Err(Unread::NoPath) if !has_sender => return Ok(no_sender()),
        Err(unread) => return Ok(unread.reply(NO_PATH)),
    };
    if dialogue.chunks.is_some() {
        return Ok(Reply::new(503, "5.5.1", "The message is on its way already"));
    }
    let most = dialogue.session.setting(MAX_RECIPIENTS);
    if most > 0 && dialogue.session.transaction.recipients().len() as u64 >= most {
        return Ok(Reply::new(452, "4.5.3", "Too many recipients"));
    }
    let rewritten = dialogue.ask(Hook::RcptPre, &Call::Path(&path, &params))?;
    let path = if rewritten.code() == Code::Ok { rewritten.text() } else { &path };
    let recipient = match Address::parse(path) {
        Ok(address) if !is_readable(&address, &dialogue.session.transaction.mail_params) => {
            return Ok(Reply::new(501, "5.6.7", NO_PATH));
        }
        Ok(address) if !address.is_null() => address,
        _ => return Ok(Reply::new(501, "5.1.3", NO_PATH)),
    };
    let is_utf8 = dialogue.session.transaction.mail_params.get(SMTPUTF8).is_some();
    if dialogue.offers(Extension::Dsn) && !asks_well(&params, is_utf8) {
        return Ok(malformed_params());
    }
    let Outcome { verdict: decision, said } =
        dialogue.consult_for(Hook::Rcpt, &Call::Address(&recipient, &params), 1);
    let recipient = said.and_then(|said| said.address).unwrap_or(recipient);
    let shown = recipient.path();
    let verdict = dialogue.answer(Hook::Rcpt, decision, &shown)?;
    if verdict.code() != Code::Ok {
        return Ok(Reply::new(450, "4.7.1", "No plugin decided if relaying is allowed"));
    }
    dialogue.stream.waits.is_proven();
    dialogue.junk.got_on();
    let params = meant(dialogue, params);
    dialogue.session.transaction.accept_recipient(recipient, params);
    Ok(Reply::new(250, "2.1.5", shown + ", recipient ok"))
}

fn no_sender() -> Reply {
    Reply::new(503, "5.5.1", "Use MAIL before RCPT")
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
