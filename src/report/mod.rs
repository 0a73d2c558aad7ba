//! `--report`: what a log in JSON says of the mail of a time, as text or as a page.
//!
//! ```text
//! make      what is wanted, and the steps
//! read      the lines of files, of compressed ones, too
//! line      an event of a line
//! counts    what the events add up to
//! sample    how long things took: the middle, the slowest
//! summary   the counts as figures, tables and plots, in their order
//! text      a summary for a terminal
//! page      a summary as HTML, with plots
//! ```

mod counts;
mod line;
mod make;
mod page;
mod read;
mod sample;
mod summary;
mod text;

pub(crate) use make::{Form, Wanted, make};
