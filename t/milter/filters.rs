//! Filters that other people wrote.
