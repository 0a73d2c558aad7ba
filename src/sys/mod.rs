//! The only unsafe code: what the operating system offers and no safe interface covers.

pub mod confine;
pub mod deadline;
pub mod descriptors;
pub mod environment;
pub mod fork;
pub mod lmdb;
pub mod mapped;
pub mod memory;
pub mod nowait;
pub mod panics;
pub mod process;
pub mod resolve;
pub mod shared;
pub mod stop;
pub mod title;
