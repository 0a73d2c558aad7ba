//! THE table of what a filter is told.

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
    pub(super) left_out: u32,
    /// The bit with which it says that it will not answer; 0: it always does.
    pub(super) unanswered: u32,
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

impl Event {
    /// Its row.
    pub(crate) fn row(self) -> &'static Row {
        &EVENTS[self as usize]
    }
}
