//! QUIT (RFC 5321 4.1.1.10).

use crate::hook::{Call, Code, DECLINED, Hook};
use crate::smtp::dialogue::{Answer, Answered, Dialogue};
use crate::smtp::syntax::reply::Reply;

pub(crate) fn quit(dialogue: &mut Dialogue, _argument: &str) -> Answer {
    // The client may go even where a plugin fails.
    let verdict = dialogue.consult(Hook::Quit, &Call::Nothing).unwrap_or(DECLINED);
    if verdict.code() != Code::Done {
        let text = match verdict.text() {
            "" => format!("{} closing connection. Have a wonderful day.", dialogue.session.me()),
            text => text.to_owned(),
        };
        dialogue.reply(&Reply::new(221, "2.0.0", text));
    }
    dialogue.disconnect();
    Err(Answered)
}
