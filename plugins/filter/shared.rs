//! The way to a filter that all processes of a daemon share: a socket in the spool folder, where its
//! keeper listens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::broker::Broker;
use super::program::Program;
use super::protocol;
use crate::net::{Channel, detached};

/// Between two tries to get hold of the lock.
const NAP: Duration = Duration::from_millis(5);

/// What is inherited by all processes that share a filter.
#[derive(Debug)]
pub(super) struct Shared {
    /// This filter's name in the spool folder.
    name: String,
    /// As long as somebody has the first of these open, the second is not at its end.
    _lifeline: OwnedFd,
    end: OwnedFd,
}

impl Shared {
    /// For the filter with this name; no other one of this host has it.
    ///
    /// # Errors
    /// There can be no pipe.
    pub(super) fn new(name: String) -> io::Result<Shared> {
        let (end, lifeline) = io::pipe()?;
        Ok(Shared { name, _lifeline: lifeline.into(), end: end.into() })
    }

    /// A connection to the filter's keeper, which is made where there is none.
    ///
    /// # Errors
    /// `TimedOut`; what the system says.
    pub(super) fn connect(
        &self,
        folder: &Path,
        program: &Program,
        me: &str,
        until: Instant,
    ) -> io::Result<Channel> {
        let path = folder.join(&self.name);
        if let Ok(stream) = UnixStream::connect(&path) {
            return Channel::over(stream.into());
        }
        let _lock = lock(&path.with_extension("lock"), until)?;
        // Somebody else may have made it meanwhile.
        if let Ok(stream) = UnixStream::connect(&path) {
            return Channel::over(stream.into());
        }
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let kept = vec![listener.into(), self.end.try_clone()?];
        let (program, me, own) = (program.clone(), me.to_owned(), path.clone());
        detached(&format!("keeps {}", program.name()), kept, move |kept| {
            if let Ok([listener, end]) = <[OwnedFd; 2]>::try_from(kept) {
                Broker::new(listener.into(), end, program, me).run();
                let _ = fs::remove_file(own.with_extension("lock"));
                let _ = fs::remove_file(own);
            }
        })?;
        Channel::over(UnixStream::connect(&path)?.into())
    }
}

/// A name in the spool folder that no other filter of this host has.
pub(super) fn own_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("filter-{}-{:x}-{count}", std::process::id(), now.as_millis())
}

/// Says that the answer to a request has not come in time, on a connection that ends then.
pub(super) fn overdue(request: protocol::Request) -> String {
    let protocol::Request { session, token } = request;
    format!("overdue|{session:016x}|{token:016x}\n")
}

/// Holds the lock until it is dropped.
fn lock(path: &PathBuf, until: Instant) -> io::Result<Flock<File>> {
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() < until => std::thread::sleep(NAP),
            Err((_, Errno::EWOULDBLOCK)) => return Err(ErrorKind::TimedOut.into()),
            Err((_, error)) => return Err(error.into()),
        }
    }
}
