//! The packets of the milter protocol, versions 2 to 6: THE table of what a filter is told, and THE
//! table of what it answers.  There is no I/O here.
//!
//! A packet is its length in four octets, the first one highest, then a letter that says what it is,
//! and data of so many octets but one.  Texts in the data end in an octet 0.

mod answers;
mod events;
mod terms;

pub(crate) use self::answers::{Answer, Change};
pub(crate) use self::events::{Event, STAGES};
pub(crate) use self::terms::{Terms, VERSIONS};

/// The longest packet that a filter may send, in octets without the four of its length.
pub(crate) const LONGEST: usize = 1 << 20;

/// The most octets of the body in a packet.
pub(crate) const BODY_PIECE: usize = 65_535;

/// Packets that are no events, and that nobody answers but the first.
pub(crate) const NEGOTIATE: u8 = b'O';
pub(crate) const MACROS: u8 = b'D';
pub(crate) const ABORT: u8 = b'A';
pub(crate) const QUIT: u8 = b'Q';
/// The client is gone, and another one follows on the same connection (version 6).
pub(crate) const NEXT_CLIENT: u8 = b'K';

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

/// A text, and what follows it.
fn text(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, data)?;
    Some((&data[..end], &data[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::answers::ANSWERS;
    use super::events::EVENTS;

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
}
