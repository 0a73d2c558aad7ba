//! A message while it comes in, in pieces of any size, after DATA or in chunks: limits, line
//! ends, the end of its header section.

use std::io;

pub use crate::mail::head::End;
use crate::mail::head::{Head, LARGEST};
use crate::settings::BareNewline;
use crate::smtp::syntax::transparency::{Progress, Unstuffer};

/// Where a message goes.
pub trait Store {
    /// The header section is complete: these octets up to `end.at`.  Those behind are the beginning
    /// of the text, which comes with it, so that both can be stored in one piece.
    ///
    /// # Errors
    /// It cannot be stored.
    fn header(&mut self, octets: &[u8], end: End) -> io::Result<()>;

    /// More of the text.
    ///
    /// # Errors
    /// It cannot be stored.
    fn text(&mut self, octets: &[u8]) -> io::Result<()>;

    /// The message cannot be taken: what was stored is of no use.
    fn forget(&mut self);
}

/// What a message must not exceed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Its octets; 0: it may have any number of them.
    pub octets: u64,
    /// The octets of a line; 0: it may have any number of them.
    pub line: u64,
    /// What is done with a bare CR or LF.
    pub bare_newline: BareNewline,
}

/// For what a message cannot be taken.
#[derive(Debug)]
pub enum Fault<'a> {
    /// It cannot be stored.
    Store(&'a io::Error),
    /// It has more octets, the first number, than it may have, the second.
    TooBig(u64, u64),
    /// The header section is too large.
    HeaderTooLarge,
    /// There is a bare CR or LF.
    BareNewline,
    /// There is a line that is too long.
    LongLine,
}

/// A message on its way.
#[derive(Debug)]
pub struct Message {
    dots: Unstuffer,
    limits: Limits,
    kept: Kept,
}

impl Message {
    /// A message as DATA brings it: two dots at the start of a line are one, one dot is the end.
    pub fn stuffed(limits: Limits) -> Message {
        Message::new(limits, Unstuffer::new(limits.bare_newline))
    }

    /// A message as BDAT brings it: octets that are counted.
    pub fn plain(limits: Limits) -> Message {
        Message::new(limits, Unstuffer::plain(limits.bare_newline))
    }

    fn new(limits: Limits, dots: Unstuffer) -> Message {
        let kept = Kept {
            head: Some(Head::default()),
            octets: 0,
            most: limits.octets,
            error: None,
            header_too_large: false,
        };
        Message { dots, limits, kept }
    }

    /// Takes a piece of input.
    pub fn feed(&mut self, input: &[u8], store: &mut impl Store) -> Progress {
        self.dots.feed(input, &mut |octets| self.kept.keep(octets, store))
    }

    /// The message is here to its last octet.
    pub fn finish(&mut self, store: &mut impl Store) {
        self.dots.finish(&mut |octets| self.kept.keep(octets, store));
        self.kept.end_of_header(store);
    }

    /// Has the header section been stored?
    pub fn has_header(&self) -> bool {
        self.kept.head.is_none()
    }

    /// Is it known that the message cannot be taken, so that the rest of it is not stored?
    pub fn is_lost(&self) -> bool {
        self.kept.is_lost()
    }

    /// The message cannot be taken for this reason, unless there is another one already.
    pub fn fail(&mut self, error: io::Error) {
        self.kept.error.get_or_insert(error);
    }

    /// For what the message cannot be taken, so far.
    pub fn fault(&self) -> Option<Fault<'_>> {
        let Limits { line, bare_newline, .. } = self.limits;
        if let Some(error) = &self.kept.error {
            Some(Fault::Store(error))
        } else if self.kept.is_too_big() {
            Some(Fault::TooBig(self.kept.octets, self.kept.most))
        } else if self.kept.header_too_large {
            Some(Fault::HeaderTooLarge)
        } else if bare_newline == BareNewline::Reject && self.dots.has_bare() {
            Some(Fault::BareNewline)
        } else if line > 0 && self.dots.longest_line() as u64 > line {
            Some(Fault::LongLine)
        } else {
            None
        }
    }
}

/// What is there of a message.
#[derive(Debug)]
struct Kept {
    /// The header section so far; None once it is complete.
    head: Option<Head>,
    octets: u64,
    most: u64,
    error: Option<io::Error>,
    header_too_large: bool,
}

impl Kept {
    /// Keeps a piece of the message, unless it is known that it cannot be taken.
    fn keep(&mut self, octets: &[u8], store: &mut impl Store) {
        self.octets += octets.len() as u64;
        if self.is_lost() {
            return store.forget();
        }
        let kept = match self.head.take() {
            None => store.text(octets),
            Some(head) => self.look_for_text(head, octets, store),
        };
        self.error = kept.err();
    }

    /// Looks for the end of the header section, up to which nothing is written.
    fn look_for_text(
        &mut self,
        mut head: Head,
        octets: &[u8],
        store: &mut impl Store,
    ) -> io::Result<()> {
        let mut found = head.add(octets);
        if found.is_none() && head.octets().len() > LARGEST {
            found = Some(head.finish()).filter(|end| end.at < head.octets().len());
            self.header_too_large = found.is_none();
        }
        match found {
            Some(end) => store.header(head.octets(), end),
            None => {
                self.head = Some(head);
                Ok(())
            }
        }
    }

    /// The message has ended, maybe before its header section did.
    fn end_of_header(&mut self, store: &mut impl Store) {
        if let Some(mut head) = self.head.take().filter(|_| !self.is_lost()) {
            let end = head.finish();
            self.error = store.header(head.octets(), end).err();
        }
    }

    fn is_lost(&self) -> bool {
        self.is_too_big() || self.error.is_some() || self.header_too_large
    }

    fn is_too_big(&self) -> bool {
        self.most > 0 && self.octets > self.most
    }
}
