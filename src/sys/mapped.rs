//! A file in memory: what of it is looked at is read then, once for all processes that have it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A file as it was long when it was opened.
pub struct Mapped {
    file: File,
    start: NonNull<std::ffi::c_void>,
    length: usize,
}

impl Mapped {
    /// Opens a file.  Whoever wants another content there gives the name to a new file (rename), and
    /// does not write into this one.
    ///
    /// # Errors
    /// What the system says; there is nothing in it.
    pub fn open(path: &Path) -> io::Result<Mapped> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let size = usize::try_from(length).ok().and_then(NonZeroUsize::new);
        let size = size.filter(|size| size.get() <= isize::MAX as usize);
        let size = size.ok_or_else(|| io::Error::other("there is nothing in it"))?;
        // SAFETY: a new mapping in a place that the system chooses, which nobody may write to.
        let start =
            unsafe { mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &file, 0) };
        Ok(Mapped { start: start?, length: size.get(), file })
    }

    /// Is the file still as long as it was?  To look at what is there no more would end the process.
    pub fn is_whole(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() >= self.length as u64)
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is readable, that long, not longer than a slice may be, and there until this
        // is dropped.  This process never writes to it; others are told not to, and one that does
        // gives it octets that no reader trusts.
        unsafe { std::slice::from_raw_parts(self.start.cast().as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's alone, and no slice of it is left.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_there_until_it_is_dropped_whatever_becomes_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "content").unwrap();
        let mapped = Mapped::open(&path).unwrap();
        fs::write(folder.path().join("new"), "other").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!((mapped.as_ref(), mapped.is_whole()), (&b"content"[..], true));
        let other = Mapped::open(&path).unwrap();
        assert_eq!(other.as_ref(), b"other");
        fs::write(&path, "x").unwrap();
        assert!(!other.is_whole());
    }

    #[test]
    fn nothing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(Mapped::open(&path).is_err());
        fs::write(&path, "").unwrap();
        assert!(Mapped::open(&path).is_err());
        assert!(Mapped::open(folder.path()).is_err());
    }
}
