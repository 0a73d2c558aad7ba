//! VRFY (RFC 5321 4.1.1.6).

use crate::hook::{Call, Code, Extension, Hook};
use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::syntax::path::SMTPUTF8;
use crate::smtp::syntax::reply::Reply;

pub(crate) fn vrfy(dialogue: &mut Dialogue, argument: &str) -> Answer {
    let mut words: Vec<&str> = argument.split_whitespace().collect();
    let is_utf8 = words.len() > 1
        && words.last().is_some_and(|word| word.eq_ignore_ascii_case(SMTPUTF8))
        && dialogue.offers(Extension::Smtputf8);
    if is_utf8 {
        words.pop();
        dialogue.takes_utf8 = true;
    }
    if !argument.is_ascii() && (!is_utf8 || argument.contains(char::REPLACEMENT_CHARACTER)) {
        return Ok(Reply::new(501, "5.6.7", "An address outside ASCII needs SMTPUTF8"));
    }
    let decision = dialogue.consult(Hook::Vrfy, &Call::Words("vrfy", &words));
    let is_denied = decision.as_ref().is_ok_and(|verdict| verdict.code() == Code::Deny);
    let answered = dialogue.answer(Hook::Vrfy, decision, "");
    if is_denied {
        dialogue.reset_transaction();
    }
    let verdict = answered?;
    Ok(match (verdict.code(), verdict.text()) {
        (Code::Ok, "") => Reply::new(250, "2.1.5", "User OK"),
        (Code::Ok, text) => Reply::new(250, "2.1.5", text.to_owned()),
        _ => {
            let text = "Just try sending a mail and we'll see how it turns out ...";
            Reply::new(252, "2.5.0", text)
        }
    })
}
