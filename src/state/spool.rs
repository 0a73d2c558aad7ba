//! The spool folder: large messages while they are received, and what plugins ask for with
//! `temp_file` and `temp_dir`.
//!
//! Messages are spooled into files without a name, so that nothing is left when a process is
//! killed.  What has a name has upstream's, `time:pid:counter`: by the process id in it, a parent
//! removes what a killed worker left behind.

use std::cell::Cell;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::signal::kill;
use nix::unistd::{AccessFlags, Pid, access, linkat};

use crate::error::{Error, Result};

/// The folder `config/spool_dir`.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    counter: Cell<u64>,
}

impl Spool {
    /// Opens the folder, making it with permissions `mode` where it does not exist.
    ///
    /// Returns a warning beside it where its permissions are not `mode`.
    ///
    /// # Errors
    /// It cannot be made or used, or everybody may write in it.
    pub fn open(dir: &Path, mode: u32) -> Result<(Spool, Option<String>)> {
        if !dir.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(dir)
                .map_err(|e| Error::new(format!("cannot make spool_dir {}: {e}", dir.display())))?;
            let _ = fs::set_permissions(dir, fs::Permissions::from_mode(mode));
        }
        let warning = judge(dir, mode)?;
        let spool = Spool { dir: dir.to_owned(), counter: Cell::new(0) };
        let probe = spool.file();
        probe.map_err(|e| {
            Error::new(format!("spool_dir {}: cannot write there: {e}", dir.display()))
        })?;
        Ok((spool, warning))
    }

    /// What [`Spool::open`] would say, without making anything.  `makes`: a folder that does not
    /// exist will be made by somebody who can make it anywhere.
    ///
    /// # Errors
    /// There is something else, everybody may write in it, or this process may not.
    pub fn check(dir: &Path, mode: u32, makes: bool) -> Result<Option<String>> {
        let may_write = |dir: &Path, doing: &str| {
            access(dir, AccessFlags::W_OK | AccessFlags::X_OK)
                .map_err(|e| Error::new(format!("{doing}: {}", io::Error::from(e))))
        };
        let shown = dir.display();
        if dir.is_dir() {
            let warning = judge(dir, mode)?;
            may_write(dir, &format!("spool_dir {shown}: cannot write there"))?;
            return Ok(warning);
        }
        let there = dir.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
        if !there.is_dir() {
            return Err(Error::new(format!("cannot make spool_dir {shown}: Not a directory")));
        }
        if !makes {
            may_write(there, &format!("cannot make spool_dir {shown}"))?;
        }
        Ok(None)
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new file, open for reading and writing, that vanishes when it is closed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn file(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        match options.clone().custom_flags(libc::O_TMPFILE).open(&self.dir) {
            Ok(file) => Ok(file),
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
                ) =>
            {
                let name = self.name();
                let file = options.create_new(true).open(&name)?;
                fs::remove_file(name)?;
                Ok(file)
            }
            Err(e) => Err(e),
        }
    }

    /// Gives a file made by [`Spool::file`] a name in the folder and returns that.
    ///
    /// # Errors
    /// What the file system says.
    pub fn link(&self, file: &File) -> io::Result<PathBuf> {
        let name = self.name();
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        let linked =
            linkat(AT_FDCWD, open.as_str(), AT_FDCWD, &name, AtFlags::AT_SYMLINK_FOLLOW).is_ok();
        if !linked {
            let mut copy =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name)?;
            let mut source = File::open(open)?;
            io::copy(&mut source, &mut copy).inspect_err(|_| drop(fs::remove_file(&name)))?;
        }
        Ok(name)
    }

    /// A path in the folder that no other process uses; nothing is made there.
    pub fn name(&self) -> PathBuf {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let count = self.counter.get();
        self.counter.set(count + 1);
        self.dir.join(format!("{seconds}:{}:{count}", std::process::id()))
    }

    /// A new folder in the folder, with permissions `mode`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn make_dir(&self, mode: u32) -> io::Result<PathBuf> {
        let name = self.name();
        DirBuilder::new().mode(mode).create(&name)?;
        fs::set_permissions(&name, fs::Permissions::from_mode(mode))?;
        Ok(name)
    }

    /// Removes what process `pid` left here.  Returns how many entries that were.
    pub fn sweep(&self, pid: u32) -> usize {
        self.sweep_where(|owner| owner == pid)
    }

    /// Removes what processes that are no more left here.  Returns how many entries that were.
    pub fn sweep_dead(&self) -> usize {
        self.sweep_where(|owner| i32::try_from(owner).is_ok_and(is_dead))
    }

    fn sweep_where(&self, is_gone: impl Fn(u32) -> bool) -> usize {
        let Ok(entries) = fs::read_dir(&self.dir) else { return 0 };
        let mut removed = 0;
        for entry in entries.flatten() {
            if !entry.file_name().to_str().and_then(owner_of).is_some_and(&is_gone) {
                continue;
            }
            let path = entry.path();
            let done = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
                _ => fs::remove_file(&path),
            };
            removed += usize::from(done.is_ok());
        }
        removed
    }
}

