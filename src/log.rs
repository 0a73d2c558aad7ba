//! The log: levels, one line, and where a line goes while no logging plugin is there to take it.

mod clean;
pub mod event;
mod level;
mod record;
mod stderr;

pub(crate) mod stall;

pub use clean::clean;
pub(crate) use clean::{beginning, is_plain};
pub use level::{LEVELS, Level};
pub use record::{Format, Record};
pub use stderr::{line_to_stderr, to_stderr};

pub(crate) use stderr::prepare as prepare_stderr;
