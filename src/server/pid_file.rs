//! The file with the parent's process id, locked for as long as the parent lives.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Error, Result};
use crate::server::account::Account;
use crate::server::rights;

/// A pid file that is ours.  The lock belongs to the open file, so it lasts until the last process
/// that has inherited the descriptor has closed it: children drop theirs at once.
#[derive(Debug)]
pub(crate) struct PidFile(File);

impl PidFile {
    /// Locks the file and writes this process's id.  `account`: whom root will become.
    ///
    /// # Errors
    /// Another daemon holds it, or it cannot be written.
    pub(crate) fn create(path: &Path, account: Option<&Account>) -> Result<PidFile> {
        let fail = |what: &dyn std::fmt::Display| {
            Error::new(format!("pid file {}: {what}", path.display()))
        };
        let opened = rights::for_path(path, account, || open(path));
        let mut file = opened.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => fail(&"a daemon that uses it is running already"),
            _ => fail(&error),
        })?;
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|e| fail(&e))?;
        Ok(PidFile(file))
    }

    /// Empties the file: the daemon has ended.  The folder may belong to root, so the file itself
    /// stays.
    pub(crate) fn release(self) {
        let _ = self.0.set_len(0);
    }
}

/// Opens and locks the file; `WouldBlock` when somebody else has the lock.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).mode(0o644).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.clone().write(true).create(true).truncate(false).open(path) {
        Ok(file) if !file.metadata()?.is_file() => Err(io::Error::other("not a file")),
        Ok(file) => lock(&file, libc::F_WRLCK).map(|()| file),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            // Somebody else's in a folder of ours: it can only be replaced, if nobody has locked it.
            let Ok(old) = options.open(path) else { return Err(error) };
            lock(&old, libc::F_RDLCK)?;
            std::fs::remove_file(path).map_err(|_| error)?;
            let file = options.write(true).create_new(true).open(path)?;
            lock(&file, libc::F_WRLCK).map(|()| file)
        }
        Err(error) => Err(error),
    }
}

fn lock(file: &File, kind: i32) -> io::Result<()> {
    let (l_type, l_whence) = (kind as libc::c_short, libc::SEEK_SET as libc::c_short);
    let whole = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(()),
        Err(Errno::EACCES | Errno::EAGAIN) => Err(ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_daemon_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let held = PidFile::create(&path, None).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        assert!(PidFile::create(&path, None).unwrap_err().to_string().contains("running already"));
        held.release();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        PidFile::create(&path, None).unwrap();
    }
}
