//! A connection to a filter: packets go out together, answers are waited for with limits.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::net::{Endpoint, Wire};

use super::packet::{self, Answer, BODY_PIECE, Event, LONGEST, Terms};

/// So many octets go out although no answer is wanted yet.
const ENOUGH: usize = BODY_PIECE;

/// How long a word at the end may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// An open connection on which both sides have agreed what is said.
pub(super) struct Link {
    wire: Wire,
    terms: Terms,
    out: Vec<u8>,
    /// Has it served another client, and said nothing since?
    is_unproven: bool,
}

impl Link {
    /// Connects and negotiates; `offered` is the highest version.
    ///
    /// # Errors
    /// Nobody is there, or nothing can be agreed on in time.
    pub(super) fn open(
        endpoint: &Endpoint,
        offered: u32,
        (connected, until): (Instant, Instant),
    ) -> io::Result<Link> {
        let mut wire = Wire::connect(endpoint, connected.min(until))?;
        wire.set_end(until);
        let offer = Terms::offer(offered);
        wire.write_all(&offer.packet())?;
        let mut link = Link { wire, terms: Terms::default(), out: vec![], is_unproven: false };
        let (letter, data) = link.packet(until)?;
        if letter != packet::NEGOTIATE {
            let letter = letter.escape_ascii();
            return Err(wrong(&format!("the answer '{letter}' to the negotiation")));
        }
        link.terms = offer.answered(&data).map_err(|why| wrong(&why))?;
        Ok(link)
    }

    /// What was agreed on.
    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Tells of an event that the filter wants to hear of, with its macros and its data, and waits for the answer if there is going to be
    /// one.  The wait begins anew, with `most`, when the filter says that it needs more time, but it
    /// does not go on after `until`.
    ///
    /// # Errors
    /// The filter is gone, does not answer in time, or says what it may not.
    pub(super) fn tell(
        &mut self,
        event: Event,
        macros: Option<Vec<u8>>,
        data: &[u8],
        (most, until): (Duration, Instant),
    ) -> io::Result<Answer> {
        self.wire.set_end(until.min(Instant::now() + most));
        if let Some(macros) = macros {
            packet::packet(packet::MACROS, &macros, &mut self.out);
        }
        packet::packet(event.row().letter, data, &mut self.out);
        if self.terms.answers(event) {
            self.answer((most, until))
        } else {
            self.is_unproven = false;
            if self.out.len() > ENOUGH {
                self.flush().map(|()| Answer::Continue)
            } else {
                Ok(Answer::Continue)
            }
        }
    }

    /// The next answer, which is not PROGRESS.
    ///
    /// # Errors
    /// As [`Link::tell`].
    pub(super) fn answer(&mut self, (most, until): (Duration, Instant)) -> io::Result<Answer> {
        self.flush()?;
        loop {
            let (letter, data) = self.packet(until.min(Instant::now() + most))?;
            self.is_unproven = false;
            match self.terms.answer(letter, &data).map_err(|why| wrong(&why))? {
                Answer::Progress => {}
                answer => return Ok(answer),
            }
        }
    }

    /// The message is not going to come, or not going to be queued.
    ///
    /// # Errors
    /// The filter is gone.
    pub(super) fn abort(&mut self) -> io::Result<()> {
        self.last_word(packet::ABORT)
    }

    /// The client is gone.  A filter of version 6 can have the next one on this connection.
    pub(super) fn end(mut self, keeps: bool) -> Option<Link> {
        if keeps && self.terms.version >= 6 {
            self.is_unproven = true;
            return self.last_word(packet::NEXT_CLIENT).is_ok().then_some(self);
        }
        // That it is gone already is no loss.
        let _ = self.last_word(packet::QUIT);
        None
    }

    /// Can another client be served?  Not if the filter has closed the connection since, or said what
    /// nobody asked for.
    pub(super) fn is_of_use(&self) -> bool {
        self.wire.is_quiet()
    }

    /// May an error mean only that the filter was started anew since the last client?
    pub(super) fn may_be_stale(&self, error: &io::Error) -> bool {
        self.is_unproven && error.kind() != io::ErrorKind::TimedOut
    }

    fn last_word(&mut self, letter: u8) -> io::Result<()> {
        self.wire.set_end(Instant::now() + LAST_WORD);
        packet::packet(letter, &[], &mut self.out);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.write_all(&self.out)?;
        self.out.clear();
        if self.out.capacity() > 4 * ENOUGH {
            self.out = vec![];
        }
        Ok(())
    }

    /// The next packet: its letter, and its data.
    fn packet(&mut self, until: Instant) -> io::Result<(u8, Vec<u8>)> {
        let length = self.wire.octets(4, until)?;
        let length = length.iter().fold(0usize, |sum, octet| sum << 8 | usize::from(*octet));
        if !(1..=LONGEST).contains(&length) {
            return Err(wrong(&format!("a packet of {length} octets")));
        }
        let letter = self.wire.octets(1, until)?[0];
        Ok((letter, self.wire.octets(length - 1, until)?))
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
