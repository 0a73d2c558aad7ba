//! What is counted: THE table of metrics, and memory in which every process counts for itself.
//!
//! A parent makes a [`Board`], and each of its processes has a row there ([`Cells`]), in which it alone
//! counts: no lock, no system call, and what a process has counted outlives it.  Who wants to know adds
//! up the rows.  A process without a parent has no row, nor has one where no status is
//! served: it counts nothing.
//!
//! What is counted by a name, such as a plugin's, has a series of its own from when it is first counted:
//! see `cells.rs`.

mod buckets;
mod cells;
mod outside;
mod own;
mod recent;
mod remembered;
mod table;

pub use buckets::BOUNDS;
pub use cells::{Board, Cells, Series};
pub use outside::{Outside, Spent, Trouble, answered, spent};
pub use own::{add, is_kept, observe, remember};
pub use remembered::{Remembered, remembered};
pub use table::{Kind, Metric, Row, TABLE};

pub(crate) use own::keep;
