//! Filters that are stopped, killed, slow, or talk nonsense.
