//! The greeting: the first one, and that after XCLIENT.

use crate::hook::{Call, Hook};
use crate::settings::SMTPGREETING;
use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::syntax::reply::Reply;

/// Asks whether the client may speak, and greets it.
pub(crate) fn greeting(dialogue: &mut Dialogue) -> Answer {
    let decision = dialogue.consult(Hook::Connect, &Call::Nothing);
    dialogue.session.remember_greeted();
    dialogue.answer(Hook::Connect, decision, "")?;
    let protocol = if dialogue.is_lmtp { "LMTP" } else { "ESMTP" };
    let text = match dialogue.session.setting(SMTPGREETING) {
        Some(text) if has_word(&text, protocol) => text,
        Some(text) => format!("{text} {protocol}"),
        None => format!(
            "{} {protocol} qpsmtpd {} ready; send us your mail, but not your spam.",
            dialogue.session.me(),
            env!("CARGO_PKG_VERSION")
        ),
    };
    Ok(Reply::new(220, "", text))
}

/// `config/smtpgreeting` is taken as it is when it says the protocol already.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_that_says_esmtp_is_found() {
        assert!(has_word("mx.example ESMTP ready", "ESMTP"));
        assert!(has_word("ESMTP", "ESMTP"));
        assert!(!has_word("mx.example XESMTP", "ESMTP"));
    }
}
