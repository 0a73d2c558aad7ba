//! What mail is made of, without any protocol: addresses, header sections, requests for
//! notifications.

pub mod address;
pub mod header;
pub mod notify;

pub use address::Address;
pub use header::Header;