/// A warning where a folder's permissions are not `mode`; one in which everybody may write is an
/// error.
fn judge(dir: &Path, mode: u32) -> Result<Option<String>> {
    let found =
        fs::metadata(dir).map_err(|e| Error::new(format!("spool_dir {}: {e}", dir.display())))?;
    let bits = found.mode() & 0o7777;
    if bits & 0o002 != 0 {
        return Err(Error::new(format!(
            "spool_dir {} has mode {bits:04o}: everybody may write in it",
            dir.display()
        )));
    }
    Ok((bits & 0o777 != mode & 0o777)
        .then(|| format!("Permissions on spool_dir {} are not {mode:04o}", dir.display())))
}

/// Has this process ended?  Whether somebody has already waited for it does not matter: that is up
/// to the system's first process once our parent is gone, which may take its time.
fn is_dead(pid: i32) -> bool {
    let is_zombie =
        |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
    kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH)
        || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(is_zombie)
}

/// The process id in a name `time:pid:counter`.
fn owner_of(name: &str) -> Option<u32> {
    let mut parts = name.split(':');
    let (time, pid, count) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (parts.next().is_none() && number(time) && number(count)).then(|| pid.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let (spool, warning) = Spool::open(&dir.path().join("spool"), 0o700).unwrap();
        assert_eq!(warning, None);
        (dir, spool)
    }

    #[test]
    fn a_spooled_file_has_no_name_until_it_is_asked_for() {
        let (_dir, spool) = spool();
        let mut file = spool.file().unwrap();
        file.write_all(b"hello").unwrap();
        assert_eq!(fs::read_dir(spool.dir()).unwrap().count(), 0);
        let path = spool.link(&file).unwrap();
        let mut text = String::new();
        File::open(path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn sweeps_only_the_dead() {
        let (_dir, spool) = spool();
        let mine = spool.make_dir(0o700).unwrap();
        fs::write(spool.dir().join("1:999999999:0"), "left behind").unwrap();
        fs::write(spool.dir().join("notes.txt"), "not ours").unwrap();
        assert_eq!(spool.sweep_dead(), 1);
        assert!(mine.is_dir());
        assert_eq!(spool.sweep(std::process::id()), 1);
        assert!(spool.dir().join("notes.txt").exists());
    }

    #[test]
    fn who_has_ended_is_dead_before_anybody_has_waited_for_it() {
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        let (_dir, spool) = spool();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        fs::write(spool.dir().join(format!("1:{pid}:0")), "left behind").unwrap();
        assert_eq!(spool.sweep_dead(), 1);
        child.wait().unwrap();
    }

    #[test]
    fn permissions_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        set(0o750);
        let (_, warning) = Spool::open(dir.path(), 0o700).unwrap();
        assert!(warning.unwrap().contains("are not 0700"));
        set(0o777);
        assert!(Spool::open(dir.path(), 0o700).unwrap_err().to_string().contains("everybody"));
    }
}
