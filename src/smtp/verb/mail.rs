//! MAIL (RFC 5321 4.1.1.2).

use crate::hook::{Call, Code, ENVELOPE_FROM, Extension, Hook, Outcome, verdict_of};
use crate::log::Level;
use crate::mail::{Address, notify};
use crate::settings::DATABYTES;
use crate::smtp::dialogue::{Answer, Answered, Dialogue};
use crate::smtp::envelope::{is_readable, malformed_params, meant, path_and_params};
use crate::smtp::stream::End;
use crate::smtp::syntax::path::SMTPUTF8;
use crate::smtp::syntax::reply::Reply;
use crate::state::Params;

/// The answer to a path that is none.
const NO_PATH: &str = "could not parse your mail from command";

pub(crate) fn mail(dialogue: &mut Dialogue, argument: &str) -> Answer {
    dialogue.reset_transaction();
    if dialogue.stream.is_to_leave() {
        return Err(dialogue.give_up(End::Stopping));
    }
    if dialogue.session.connection.hello.is_none() {
        return Ok(Reply::new(503, "5.5.1", "please say hello first ..."));
    }
    dialogue.session.connection.notes.set(ENVELOPE_FROM, argument.to_owned());
    let (path, params) = match path_and_params(dialogue, Hook::MailParse, argument, "FROM:")? {
        Ok(found) => found,
        Err(unread) => return Ok(unread.reply(NO_PATH)),
    };
    let rewritten = dialogue.ask(Hook::MailPre, &Call::Path(&path, &params))?;
    let path = if rewritten.code() == Code::Ok { rewritten.text() } else { &path };
    let sender = match Address::parse(path) {
        _ if is_nobody(path) => Address::null(),
        Ok(address) if is_readable(&address, &params) => address,
        Ok(_) => return Ok(Reply::new(501, "5.6.7", NO_PATH)),
        Err(_) => return Ok(Reply::new(501, "5.1.7", NO_PATH)),
    };
    if let Some(reply) = wrong_param(dialogue, &params) {
        return Ok(reply);
    }
    dialogue.takes_utf8 = params.get(SMTPUTF8).is_some();
    let Outcome { verdict: decision, said } =
        dialogue.consult_for(Hook::Mail, &Call::Address(&sender, &params), 1);
    let sender = said.and_then(|said| said.address).unwrap_or(sender);
    let shown = sender.path();
    let code = verdict_of(&decision).code();
    if let Err(answered) = dialogue.answer(Hook::Mail, decision, &shown) {
        dialogue.log(Level::Info, format_args!("{code} mail from {shown}"));
        return Err(answered);
    }
    // The log counts what follows to the transaction, and this reply not yet.
    let text = format!("{shown}, sender OK - how exciting to get mail from you!");
    dialogue.reply(&Reply::new(250, "2.1.0", text));
    dialogue.junk.got_sender();
    dialogue.session.begin_transaction();
    dialogue.session.transaction.mail_params = meant(dialogue, params);
    dialogue.session.transaction.set_sender(sender);
    Err(Answered)
}

/// Does this path say `<>` in other words?  qmail sends double bounces from the first, and some
/// clients the second.
fn is_nobody(path: &str) -> bool {
    let is_path = path.starts_with('<') && path.ends_with('>');
    path == "<#@[]>" || (is_path && path.contains("[undefined]"))
}

/// The reply to what is wrong with the parameters that we know.
fn wrong_param(dialogue: &mut Dialogue, params: &Params) -> Option<Reply> {
    if let Some(body) = params.get("body")
        && !["7BIT", "8BITMIME"].iter().any(|known| body.eq_ignore_ascii_case(known))
    {
        return Some(malformed_params());
    }
    match params.get(SMTPUTF8) {
        Some("") if dialogue.offers(Extension::Smtputf8) => {}
        Some("") => return Some(Reply::new(555, "5.6.7", "SMTPUTF8 is not supported")),
        Some(_) => return Some(malformed_params()),
        None => {}
    }
    if dialogue.offers(Extension::Dsn) && !asks_well(params) {
        return Some(malformed_params());
    }
    let size = params.get("size")?;
    if size.is_empty() || size.len() > 20 || !size.bytes().all(|b| b.is_ascii_digit()) {
        return Some(malformed_params());
    }
    let most = dialogue.session.setting(DATABYTES);
    let size = size.parse::<u64>().unwrap_or(u64::MAX);
    (most > 0 && size > most).then(|| Reply::new(552, "5.3.4", "Message too big!"))
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
