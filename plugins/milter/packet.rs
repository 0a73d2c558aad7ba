//! The packets of the milter protocol, versions 2 to 6: THE table of what a filter is told, and THE
//! table of what it answers.  There is no I/O here.
//!
//! A packet is its length in four octets, the first one highest, then a letter that says what it is,
//! and data of so many octets but one.  Texts in the data end in an octet 0.

/// The longest packet that a filter may send, in octets without the four of its length.
pub(crate) const LONGEST: usize = 1 << 20;

/// The most octets of the body in a packet.
pub(crate) const BODY_PIECE: usize = 65_535;

/// What a filter is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Event {
    Connect,
    Helo,
    Mail,
    Rcpt,
    Data,
    Unknown,
    Header,
    EndOfHeader,
    Body,
    EndOfMessage,
}

/// One row of the table of events.
#[derive(Debug)]
pub(crate) struct Row {
    /// The event.
    pub(crate) event: Event,
    /// How it is called in the log.
    pub(crate) name: &'static str,
    /// Its letter.
    pub(crate) letter: u8,
    /// The first version that has it.
    pub(crate) since: u32,
    /// The bit with which a filter asks not to be told; 0: it is always told.
    left_out: u32,
    /// The bit with which it says that it will not answer; 0: it always does.
    unanswered: u32,
    /// The number that SETSYMLIST has for the macros that go before it.
    pub(crate) macros: Option<usize>,
}

/// How many numbers SETSYMLIST has.
pub(crate) const STAGES: usize = 7;

/// THE table of events, in the order in which a filter meets them.
#[rustfmt::skip]
pub(crate) const EVENTS: [Row; 10] = [
    row(Event::Connect,      "CONNECT",        b'C', 2, 0x01,  0x0_1000, Some(0)),
    row(Event::Helo,         "HELO",           b'H', 2, 0x02,  0x0_2000, Some(1)),
    row(Event::Mail,         "MAIL",           b'M', 2, 0x04,  0x0_4000, Some(2)),
    row(Event::Rcpt,         "RCPT",           b'R', 2, 0x08,  0x0_8000, Some(3)),
    row(Event::Data,         "DATA",           b'T', 4, 0x200, 0x1_0000, Some(4)),
    row(Event::Unknown,      "UNKNOWN",        b'U', 3, 0x100, 0x2_0000, None),
    row(Event::Header,       "HEADER",         b'L', 2, 0x20,  0x80,     None),
    row(Event::EndOfHeader,  "END OF HEADER",  b'N', 2, 0x40,  0x4_0000, Some(6)),
    row(Event::Body,         "BODY",           b'B', 2, 0x10,  0x8_0000, None),
    row(Event::EndOfMessage, "END OF MESSAGE", b'E', 2, 0,     0,        Some(5)),
];

const fn row(
    event: Event,
    name: &'static str,
    letter: u8,
    since: u32,
    left_out: u32,
    unanswered: u32,
    macros: Option<usize>,
) -> Row {
    Row { event, name, letter, since, left_out, unanswered, macros }
}

/// Packets that are no events, and that nobody answers but the first.
pub(crate) const NEGOTIATE: u8 = b'O';
pub(crate) const MACROS: u8 = b'D';
pub(crate) const ABORT: u8 = b'A';
pub(crate) const QUIT: u8 = b'Q';
/// The client is gone, and another one follows on the same connection (version 6).
pub(crate) const NEXT_CLIENT: u8 = b'K';

impl Event {
    /// Its row.
    pub(crate) fn row(self) -> &'static Row {
        &EVENTS[self as usize]
    }
}

/// `body` may be answered with SKIP.
const SKIP: u32 = 0x400;
/// The filter wants recipients that are refused as well.
const REJECTED_RECIPIENTS: u32 = 0x800;
/// Values of header fields are all that follows the colon.
const LEADING_SPACE: u32 = 0x10_0000;

/// What may be offered: the first version that has it, bits of actions, bits of the protocol beside
/// those in the table of events.
const OFFERS: [(u32, u32, u32); 2] =
    [(2, 0x3f, 0), (6, ADD_PARAMS | 0x40 | SET_MACROS, SKIP | REJECTED_RECIPIENTS | LEADING_SPACE)];

const ADD_PARAMS: u32 = 0x80;
const SET_MACROS: u32 = 0x100;

/// The versions that can be offered.
pub(crate) const VERSIONS: [u32; 4] = [2, 3, 4, 6];

/// What two sides have agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The version of the protocol.
    pub(crate) version: u32,
    /// The bits of what the filter may change.
    pub(crate) actions: u32,
    /// The bits of what it wants to be told, and how.
    pub(crate) protocol: u32,
    /// The macros that it wants, by the numbers of SETSYMLIST.
    pub(crate) macros: [Option<Vec<String>>; STAGES],
}

impl Terms {
    /// All that there is in a version.
    pub(crate) fn offer(version: u32) -> Terms {
        let mut offer = Terms { version, ..Terms::default() };
        for (since, actions, protocol) in OFFERS {
            if version >= since {
                offer.actions |= actions;
                offer.protocol |= protocol;
            }
        }
        for row in EVENTS.iter().filter(|row| version >= row.since) {
            offer.protocol |= row.left_out;
            // Answers to the lines of a header section could be left out before all others.
            if version >= 6 || (version >= 4 && row.event == Event::Header) {
                offer.protocol |= row.unanswered;
            }
        }
        offer
    }

