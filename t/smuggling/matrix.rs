//! CR, LF, CRLF and NUL before and after a dot, in DATA and BDAT, under each policy, in every cut.
//! Behind the dot the envelope of a second message waits for somebody who takes the dot for the end.

use super::*;
use crate::chunks::cuts::{POLICIES, all, wanted};

const ENVELOPE: &[u8] = b"HELO x\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n";

/// What makes a second message of one, for those who see the end of the first.
pub(crate) const EVIL: &[u8] =
    b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nX: evil\r\n\r\n";

const END: &[u8] = b"\r\n.\r\n";

/// Where in the message the dot is: within its header, at the start of its text, behind some text.
const PLACES: [&[u8]; 3] = [b"Subject: x", b"Subject: x\r\n\r\n", b"Subject: x\r\n\r\nx"];

/// Which attacks, as they were published and otherwise.
const KNOWN: [&[u8]; 8] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
];

/// One stream of a client: the commands, the message as it is on the wire, what follows.
struct Case {
    policy: &'static str,
    is_data: bool,
    /// The message before its end, dots as they are.
    message: Vec<u8>,
    /// The stream, and where in it the dot with its neighbours is.
    wire: Vec<u8>,
    window: std::ops::Range<usize>,
}

impl Case {
    fn new(policy: &'static str, is_data: bool, place: &[u8], around: &[u8]) -> Case {
        let message = [place, around, EVIL].concat();
        let (start, end) = match is_data {
            true => ("DATA\r\n".to_owned(), END),
            false => (format!("BDAT {} LAST\r\n", message.len()), &b""[..]),
        };
        let wire = [ENVELOPE, start.as_bytes(), &message, end, b"QUIT\r\n"].concat();
        let at = ENVELOPE.len() + start.len() + place.len();
        let window = at - 1..at + around.len() + 2;
        Case { policy, is_data, message, wire, window }
    }

    /// The codes of the replies and the message that have to come of it; None: the text has an end
    /// of its own, so the client has sent two.
    fn expected(&self) -> Option<(&'static str, Option<Vec<u8>>)> {
        if !self.is_data {
            return Some(match wanted(self.policy, &self.message) {
                Some(message) => ("220 250 250 250 250 221", Some(message)),
                None => ("220 250 250 250 550 221", None),
            });
        }
        let data = [&self.message, END].concat();
        match meant(self.policy, &data) {
            Meant::Message(_, end) if end < data.len() => None,
            Meant::Message(message, _) => Some(match wanted(self.policy, &message) {
                Some(message) => ("220 250 250 250 354 250 221", Some(message)),
                None => ("220 250 250 250 354 550 221", None),
            }),
            Meant::LoneDot => Some(("220 250 250 250 354 421", None)),
            Meant::Unfinished => unreachable!("it ends with {END:?}"),
        }
    }

    fn check<'a>(&self, trial: &Trial, packets: impl Iterator<Item = &'a [u8]>) {
        let answers = answers(trial, packets);
        let queued = queued();
        let shown = || format!("{}: {}\n{answers}", self.policy, self.wire.escape_ascii());
        match self.expected() {
            Some((want, message)) => {
                assert_eq!(codes(&answers), want, "{}", shown());
                assert_eq!(queued, Vec::from_iter(message), "{}", shown());
            }
            None => assert!(queued.len() <= 2, "{}", shown()),
        }
    }

    fn in_two(&self, trial: &Trial, cut: usize) {
        let (first, second) = self.wire.split_at(cut);
        self.check(trial, [first, second].into_iter());
    }
}

/// All texts `X.Y` where X and Y are up to so many of CR, LF and NUL.
fn dots(most: u32) -> Vec<Vec<u8>> {
    let sides: Vec<_> = (0..=most).flat_map(|length| all(b"\r\n\0", length)).collect();
    let after = |before: &Vec<u8>| {
        let before = before.clone();
        sides.iter().map(move |after| [&before[..], b".", after].concat()).collect::<Vec<_>>()
    };
    sides.iter().flat_map(after).collect()
}

/// The smaller ones of them.
pub(crate) fn neighbourhoods() -> Vec<Vec<u8>> {
    dots(2)
}

fn every_neighbourhood_in_every_cut(policy: &'static str) {
    let trial = keeping(policy, "100000");
    for around in neighbourhoods() {
        for (place, is_data) in PLACES.iter().flat_map(|place| [(place, true), (place, false)]) {
            let case = Case::new(policy, is_data, place, &around);
            case.check(&trial, std::iter::once(&case.wire[..]));
            for cut in case.window.clone() {
                case.in_two(&trial, cut);
            }
        }
    }
}

#[test]
fn rejecting_every_neighbourhood_of_a_dot_in_every_cut() {
    every_neighbourhood_in_every_cut("reject");
}

#[test]
fn normalizing_every_neighbourhood_of_a_dot_in_every_cut() {
    every_neighbourhood_in_every_cut("normalize");
}

#[test]
fn accepting_every_neighbourhood_of_a_dot_in_every_cut() {
    every_neighbourhood_in_every_cut("accept");
}

#[test]
fn larger_neighbourhoods_octet_by_octet() {
    for policy in POLICIES {
        let trial = keeping(policy, "100000");
        for around in dots(3) {
            for is_data in [true, false] {
                let case = Case::new(policy, is_data, PLACES[2], &around);
                // The neighbourhood is in packets of one octet.
                let (before, rest) = case.wire.split_at(case.window.start);
                let (octets, after) = rest.split_at(case.window.len());
                let packets = [before].into_iter().chain(octets.chunks(1)).chain([after]);
                case.check(&trial, packets);
            }
        }
    }
}

/// The whole stream, commands included.
#[test]
fn known_attacks_in_every_cut_of_the_stream() {
    for (policy, around) in POLICIES.iter().flat_map(|policy| KNOWN.map(|around| (policy, around)))
    {
        let trial = keeping(policy, "100000");
        for is_data in [true, false] {
            let case = Case::new(policy, is_data, PLACES[2], around);
            for cut in 1..case.wire.len() {
                case.in_two(&trial, cut);
            }
            case.check(&trial, case.wire.chunks(2));
            case.check(&trial, case.wire.chunks(3));
        }
    }
}

/// Chunks of BDAT that end before, in and behind the dot.
#[test]
fn known_attacks_in_chunks() {
    for (policy, around) in POLICIES.iter().flat_map(|policy| KNOWN.map(|around| (policy, around)))
    {
        let trial = keeping(policy, "0");
        let message = [PLACES[2], around, EVIL].concat();
        for first in 0..=message.len() {
            let mut sizes = [first].into_iter();
            let chunks = crate::chunks::cut(&message, || sizes.next().unwrap_or(message.len()));
            let packets = [ENVELOPE].into_iter().chain(chunks.iter().map(|chunk| &chunk[..]));
            let answers = answers(&trial, packets);
            let want = wanted(policy, &message);
            assert_eq!(queued(), Vec::from_iter(want.clone()), "{answers}");
            let last = if want.is_some() { "250" } else { "550" };
            assert!(codes(&answers).ends_with(last), "{}: {answers}", message.escape_ascii());
        }
    }
}
