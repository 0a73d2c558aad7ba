//! Commands that bring no mail on, counted from one accepted message to the next: a session full of
//! mail never meets their limit, and a client that only talks does.

use crate::log::Level;
use crate::settings::JUNK_COMMANDS;
use crate::smtp::command::Command;
use crate::smtp::dialogue::Dialogue;

/// How many commands brought nothing on since the last message that was accepted.
#[derive(Debug, Default)]
pub(crate) struct Junk {
    count: u64,
    /// Has the command that runs brought mail on?
    got_on: bool,
    /// Was there a MAIL?  The next one would undo it.
    had_mail: bool,
}

impl Junk {
    /// The command that runs has brought mail on.
    pub(crate) fn got_on(&mut self) {
        self.got_on = true;
    }

    /// A MAIL was accepted: the first one brings mail on.
    pub(crate) fn got_sender(&mut self) {
        self.got_on |= !std::mem::replace(&mut self.had_mail, true);
    }

    /// A message was accepted.
    pub(crate) fn got_message(&mut self) {
        *self = Junk { got_on: true, ..Junk::default() };
    }
}

/// Runs a command, unless there were too many before it that brought nothing on.
pub(crate) fn counted(
    dialogue: &mut Dialogue,
    command: Option<&Command>,
    run: impl FnOnce(&mut Dialogue),
) {
    let is_junk = command.is_none_or(|command| command.is_junk);
    if is_junk && is_over(dialogue, dialogue.junk.count + 1) {
        return send_away(dialogue);
    }
    dialogue.junk.got_on = false;
    run(dialogue);
    if dialogue.junk.got_on && !is_junk || dialogue.is_closing() {
        return;
    }
    dialogue.junk.count += 1;
    if !is_junk && is_over(dialogue, dialogue.junk.count) {
        send_away(dialogue);
    }
}

fn is_over(dialogue: &mut Dialogue, count: u64) -> bool {
    let most = dialogue.session.setting(JUNK_COMMANDS);
    most > 0 && count > most
}

fn send_away(dialogue: &mut Dialogue) {
    let ip = dialogue.session.connection.remote_ip;
    dialogue.log(Level::Notice, format_args!("too many commands without mail from {ip}"));
    dialogue.say(421, "4.7.0", "Too many commands without mail");
    dialogue.disconnect();
}
