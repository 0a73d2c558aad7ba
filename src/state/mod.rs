//! What is known while a session lasts: the connection, the transaction, notes, the message.

pub mod body;
pub mod connection;
pub mod notes;
pub mod params;
pub mod results;
pub mod spool;
pub mod transaction;
pub mod unix_lines;

pub use body::Body;
pub use connection::{Connection, Encryption, Hello};
pub use notes::{Note, Notes, Value};
pub use params::Params;
pub use results::Results;
pub use spool::Spool;
pub use transaction::Transaction;
pub(crate) use unix_lines::Counter;
pub use unix_lines::UnixLines;
