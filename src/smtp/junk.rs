//! Commands that bring no mail on, counted from one accepted message to the next: a session full of
//! mail never meets their limit, and a client that only talks does.

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
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// A command runs.
    pub(crate) fn begin(&mut self) {
        self.got_on = false;
    }

    /// Has the command that runs brought mail on?
    pub(crate) fn has_got_on(&self) -> bool {
        self.got_on
    }

    /// The command that ran is one more.
    pub(crate) fn add(&mut self) {
        self.count += 1;
    }

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
