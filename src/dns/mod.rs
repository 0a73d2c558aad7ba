//! Questions to the domain name system: a batch of them at once, answered by a deadline.
//!
//! What asks (SPF, block lists, ...) sees the trait [`Dns`] only, so its tests answer from a table.

mod answer;
pub mod list_check;
pub mod lists;
mod memory;
mod message;
mod question;
mod resolver;
mod reverse;
mod stub;
mod system;
mod table;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Dns, Record, Tlsa};
pub use memory::Memory;
pub use question::{Kind, Question, reversed};
pub use resolver::Resolver;
pub use reverse::{Iprev, is_near};
pub use stub::Stub;
pub use table::Table;

pub(crate) use message::read_any;
