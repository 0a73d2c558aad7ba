//! The file with the parent's process id, locked for as long as the parent lives.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Result};

/// A pid file that is ours.
#[derive(Debug)]
pub(crate) struct PidFile(Flock<File>);

impl PidFile {
    /// Locks the file and writes this process's id.
    ///
    /// # Errors
    /// Another daemon holds it, or it cannot be written.
    pub(crate) fn create(path: &Path) -> Result<PidFile> {
        let fail = |what: &dyn std::fmt::Display| {
            Error::new(format!("pid file {}: {what}", path.display()))
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(path).map_err(|e| fail(&e))?;
        let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        let mut locked = locked.map_err(|(_, error)| match error {
            nix::Error::EWOULDBLOCK => fail(&"a daemon that uses it is running already"),
            error => fail(&error),
        })?;
        locked
            .set_len(0)
            .and_then(|()| writeln!(locked, "{}", std::process::id()))
            .map_err(|e| fail(&e))?;
        Ok(PidFile(locked))
    }

    /// Empties the file: the daemon has ended.  The folder may belong to root by now, so the file
    /// itself stays.
    pub(crate) fn release(self) {
        let _ = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_daemon_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let held = PidFile::create(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        assert!(PidFile::create(&path).unwrap_err().to_string().contains("running already"));
        held.release();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        PidFile::create(&path).unwrap();
    }
}