    /// The packet that offers them.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let data = [self.version, self.actions, self.protocol].map(u32::to_be_bytes).concat();
        let mut out = vec![];
        packet(NEGOTIATE, &data, &mut out);
        out
    }

    /// What a filter makes of this offer; `data` is that of its answer.
    ///
    /// # Errors
    /// It wants what was not offered, or the data is none of this kind.
    pub(crate) fn answered(&self, data: &[u8]) -> Result<Terms, String> {
        let mut rest = data;
        let mut number = || {
            let (number, more) = rest.split_first_chunk::<4>()?;
            rest = more;
            Some(u32::from_be_bytes(*number))
        };
        let (Some(version), Some(actions), Some(protocol)) = (number(), number(), number()) else {
            return Err("a wrong answer to the negotiation".into());
        };
        if !(2..=self.version).contains(&version) {
            return Err(format!("it speaks version {version}, and {} was offered", self.version));
        }
        let (more, odd) = (actions & !self.actions, protocol & !self.protocol);
        if more > 0 {
            return Err(format!("it wants actions that were not offered: {more:#x}"));
        }
        if odd > 0 {
            return Err(format!("it wants a protocol that was not offered: {odd:#x}"));
        }
        let mut terms = Terms { version, actions, protocol, ..Terms::default() };
        while !rest.is_empty() {
            let (stage, names, more) = macro_list(rest).ok_or("a wrong list of macros")?;
            // A stage that is not known has no event of ours.
            if let Some(list) = terms.macros.get_mut(stage as usize) {
                *list = Some(names);
            }
            rest = more;
        }
        Ok(terms)
    }

    /// Does the filter want to be told?
    pub(crate) fn wants(&self, event: Event) -> bool {
        let row = event.row();
        self.version >= row.since && self.protocol & row.left_out == 0
    }

    /// Will it answer?
    pub(crate) fn answers(&self, event: Event) -> bool {
        self.protocol & event.row().unanswered == 0
    }

    /// Does it get, and give, all that follows the colon of a field?
    pub(crate) fn has_leading_space(&self) -> bool {
        self.protocol & LEADING_SPACE > 0
    }
}

/// The number of a stage and the names of its macros; what follows.
fn macro_list(data: &[u8]) -> Option<(u32, Vec<String>, &[u8])> {
    let (stage, rest) = data.split_first_chunk::<4>()?;
    let (names, rest) = text(rest)?;
    let names = String::from_utf8_lossy(names);
    let names = names.split_whitespace().map(str::to_owned).collect();
    Some((u32::from_be_bytes(*stage), names, rest))
}

/// Adds a packet to `out`.
pub(crate) fn packet(letter: u8, data: &[u8], out: &mut Vec<u8>) {
    // What is sent is shorter than the four octets can say: a header section or a piece of the body.
    let length = u32::try_from(data.len() + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(letter);
    out.extend_from_slice(data);
}

/// Texts as data: `?` stands for an octet 0 in them.
pub(crate) fn texts<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut data = vec![];
    for text in texts {
        data.extend(text.as_ref().iter().map(|octet| if *octet == 0 { b'?' } else { *octet }));
        data.push(0);
    }
    data
}

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

/// A text, and what follows it.
fn text(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, data)?;
    Some((&data[..end], &data[end + 1..]))
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
    fn the_tables_are_in_order_and_no_letter_is_there_twice() {
        for (place, row) in EVENTS.iter().enumerate() {
            assert_eq!(row.event as usize, place, "{}", row.name);
        }
        for (place, kind) in ANSWERS.iter().enumerate() {
            let first = ANSWERS.iter().position(|other| other.letter == kind.letter);
            assert_eq!(first, Some(place), "{}", kind.name);
        }
    }

    #[test]
    fn an_offer_has_what_its_version_has() {
        let offer = Terms::offer(6);
        assert_eq!((offer.actions, offer.protocol), (0x1ff, 0x1f_ffff));
        assert_eq!(Terms::offer(4).protocol, 0x3ff);
        let offer = Terms::offer(2);
        assert_eq!((offer.actions, offer.protocol), (0x3f, 0x7f));
        assert_eq!(offer.packet(), b"\0\0\0\x0dO\0\0\0\x02\0\0\0\x3f\0\0\0\x7f");
    }

    #[test]
    fn who_wants_more_than_was_offered_is_not_asked() {
        let answer =
            |numbers: [u32; 3]| Terms::offer(4).answered(&numbers.map(u32::to_be_bytes).concat());
        let terms = answer([4, 1, 0x82]).unwrap();
        assert!(!terms.wants(Event::Helo) && terms.wants(Event::Data));
        assert!(!terms.answers(Event::Header) && terms.answers(Event::Body));
        assert!(!answer([3, 0, 0]).unwrap().wants(Event::Data));
        for (numbers, why) in [
            ([6, 0, 0], "it speaks version 6, and 4 was offered"),
            ([1, 0, 0], "it speaks version 1, and 4 was offered"),
            ([4, 0x40, 0], "it wants actions that were not offered: 0x40"),
            ([4, 0, 0x400], "it wants a protocol that was not offered: 0x400"),
        ] {
            assert_eq!(answer(numbers).unwrap_err(), why);
        }
        assert!(Terms::offer(6).answered(b"\0\0\0\x06\0\0\0").is_err());
    }

    #[test]
    fn macros_that_are_asked_for_are_read() {
        let mut data = [6u32, 0x100, 0].map(u32::to_be_bytes).concat();
        data.extend_from_slice(b"\0\0\0\x02i {mail_addr}\0\0\0\0\x06\0\0\0\0\x09x\0");
        let terms = Terms::offer(6).answered(&data).unwrap();
        assert_eq!(terms.macros[2], Some(vec!["i".to_owned(), "{mail_addr}".to_owned()]));
        assert_eq!((&terms.macros[6], &terms.macros[0]), (&Some(vec![]), &None));
        data.pop();
        assert!(Terms::offer(6).answered(&data).is_err());
    }

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
