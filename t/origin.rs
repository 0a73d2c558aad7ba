//! Who sent a message: daemons that sign, hand on and check, and the name servers that they ask.

// The name servers of the tests.
pub(crate) mod servers;

// What one daemon signs or seals, the next one checks.
mod chain;

// What is written of all that, as others read it.
mod results;

// Signatures, compared with those of other programs.
mod peers;

// Answers that no good name server gives.
mod answers;

// Reports on what was found out.
mod reports;

// No answers at all.
mod outage;
