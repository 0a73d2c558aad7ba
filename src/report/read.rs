//! The lines of logs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};

/// How much of a line is kept.  An event is far shorter, and a file that is no log may have lines of
/// any length.
const LONGEST: usize = 1 << 20;

/// Calls `take` with each line of the files, or of standard input where none is named.
///
/// # Errors
/// A file cannot be read.
pub(super) fn each_line(files: &[PathBuf], mut take: impl FnMut(&[u8])) -> Result<()> {
    if files.is_empty() {
        return lines(io::stdin().lock(), Path::new("standard input"), &mut take);
    }
    for path in files {
        let file = File::open(path).map_err(|error| cannot(path, &error))?;
        if path.extension().is_some_and(|extension| extension == "gz") {
            lines(MultiGzDecoder::new(file), path, &mut take)?;
        } else {
            lines(file, path, &mut take)?;
        }
    }
    Ok(())
}

fn lines(source: impl Read, path: &Path, take: &mut impl FnMut(&[u8])) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 18, source);
    let mut rest = vec![];
    loop {
        let room = reader.fill_buf().map_err(|error| cannot(path, &error))?;
        if room.is_empty() {
            break;
        }
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', room) {
            if rest.is_empty() {
                take(&room[begin..end]);
            } else {
                add(&mut rest, &room[begin..end]);
                take(&rest);
                rest.clear();
            }
            begin = end + 1;
        }
        add(&mut rest, &room[begin..]);
        let used = room.len();
        reader.consume(used);
    }
    if !rest.is_empty() {
        take(&rest);
    }
    Ok(())
}

fn add(line: &mut Vec<u8>, more: &[u8]) {
    let room = LONGEST.saturating_sub(line.len());
    line.extend_from_slice(&more[..more.len().min(room)]);
}

fn cannot(path: &Path, error: &io::Error) -> Error {
    Error::new(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::fs;
    use std::io::Write;

    #[test]
    fn lines_of_all_files_come_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("a.log"), folder.path().join("b.log.gz"));
        let long = "x".repeat(600_000);
        fs::write(&plain, format!("one\n\n{long}\nend")).unwrap();
        let mut encoder = GzEncoder::new(File::create(&packed).unwrap(), Compression::fast());
        encoder.write_all(b"two\nthree\n").unwrap();
        encoder.finish().unwrap();
        let mut found = vec![];
        each_line(&[plain, packed], |line| found.push(String::from_utf8(line.to_vec()).unwrap()))
            .unwrap();
        assert_eq!(found, ["one", "", &long, "end", "two", "three"]);
        let endless = folder.path().join("endless");
        fs::write(&endless, format!("{}\nnext", "x".repeat(3 * LONGEST))).unwrap();
        let mut lengths = vec![];
        each_line(&[endless], |line| lengths.push(line.len())).unwrap();
        assert_eq!(lengths, [LONGEST, 4]);
        let error = each_line(&[folder.path().join("none")], |_| {}).unwrap_err();
        assert!(error.to_string().contains("/none: No such file"), "{error}");
    }
}
