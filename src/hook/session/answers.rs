//! What a handler says beside its verdict.

use std::collections::BTreeMap;

use super::Session;
use crate::hook::{Said, Verdict};
use crate::mail::Address;

/// Nothing was said of single recipients.
static NONE: BTreeMap<usize, Verdict> = BTreeMap::new();

impl Session {
    /// Answers the client in the core's stead; the handler then returns DONE.  Lines of `text`
    /// become lines of the reply.
    pub fn respond(&mut self, code: u16, text: impl Into<String>) {
        self.say().replies.push((code, text.into()));
    }

    /// Closes the connection after what has been said so far, once the running handler has
    /// returned.
    pub fn disconnect(&mut self) {
        self.say().hang_up = true;
    }

    /// In a handler of `mail` or `rcpt`: puts another address in the place of the one that the
    /// handlers are asked about, and in that of the one that those which follow are asked about.
    pub fn replace_address(&mut self, address: Address) {
        self.say().address = Some(address);
    }

    /// What was said with [`Session::respond`] and is not on its way yet, in order.
    pub fn responses(&self) -> &[(u16, String)] {
        self.said.as_ref().map_or(&[], |said| &said.replies)
    }

    /// At `queue`: what becomes of one recipient, by its place in the transaction's recipients, where
    /// that differs from the handler's verdict.  It is the recipient's reply in LMTP
    /// ([`crate::state::Connection::is_lmtp`]).  In SMTP there is one reply, and only the handler's verdict
    /// counts, which must not be OK then unless everybody has the message.  If the handler
    /// declines, it has said nothing.
    pub fn recipient_verdict(&mut self, place: usize, verdict: Verdict) {
        self.say().each.insert(place, verdict);
    }

    /// What was said with [`Session::recipient_verdict`].
    pub fn recipient_verdicts(&self) -> &BTreeMap<usize, Verdict> {
        self.said.as_ref().map_or(&NONE, |said| &said.each)
    }

    /// The address that handlers put in the place of the one that they are asked about.
    pub(in crate::hook) fn replaced_address(&self) -> Option<&Address> {
        self.said.as_ref()?.address.as_ref()
    }

    fn say(&mut self) -> &mut Said {
        self.said.get_or_insert_default()
    }
}
