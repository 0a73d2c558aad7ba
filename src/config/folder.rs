//! Which files of a folder belong to the configuration.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The names of those files, in byte-wise order.
pub(super) fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !is_leftover(&name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Hidden files, editors' backups, and what package managers put beside a changed file.
pub(crate) fn is_leftover(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let extension = name.rsplit(|byte| *byte == b'.').next().filter(|last| *last != name);
    name.starts_with(b".")
        || name.ends_with(b"~")
        || extension.is_some_and(|last| last.starts_with(b"dpkg-") || last.starts_with(b"rpm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_leftovers() {
        for name in [".", ".hidden", "x~", "x.dpkg-old", "x.dpkg-dist", "x.rpmnew", "x.rpmsave"] {
            assert!(is_leftover(OsStr::new(name)), "{name}");
        }
        for name in ["x", "10-x.conf", "rpmnew", "dpkg-old", "x.rpmnew.conf", "~x"] {
            assert!(!is_leftover(OsStr::new(name)), "{name}");
        }
    }
}
