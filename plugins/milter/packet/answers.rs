//! THE table of what a filter answers.

use super::terms::{ADD_PARAMS, Terms};
use super::text;

/// What a filter wants changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A field at the end of the header section.
    AddHeader(Vec<u8>, Vec<u8>),
    /// A field before the one with this number, 0 being above all.
    InsertHeader(u32, Vec<u8>, Vec<u8>),
    /// Another value of a field, counted from 1 among those of its name; none where it is empty.
    ReplaceHeader(u32, Vec<u8>, Vec<u8>),
    /// One more recipient, with its parameters.
    AddRecipient(Vec<u8>, Vec<u8>),
    /// One recipient less.
    RemoveRecipient(Vec<u8>),
    /// Another sender, with parameters.
    Sender(Vec<u8>, Vec<u8>),
    /// A piece of another body.
    Body(Vec<u8>),
    /// The message is to be kept from its recipients, for this reason.
    Quarantine(Vec<u8>),
}

impl Change {
    /// The same with values that are all that follows the colon: a filter that does not know about that
    /// gives them without the blank.
    pub(crate) fn with_space(self, has_leading_space: bool) -> Change {
        let spaced = |value: Vec<u8>| match has_leading_space || value.is_empty() {
            true => value,
            false => [b" ", &value[..]].concat(),
        };
        match self {
            Change::AddHeader(name, value) => Change::AddHeader(name, spaced(value)),
            Change::InsertHeader(at, name, value) => Change::InsertHeader(at, name, spaced(value)),
            Change::ReplaceHeader(nth, name, value) => {
                Change::ReplaceHeader(nth, name, spaced(value))
            }
            other => other,
        }
    }
}

/// What a filter answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Continue,
    Accept,
    Discard,
    Reject,
    Tempfail,
    /// With this reply: its code, perhaps a status, and the text, perhaps of several lines.
    Reply(Vec<u8>),
    /// The client is sent away.
    Shutdown,
    /// The filter cannot do its work.
    ConnectionFailed,
    /// No more of the body.
    Skip,
    /// It needs more time.
    Progress,
    Change(Change),
}

/// One row of the table of answers.
pub(crate) struct Kind {
    /// How it is called in the log.
    pub(crate) name: &'static str,
    /// Its letter.
    pub(crate) letter: u8,
    /// The bit of the actions without which it must not come; 0: it may.
    action: u32,
    /// Makes it of its data.
    read: fn(&[u8]) -> Option<Answer>,
}

/// THE table of answers.
#[rustfmt::skip]
pub(crate) const ANSWERS: [Kind; 19] = [
    kind("CONTINUE",    b'c', 0,          |data| nothing(data, Answer::Continue)),
    kind("ACCEPT",      b'a', 0,          |data| nothing(data, Answer::Accept)),
    kind("DISCARD",     b'd', 0,          |data| nothing(data, Answer::Discard)),
    kind("REJECT",      b'r', 0,          |data| nothing(data, Answer::Reject)),
    kind("TEMPFAIL",    b't', 0,          |data| nothing(data, Answer::Tempfail)),
    kind("REPLYCODE",   b'y', 0,          |data| Some(Answer::Reply(only_text(data)?))),
    kind("SHUTDOWN",    b'4', 0,          |data| nothing(data, Answer::Shutdown)),
    kind("CONN_FAIL",   b'f', 0,          |data| nothing(data, Answer::ConnectionFailed)),
    kind("SKIP",        b's', 0,          |data| nothing(data, Answer::Skip)),
    kind("PROGRESS",    b'p', 0,          |data| nothing(data, Answer::Progress)),
    kind("ADDHEADER",   b'h', 0x01,       |data| pair(data, Change::AddHeader)),
    kind("REPLBODY",    b'b', 0x02,       |data| Some(Answer::Change(Change::Body(data.to_vec())))),
    kind("ADDRCPT",     b'+', 0x04,       |data| one(data, |to| Change::AddRecipient(to, vec![]))),
    kind("DELRCPT",     b'-', 0x08,       |data| one(data, Change::RemoveRecipient)),
    kind("CHGHEADER",   b'm', 0x10,       |data| numbered(data, Change::ReplaceHeader)),
    kind("INSHEADER",   b'i', 0x01 | 0x10,|data| numbered(data, Change::InsertHeader)),
    kind("QUARANTINE",  b'q', 0x20,       |data| one(data, Change::Quarantine)),
    kind("CHGFROM",     b'e', 0x40,       |data| with_params(data, Change::Sender)),
    kind("ADDRCPT_PAR", b'2', ADD_PARAMS, |data| with_params(data, Change::AddRecipient)),
];

const fn kind(
    name: &'static str,
    letter: u8,
    action: u32,
    read: fn(&[u8]) -> Option<Answer>,
) -> Kind {
    Kind { name, letter, action, read }
}

