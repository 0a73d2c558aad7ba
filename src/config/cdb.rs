//! Reads constant databases, as <https://cr.yp.to/cdb/cdb.txt> has them.  Whatever a file holds, and
//! whatever becomes of it meanwhile: what cannot be read is an error.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The octets of the table of the 256 hash tables, with which a file begins.
const HEAD: u64 = 2048;

/// A file that is looked into at each question.
pub(super) struct Cdb {
    file: File,
    size: u64,
}

impl Cdb {
    /// # Errors
    /// It cannot be opened, or has not the size of one.
    pub(super) fn open(path: &Path) -> io::Result<Cdb> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        match (HEAD..=u64::from(u32::MAX)).contains(&size) {
            true => Ok(Cdb { file, size }),
            false => Err(damaged()),
        }
    }

    /// The first value of a key.
    ///
    /// # Errors
    /// The file is damaged, or cannot be read.
    pub(super) fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let hash = hash(key);
        let (table, slots) = self.pair(hash % 256 * 8)?;
        for step in 0..slots {
            let slot = (hash / 256 + step) % slots;
            let (found, record) = self.pair(table + 8 * slot)?;
            if record == 0 {
                break;
            }
            if found != hash {
                continue;
            }
            let (key_length, length) = self.pair(record)?;
            if key_length == key.len() as u64 && self.octets(record + 8, key_length)? == key {
                return self.octets(record + 8 + key_length, length).map(Some);
            }
        }
        Ok(None)
    }

    /// The keys in the order of the file, up to what is damaged.
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys = vec![];
        let mut record = HEAD;
        // Behind the records there is the first hash table.
        let end = self.pair(0).map_or(0, |(table, _)| table);
        while record + 8 <= end
            && let Ok((key_length, length)) = self.pair(record)
            && let Ok(key) = self.octets(record + 8, key_length)
        {
            keys.push(key);
            record += 8 + key_length + length;
        }
        keys
    }

    /// The two numbers at a place.
    fn pair(&self, at: u64) -> io::Result<(u64, u64)> {
        let octets = self.octets(at, 8)?;
        let (first, second) = octets.split_first_chunk::<4>().ok_or_else(damaged)?;
        let second = second.first_chunk::<4>().ok_or_else(damaged)?;
        Ok((u32::from_le_bytes(*first).into(), u32::from_le_bytes(*second).into()))
    }

    fn octets(&self, at: u64, count: u64) -> io::Result<Vec<u8>> {
        if at + count > self.size {
            return Err(damaged());
        }
        let mut octets = vec![0; count as usize];
        self.file.read_exact_at(&mut octets, at)?;
        Ok(octets)
    }
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "not a constant database, or damaged")
}

fn hash(key: &[u8]) -> u64 {
    key.iter().fold(5381u32, |hash, octet| hash.wrapping_mul(33) ^ u32::from(*octet)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const RECORDS: [(&[u8], &[u8]); 5] =
        [(b"one", b"1"), (b"two", b""), (b"", b"empty"), (b"one", b"again"), (b"\0\xff", b"x")];

    /// A good file, its octets, and the folder that goes with it.
    fn written() -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.cdb");
        let mut writer = cdb2::CDBWriter::create(&path).unwrap();
        RECORDS.iter().for_each(|(key, value)| writer.add(key, value).unwrap());
        writer.finish().unwrap();
        let octets = fs::read(&path).unwrap();
        (dir, path, octets)
    }

    #[test]
    fn keys_have_their_first_value() {
        let (_dir, path, _) = written();
        let cdb = Cdb::open(&path).unwrap();
        for (key, value) in RECORDS.iter().filter(|record| record.1 != b"again") {
            assert_eq!(cdb.get(key).unwrap().as_deref(), Some(*value));
        }
        for key in [&b"three"[..], b"on", b"one\0", &[b'x'; 1000]] {
            assert_eq!(cdb.get(key).unwrap(), None);
        }
        assert_eq!(cdb.keys(), RECORDS.map(|(key, _)| key));
    }

    /// Every octet another one, and every length: it ends, and finds nothing that is not there.
    #[test]
    fn damage_is_an_error_at_most() {
        let (_dir, path, octets) = written();
        let look = || {
            let Ok(cdb) = Cdb::open(&path) else { return };
            assert!(cdb.keys().len() <= octets.len() / 8);
            RECORDS.iter().for_each(|(key, _)| drop(cdb.get(key)));
        };
        let used = (0..8).chain(2048..octets.len());
        let head = (8..2048).step_by(8);
        for at in used.chain(head) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = octets.clone();
                let end = damaged.len().min(at + 4);
                damaged[at..end].fill(value);
                fs::write(&path, damaged).unwrap();
                look();
            }
        }
        for length in (0..octets.len()).filter(|length| *length < 20 || *length > 2000) {
            fs::write(&path, &octets[..length]).unwrap();
            look();
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let (_dir, path, _) = written();
        let cdb = Cdb::open(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
        assert!(cdb.get(b"one").is_err());
        assert!(cdb.keys().is_empty());
    }
}
