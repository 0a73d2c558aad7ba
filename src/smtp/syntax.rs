//! What stands on the wire, read and written: octets in, values out.  Nothing here does I/O, and the
//! fuzz targets take it as it is.

pub(crate) mod head;
pub mod proxy;
pub mod reply;
pub(crate) mod scram;
pub(crate) mod sni;
pub mod transparency;
