//! What mail is made of, without any protocol: addresses, hosts, header sections,
//! requests for notifications.

pub mod address;
pub mod header;
pub mod host;
pub mod notify;
mod route;

pub use address::Address;
pub use header::Header;
