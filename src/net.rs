//! Talking to other servers and programs, every wait with a limit.

mod endpoint;
mod http;
mod lines;
mod network;
mod program;
mod security;
mod tls;
mod turns;
mod wire;

pub(crate) use endpoint::{Endpoint, parse_port};
pub(crate) use http::{Http, Page, Uri};
pub(crate) use lines::protocol_error;
pub use network::network;
pub(crate) use program::Program;
#[cfg(test)]
pub(crate) use program::tests::script;
#[cfg(test)]
pub(crate) use security::unverified;
pub(crate) use security::{Login, Mode, Security, file_named, password_in, roots, verified};
pub(crate) use tls::Tls;
pub(crate) use turns::turns;
pub(crate) use wire::Wire;
#[cfg(any(feature = "ldap", feature = "postgresql"))]
pub(crate) use wire::{tcp, unix};
