//! The last things that are worth showing: a ring of texts, to which all processes write.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use crate::sys::title::{said_octets, say_octets};

/// How many texts there are, and how many cells each has: one for its number and length, and the text.
const TEXTS: usize = 64;
const CELLS_EACH: usize = 80;

/// The cells of all.
pub(super) const CELLS: usize = TEXTS * CELLS_EACH;

/// The longest text in octets.
pub(super) const LONGEST: usize = (CELLS_EACH - 1) * 8;

/// The ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recent {
    /// How many texts there were ever.
    pub(super) count: &'static AtomicU64,
    pub(super) cells: &'static [AtomicU64],
}

impl Recent {
    /// Adds a text in the place of the oldest.
    pub(super) fn put(&self, text: &str) {
        if text.len() > LONGEST {
            return;
        }
        let number = self.count.fetch_add(1, AcqRel);
        let place = number as usize % TEXTS * CELLS_EACH;
        let (about, cells) = (&self.cells[place], &self.cells[place + 1..place + CELLS_EACH]);
        about.store(0, Release);
        say_octets(cells, text.as_bytes());
        about.store((number + 1) << 16 | text.len() as u64, Release);
    }

    /// The texts, the oldest first.  One that is being written is left out.
    pub(super) fn read(&self) -> Vec<String> {
        let mut found: Vec<(u64, String)> = self
            .cells
            .chunks_exact(CELLS_EACH)
            .filter_map(|cells| {
                let about = cells[0].load(Acquire);
                let len = (about & 0xffff) as usize;
                let text = String::from_utf8(said_octets(&cells[1..], len)).ok()?;
                (about != 0 && cells[0].load(Acquire) == about).then_some((about >> 16, text))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, text)| text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Board;

    #[test]
    fn the_last_texts_are_read_in_order() {
        let board = Board::new(1).unwrap();
        let own = board.row(0).unwrap();
        assert!(board.recent().is_empty());
        for number in 0..TEXTS + 3 {
            own.remember(&format!("text {number} \u{e4}"));
        }
        own.remember(&"x".repeat(LONGEST + 1));
        let found = board.recent();
        assert_eq!((found.len(), &*found[0]), (TEXTS, "text 3 \u{e4}"));
        assert_eq!(found[TEXTS - 1], format!("text {} \u{e4}", TEXTS + 2));
        own.remember(&"x".repeat(LONGEST));
        assert_eq!(board.recent()[TEXTS - 1].len(), LONGEST);
    }
}
