//! Who sent a message: pure functions that judge it, over one trait that answers questions.
//!
//! Nothing here reads a socket, a file or a clock: what is asked of the domain name system goes
//! through [`Dns`](crate::dns::Dns), and the time is an argument.

pub mod arc;
pub mod dkim;
pub mod dmarc;
pub mod spf;

/// Tells people what a test that depends on foreign data did.
#[cfg(test)]
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
