//! What the two sides agree on: the version, what the filter may change, what it is told.

use super::events::{EVENTS, Event, STAGES};
use super::{NEGOTIATE, packet, text};

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

pub(super) const ADD_PARAMS: u32 = 0x80;
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
