//! HELP (RFC 5321 4.1.1.8).

use crate::hook::{Call, Hook};
use crate::settings::SMTPGREETING;
use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::syntax::reply::Reply;

/// `usages` are the commands that this client may use, a line each.
pub(crate) fn help(
    dialogue: &mut Dialogue,
    argument: &str,
    usages: fn(&mut Dialogue) -> Vec<String>,
) -> Answer {
    let words: Vec<&str> = argument.split_whitespace().collect();
    let verdict = dialogue.ask(Hook::Help, &Call::Words("help", &words))?;
    if !verdict.text().is_empty() {
        return Ok(Reply::new(214, "2.0.0", verdict.text().to_owned()));
    }
    // The version is not told where `config/smtpgreeting` hides it.
    let version = match dialogue.session.setting(SMTPGREETING) {
        Some(_) => "",
        None => env!("CARGO_PKG_VERSION"),
    };
    let mut lines = vec![format!("This is qpsmtpd {version}").trim_end().to_owned()];
    lines.extend(usages(dialogue));
    lines.push("End of HELP".into());
    Ok(Reply::new(214, "2.0.0", lines.join("\n")))
}
