//! RSET, NOOP, VRFY, HELP, QUIT, and what is none of our commands.

use crate::hook::{Call, Code, Hook};
use crate::settings::SMTPGREETING;
use crate::smtp::command::COMMANDS;
use crate::smtp::dialogue::Dialogue;
use crate::smtp::verb::mail::{SMTPUTF8, offers_smtputf8};

pub(crate) fn rset(dialogue: &mut Dialogue, _argument: &str) {
    dialogue.reset_transaction();
    dialogue.say(250, "2.0.0", "OK");
}

pub(crate) fn noop(dialogue: &mut Dialogue, argument: &str) {
    let words: Vec<&str> = argument.split_whitespace().collect();
    let verdict = dialogue.ask(Hook::Noop, &Call::Words("noop", &words));
    if !dialogue.settled(Hook::Noop, &verdict, "") {
        dialogue.say(250, "2.0.0", "OK");
    }
}

pub(crate) fn vrfy(dialogue: &mut Dialogue, argument: &str) {
    let mut words: Vec<&str> = argument.split_whitespace().collect();
    let is_utf8 = words.len() > 1
        && words.last().is_some_and(|word| word.eq_ignore_ascii_case(SMTPUTF8))
        && offers_smtputf8(dialogue);
    if is_utf8 {
        words.pop();
        dialogue.takes_utf8 = true;
    }
    if !argument.is_ascii() && (!is_utf8 || argument.contains(char::REPLACEMENT_CHARACTER)) {
        return dialogue.say(501, "5.6.7", "An address outside ASCII needs SMTPUTF8");
    }
    let verdict = dialogue.ask(Hook::Vrfy, &Call::Words("vrfy", &words));
    if dialogue.settled(Hook::Vrfy, &verdict, "") {
        if verdict.code() == Code::Deny {
            dialogue.reset_transaction();
        }
        return;
    }
    match (verdict.code(), verdict.text()) {
        (Code::Ok, "") => dialogue.say(250, "2.1.5", "User OK"),
        (Code::Ok, text) => dialogue.say(250, "2.1.5", text),
        _ => {
            let text = "Just try sending a mail and we'll see how it turns out ...";
            dialogue.say(252, "2.5.0", text);
        }
    }
}

pub(crate) fn help(dialogue: &mut Dialogue, argument: &str) {
    let words: Vec<&str> = argument.split_whitespace().collect();
    let verdict = dialogue.ask(Hook::Help, &Call::Words("help", &words));
    if dialogue.settled(Hook::Help, &verdict, "") {
        return;
    }
    let text = match verdict.text() {
        "" => default_help(dialogue),
        text => text.to_owned(),
    };
    dialogue.say(214, "2.0.0", &text);
}

pub(crate) fn quit(dialogue: &mut Dialogue, _argument: &str) {
    let verdict = dialogue.ask(Hook::Quit, &Call::Nothing);
    if verdict.code() != Code::Done {
        let text = match verdict.text() {
            text if text.is_empty() || verdict.is_failure() => {
                format!("{} closing connection. Have a wonderful day.", dialogue.session.me())
            }
            text => text.to_owned(),
        };
        dialogue.say(221, "2.0.0", &text);
    }
    dialogue.disconnect();
}

/// A line that begins with none of our verbs; `verb` is empty for an empty line.
pub(crate) fn unrecognized(dialogue: &mut Dialogue, verb: &str, argument: &str) {
    let verb = verb.to_lowercase();
    let rest = argument.trim();
    let verdict = dialogue.ask(Hook::UnrecognizedCommand, &Call::Command(&verb, rest));
    if !dialogue.settled(Hook::UnrecognizedCommand, &verdict, "") {
        dialogue.say(500, "5.5.1", "Unrecognized command");
    }
}

/// The command table.  The version is not told where `config/smtpgreeting` hides it.
fn default_help(dialogue: &mut Dialogue) -> String {
    let version = match dialogue.session.setting(SMTPGREETING) {
        Some(_) => "",
        None => env!("CARGO_PKG_VERSION"),
    };
    let mut lines = vec![format!("This is qpsmtpd {version}").trim_end().to_owned()];
    let may_speak_for_others = super::xclient::is_allowed(dialogue);
    for command in COMMANDS.iter().filter(|command| command.is_of(dialogue.is_lmtp)) {
        if command.verb == "XCLIENT" && !may_speak_for_others {
            continue;
        }
        lines.push(format!("  {} {}", command.verb, command.usage).trim_end().to_owned());
    }
    lines.push("End of HELP".into());
    lines.join("\n")
}
