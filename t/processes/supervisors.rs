//! supervise and runsv run the `run` script.
