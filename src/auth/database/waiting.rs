//! For crates that only know asynchronous code: waiting for it in this thread.

use std::io::{self, ErrorKind};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

/// What moves a connection while somebody waits for it, and only then.
pub(super) struct Waiting(Runtime);

impl Waiting {
    pub(super) fn new() -> io::Result<Waiting> {
        Builder::new_current_thread().enable_all().build().map(Waiting)
    }

    /// Waits for `future`.
    ///
    /// # Errors
    /// Its own; `TimedOut` at `until`.
    pub(super) fn wait<T>(
        &self,
        until: Instant,
        future: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let done = self.0.block_on(async { tokio::time::timeout_at(until.into(), future).await });
        let late = |_| io::Error::new(ErrorKind::TimedOut, "the database does not answer");
        done.map_err(late)?
    }
}
