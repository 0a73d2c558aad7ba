//! What stands on the wire, read and written: octets in, values out.  Nothing here does I/O, and the
//! fuzz targets take it as it is.

pub mod bdat;
pub mod line;
pub mod message;
pub mod path;
pub mod proxy;
pub mod reply;
pub mod sasl;
pub mod scram;
pub(crate) mod sni;
pub mod transparency;
pub mod xclient;
