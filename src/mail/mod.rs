//! What mail is made of, without any protocol: addresses, hosts, header sections,
//! requests for notifications, public suffixes,
//! the texts of a message.

pub mod address;
pub(crate) mod dates;
pub(crate) mod entries;
pub(crate) mod head;
pub mod header;
pub mod host;
pub mod notify;
pub(crate) mod patterns;
mod route;
pub mod suffixes;
pub mod text;
pub(crate) mod xtext;

pub use address::Address;
pub use header::Header;
