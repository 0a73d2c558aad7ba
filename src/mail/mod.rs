//! What mail is made of, without any protocol: addresses, header sections.

pub mod address;
pub mod header;

pub use address::Address;
pub use header::Header;
