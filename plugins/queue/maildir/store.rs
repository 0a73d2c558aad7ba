//! How a message gets into a Maildir, for good: written, synced, named, and the folder synced.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

use super::Maildir;
use crate::hook::Session;
use crate::mail::Address;

/// How much of a message is written at a time, in octets.
const CHUNK: usize = 128 * 1024;

/// What went wrong: the step as the client gets to know it, and all of it for the log.
pub(super) struct Failure {
    pub(super) step: &'static str,
    pub(super) text: String,
}

pub(super) type Stored<T> = std::result::Result<T, Failure>;

impl Maildir {
    /// Puts the message into the Maildir `dir`, for good.  Returns its path.
    pub(super) fn store(
        &self,
        session: &Session,
        dir: &Path,
        recipients: &[&Address],
    ) -> Stored<PathBuf> {
        let failed = |step, path: &Path, error: io::Error| Failure {
            step,
            text: format!("could not {step} {}: {error}", path.display()),
        };
        let new = dir.join("new");
        let place = self.make_folders(dir).and_then(|()| File::open(&new));
        let place = place.map_err(|error| failed("open", &new, error))?;
        let draft = self.draft(dir).map_err(|error| failed("open", dir, error))?;
        let written = write(session, recipients, &draft.file);
        written.map_err(|error| failed("write", dir, error))?;
        draft.file.sync_all().map_err(|error| failed("sync", dir, error))?;
        let path = self.publish(&draft, &new).map_err(|error| failed("link", &new, error))?;
        if let Err(error) = place.sync_all() {
            let _ = fs::remove_file(path);
            return Err(failed("sync", &new, error));
        }
        Ok(path)
    }

    fn make_folders(&self, dir: &Path) -> io::Result<()> {
        ["cur", "tmp", "new"].iter().try_for_each(|name| make_folder(&dir.join(name), self.mode))
    }

    /// A file for the message: without a name, or in tmp.
    fn draft(&self, dir: &Path) -> io::Result<Draft> {
        let mode = self.mode & 0o666;
        let mut options = OpenOptions::new();
        options.write(true).mode(mode);
        if self.unnamed && Path::new("/proc/self/fd").exists() {
            match options.clone().custom_flags(libc::O_TMPFILE).open(dir.join("new")) {
                Ok(file) => return Draft::new(file, None, mode),
                Err(error) => {
                    let unable = [libc::EOPNOTSUPP, libc::EISDIR, libc::EINVAL];
                    if !error.raw_os_error().is_some_and(|code| unable.contains(&code)) {
                        return Err(error);
                    }
                }
            }
        }
        let path = dir.join("tmp").join(self.name());
        Draft::new(options.create_new(true).open(&path)?, Some(path), mode)
    }

    /// Gives a complete file a name in the folder `new`.
    fn publish(&self, draft: &Draft, new: &Path) -> io::Result<PathBuf> {
        let open = format!("/proc/self/fd/{}", draft.file.as_raw_fd());
        loop {
            let path = new.join(self.name());
            let linked = match &draft.path {
                Some(draft) => fs::hard_link(draft, &path),
                None => {
                    let flag = AtFlags::AT_SYMLINK_FOLLOW;
                    linkat(AT_FDCWD, open.as_str(), AT_FDCWD, &path, flag).map_err(Errno::into)
                }
            };
            match linked {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A name that no other message has: `time.PpidMmicrosQcount.host`.
    fn name(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (pid, micros, count) = (std::process::id(), now.subsec_micros(), self.count.get());
        self.count.set(count + 1);
        format!("{}.P{pid}M{micros}Q{count}.{}", now.as_secs(), self.host)
    }
}

/// A message that is not in its folder yet.
struct Draft {
    file: File,
    /// Its name in tmp, if it has one; that goes away with the draft.
    path: Option<PathBuf>,
}

impl Draft {
    fn new(file: File, path: Option<PathBuf>, mode: u32) -> io::Result<Draft> {
        let draft = Draft { file, path };
        draft.file.set_permissions(Permissions::from_mode(mode))?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes a folder with all above it, for good, where it is not there.
fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let make = || DirBuilder::new().mode(mode).create(path);
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    let made = match make() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_folder(above, mode)?;
            make()
        }
        made => made,
    };
    match made {
        Ok(()) => {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
            File::open(above)?.sync_all()
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn write(session: &Session, recipients: &[&Address], file: &File) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(CHUNK, file);
    match session.transaction.sender() {
        Some(sender) => writeln!(out, "Return-Path: {sender}")?,
        None => writeln!(out, "Return-Path: <>")?,
    }
    for recipient in recipients {
        writeln!(out, "Delivered-To: {}", recipient.address())?;
    }
    session.transaction.write_lf_pieces(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Args;
    use crate::testing::Trial;

    #[test]
    fn no_name_is_given_twice() {
        let maildir = Maildir::from_args(&Args::default()).unwrap();
        assert_ne!(maildir.name(), maildir.name());
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let trial = Trial::new("queue/maildir ~/M", &[]);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = write(&trial.session, &[], &full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_draft_that_cannot_be_published_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        for unnamed in [true, false] {
            let maildir = Maildir { unnamed, ..Maildir::from_args(&Args::default()).unwrap() };
            maildir.make_folders(dir.path()).unwrap();
            let draft = maildir.draft(dir.path()).unwrap();
            let named = draft.path.is_some();
            assert!(named || unnamed);
            assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), usize::from(named));
            fs::remove_dir(dir.path().join("new")).unwrap();
            let error = maildir.publish(&draft, &dir.path().join("new")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            drop(draft);
            assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        }
    }
}