impl Terms {
    /// The answer in a packet: its letter, and its data.
    ///
    /// # Errors
    /// There is no such answer, or the filter may not give it, or the data is not of its kind.
    pub(crate) fn answer(&self, letter: u8, data: &[u8]) -> Result<Answer, String> {
        let Some(kind) = ANSWERS.iter().find(|kind| kind.letter == letter) else {
            return Err(format!("an answer that does not exist: '{}'", letter.escape_ascii()));
        };
        if kind.action > 0 && kind.action & self.actions == 0 {
            return Err(format!("{}, which it has not asked for", kind.name));
        }
        (kind.read)(data).ok_or_else(|| format!("{} with wrong data", kind.name))
    }
}

fn nothing(data: &[u8], answer: Answer) -> Option<Answer> {
    data.is_empty().then_some(answer)
}

/// A text that is all.  Some filters do not end a reply.
fn only_text(data: &[u8]) -> Option<Vec<u8>> {
    match text(data) {
        Some((text, [])) => Some(text.to_vec()),
        Some(_) => None,
        None => Some(data.to_vec()),
    }
}

fn one(data: &[u8], change: fn(Vec<u8>) -> Change) -> Option<Answer> {
    let (text, rest) = text(data)?;
    rest.is_empty().then(|| Answer::Change(change(text.to_vec())))
}

/// A name that is none, and a value.
fn pair(data: &[u8], change: fn(Vec<u8>, Vec<u8>) -> Change) -> Option<Answer> {
    let (name, rest) = text(data)?;
    let (value, rest) = text(rest)?;
    let is_whole = !name.is_empty() && rest.is_empty();
    is_whole.then(|| Answer::Change(change(name.to_vec(), value.to_vec())))
}

fn numbered(data: &[u8], change: fn(u32, Vec<u8>, Vec<u8>) -> Change) -> Option<Answer> {
    let (number, rest) = data.split_first_chunk::<4>()?;
    let (name, rest) = text(rest)?;
    let (value, rest) = text(rest)?;
    let number = u32::from_be_bytes(*number);
    let is_whole = !name.is_empty() && rest.is_empty();
    is_whole.then(|| Answer::Change(change(number, name.to_vec(), value.to_vec())))
}

/// An address, and parameters where there are any.
fn with_params(data: &[u8], change: fn(Vec<u8>, Vec<u8>) -> Change) -> Option<Answer> {
    let (address, rest) = text(data)?;
    let params = if rest.is_empty() { vec![] } else { only_text(rest)? };
    Some(Answer::Change(change(address.to_vec(), params)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_their_data() {
        let terms = Terms::offer(6);
        let change = |letter, data| match terms.answer(letter, data) {
            Ok(Answer::Change(change)) => Some(change),
            _ => None,
        };
        let v = |text: &str| text.as_bytes().to_vec();
        for (letter, data, want) in [
            (b'h', &b"X-A\0b\0"[..], Change::AddHeader(v("X-A"), v("b"))),
            (b'i', b"\0\0\0\x01X\0\0", Change::InsertHeader(1, v("X"), v(""))),
            (b'm', b"\0\0\x01\0X\0y\0", Change::ReplaceHeader(256, v("X"), v("y"))),
            (b'+', b"<a@b>\0", Change::AddRecipient(v("<a@b>"), v(""))),
            (b'2', b"<a@b>\0NOTIFY=NEVER\0", Change::AddRecipient(v("<a@b>"), v("NOTIFY=NEVER"))),
            (b'2', b"<a@b>\0", Change::AddRecipient(v("<a@b>"), v(""))),
            (b'-', b"<a@b>\0", Change::RemoveRecipient(v("<a@b>"))),
            (b'e', b"<>\0RET=HDRS\0", Change::Sender(v("<>"), v("RET=HDRS"))),
            (b'b', b"a\0b", Change::Body(v("a\0b"))),
            (b'q', b"why\0", Change::Quarantine(v("why"))),
        ] {
            assert_eq!(change(letter, data), Some(want));
        }
        assert_eq!(terms.answer(b'y', b"550 no\0"), Ok(Answer::Reply(v("550 no"))));
        assert_eq!(terms.answer(b'y', b"550 no"), Ok(Answer::Reply(v("550 no"))));
        for (letter, data, why) in [
            (b'z', &b""[..], "an answer that does not exist: 'z'"),
            (b'c', b"x", "CONTINUE with wrong data"),
            (b'h', b"X\0y", "ADDHEADER with wrong data"),
            (b'h', b"\0y\0", "ADDHEADER with wrong data"),
            (b'h', b"X\0y\0z", "ADDHEADER with wrong data"),
            (b'm', b"\0\0\x01X\0", "CHGHEADER with wrong data"),
            (b'y', b"550 a\0b\0", "REPLYCODE with wrong data"),
        ] {
            assert_eq!(terms.answer(letter, data).unwrap_err(), why);
        }
        let terms = Terms { actions: 0x10, ..terms };
        assert_eq!(
            terms.answer(b'h', b"X\0y\0").unwrap_err(),
            "ADDHEADER, which it has not asked for"
        );
        assert!(terms.answer(b'i', b"\0\0\0\0X\0y\0").is_ok());
    }
}
