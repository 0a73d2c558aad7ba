//! The lines of OpenSMTPD's filter protocol (smtpd-filters(7)), both directions, without I/O.

mod read;
mod tables;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use self::read::{Decision, Line, parse, reply, session_in_answer, session_of};
pub(crate) use self::tables::{Event, PHASES, Phase, Request, VERSIONS, Version, Wanted};
pub(crate) use self::write::{ask, data_head, greeting, report};
