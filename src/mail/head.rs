//! Where the header section of a message ends, found while the message comes in.

use crate::mail::header::Line;

/// The largest header section that is taken, in octets.
pub(crate) const LARGEST: usize = 1024 * 1024;

/// A header section so far, and what came after it in the same piece.
#[derive(Debug, Default)]
pub(crate) struct Head {
    octets: Vec<u8>,
    /// The start of the first line that was not looked at yet.
    at: usize,
    /// Is there a field before it?  Lines of an mbox may only come before all fields.
    has_fields: bool,
    /// The first line that is neither a field nor the fold of one.
    first_text: Option<usize>,
}

/// The end of a header section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Where the text begins, with the empty line where there is one.
    pub at: usize,
    /// Would the text be taken for the fold of a field that is put above it?
    pub is_fold: bool,
}

impl Head {
    /// Adds octets; Some: the section is complete, with an empty line, or because its first line is
    /// the fold of no field.
    pub(crate) fn add(&mut self, octets: &[u8]) -> Option<End> {
        self.octets.extend_from_slice(octets);
        while let Some(length) = memchr::memchr(b'\n', &self.octets[self.at..]) {
            let next = self.at + length + 1;
            if let Some(end) = self.look(next) {
                return Some(end);
            }
            self.at = next;
        }
        None
    }

    /// There is no empty line: the section ends before the first line that is neither a field nor
    /// a fold.  A last line without an end counts.
    pub(crate) fn finish(&mut self) -> End {
        let all = self.octets.len();
        let last = (self.at < all).then(|| self.look(all)).flatten();
        last.unwrap_or(End { at: self.first_text.unwrap_or(all), is_fold: false })
    }

    /// All that was added.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Looks at the line from `at` to `next`.
    fn look(&mut self, next: usize) -> Option<End> {
        match Line::of(&self.octets[self.at..next]) {
            Line::Empty => return Some(End { at: self.at, is_fold: false }),
            Line::Fold if self.at == 0 => return Some(End { at: 0, is_fold: true }),
            Line::Fold => {}
            Line::Field => self.has_fields = true,
            Line::Mailbox if !self.has_fields && self.first_text.is_none() => {}
            Line::Mailbox | Line::Text => self.first_text = self.first_text.or(Some(self.at)),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: [(&str, usize, bool); 25] = [
        ("Subject: x\r\nTo: y\r\n\r\nbody\r\n\r\n", 19, false),
        ("\r\nbody\r\n", 0, false),
        ("\nbody\r\n", 0, false),
        ("a: b\n\nbody", 5, false),
        ("a: b\r\n", 6, false),
        ("a: b\r\n c\r\n\td\r\n", 14, false),
        ("a: b", 4, false),
        ("", 0, false),
        (" indented\r\nSubject: x\r\n\r\n", 0, true),
        ("\tindented", 0, true),
        (": foo\r\nSubject: x\r\n\r\n", 19, false),
        (": foo\r\nSubject: x\r\n", 0, false),
        ("one line", 0, false),
        ("Subject : x\r\nText\r\nTo: y\r\n", 13, false),
        ("Sub ject: x\r\n", 0, false),
        ("Subject: x\r\nSub\0ject: x\r\n", 12, false),
        ("Subject: x\r\nno field\r\nTo: y\r\n\r\n", 29, false),
        ("Subject: x\r\nno field\r\n c\r\nTo: y", 12, false),
        ("Subject: x\r\n \r\n\r\n", 15, false),
        ("Subject: x\r\r\n\r\r\n\r\n", 16, false),
        ("Subject: x\r\r\n\r\r\n", 13, false),
        ("From a@b.test Sat Nov 28 10:00:00 2026\r\nTo: y\r\n", 47, false),
        ("From a b\r\n>From c d\r\n>>FROM e f\r\n", 33, false),
        ("From : x\r\nFrom a b\r\n", 10, false),
        ("From a b\r\n c\r\nTo: y\r\nFrom a b\r\n", 21, false),
    ];

    #[test]
    fn the_end_is_found_in_whatever_pieces_it_comes() {
        for (message, at, is_fold) in ODD {
            for size in 1..=message.len() + 1 {
                let mut head = Head::default();
                let found = message.as_bytes().chunks(size).find_map(|piece| head.add(piece));
                let found = found.unwrap_or_else(|| head.finish());
                assert_eq!(found, End { at, is_fold }, "{message:?} {size}");
            }
        }
    }
}
