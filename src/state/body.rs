//! The message as it was received: in memory while it is small, then in a spool file.
//!
//! What is kept is the whole message, header section included, unstuffed and otherwise byte for
//! byte what the client sent, CRLF line ends and all.

mod reader;

pub use reader::Reader;

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::state::Spool;

/// How much of a spooled message is held at a time, in octets.
const CHUNK: usize = 64 * 1024;

/// A piece of this size is worth a system call of its own, in octets.
const LARGE: usize = 16 * 1024;

/// The bytes of a message.
#[derive(Debug)]
pub struct Body {
    memory: Vec<u8>,
    threshold: usize,
    file: Option<File>,
    written: u64,
    start: u64,
    /// How often another message has been put in the place of this one.
    generation: u64,
    spool: Rc<Spool>,
    path: Option<PathBuf>,
}

impl Body {
    /// An empty message that moves to `spool` when it grows over `threshold` octets.
    pub fn new(spool: Rc<Spool>, threshold: usize) -> Body {
        let (file, path) = (None, None);
        Body { memory: vec![], threshold, file, written: 0, start: 0, generation: 0, spool, path }
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// What the spool file's file system says, a full disk for one.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() > self.threshold {
            self.file = Some(self.spool.file()?);
        }
        if self.file.is_some() && self.memory.len() + bytes.len() >= CHUNK {
            self.spill()?;
            // A large piece is not copied first.
            if bytes.len() >= LARGE {
                return self.append(bytes);
            }
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what is still in memory to the spool file, if the message has one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.file.is_some() { self.spill() } else { Ok(()) }
    }

    /// Length of the whole message in octets.
    pub fn len(&self) -> u64 {
        self.written + self.memory.len() as u64
    }

    /// Is there nothing at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the header section ends: the offset of the empty line, or the length where there is
    /// no such line.
    pub fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn set_start(&mut self, start: u64) {
        self.start = start;
    }

    /// A number that changes whenever the message does; 0 where there is none.
    pub(crate) fn stamp(&self) -> u64 {
        if self.is_empty() { 0 } else { self.generation << 44 | self.len() }
    }

    /// Puts another message in the place of this one.
    pub(crate) fn replace(&mut self, mut other: Body) {
        other.generation = self.generation + 1;
        *self = other;
    }

    /// The whole message, if it is in memory.
    pub fn in_memory(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(self.memory.as_slice())
    }

    /// The spool file, if there is one; the message starts at its offset 0.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// A file that holds the message as received, for programs that want a name.  It is made when
    /// first asked for and removed at the end of the transaction.
    ///
    /// # Errors
    /// What the file system says.
    pub fn filename(&mut self) -> io::Result<&Path> {
        if self.path.is_none() {
            if self.file.is_none() {
                self.file = Some(self.spool.file()?);
            }
            self.spill()?;
            self.path = self.file.as_ref().map(|file| self.spool.link(file)).transpose()?;
        }
        Ok(self.path.as_deref().unwrap_or(Path::new("")))
    }

    /// The message as received without its text: the header section and the empty line behind it.  To
    /// replace the text, write another one to it, [`finish`](Body::finish) it, and put it in the place
    /// of this one.
    ///
    /// # Errors
    /// Reading the spool file, or writing another one.
    pub fn without_text(&self) -> io::Result<Body> {
        let mut body = Body::new(self.spool.clone(), self.threshold);
        body.generation = self.generation + 1;
        let mut section = self.reader(0).take(self.start);
        loop {
            let piece = section.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            body.write(piece)?;
            let used = piece.len();
            section.consume(used);
        }
        body.start = body.len();
        body.write(b"\r\n")?;
        Ok(body)
    }

    /// Throws the message away, and its file.
    pub fn clear(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = std::fs::remove_file(path);
        }
        self.file = None;
        self.written = 0;
        self.start = 0;
        if self.memory.capacity() > 2 * CHUNK {
            self.memory = Vec::new();
        }
        self.memory.clear();
    }

    fn spill(&mut self) -> io::Result<()> {
        let memory = std::mem::take(&mut self.memory);
        let done = self.append(&memory);
        self.memory = memory;
        self.memory.clear();
        done
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.write_all_at(bytes, self.written)?;
            self.written += bytes.len() as u64;
        }
        Ok(())
    }
}

/// As [`Body::write`]: what is written is added at the end.
impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Body::write(self, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(threshold: usize) -> (tempfile::TempDir, Body) {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(&dir.path().join("spool"), 0o700).unwrap();
        (dir, Body::new(Rc::new(spool), threshold))
    }

    #[test]
    fn the_same_bytes_come_out_whatever_the_threshold_and_the_pieces() {
        let message: Vec<u8> = (0..300_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
        for threshold in [0, 1, 1000, 70_000, 1 << 30] {
            for piece in [1000, 65_536, 65_537, 300_000] {
                let (_dir, mut body) = body(threshold);
                for part in message.chunks(piece) {
                    body.write(part).unwrap();
                }
                assert_eq!(body.len(), message.len() as u64);
                for position in [0usize, 1, 65_535, 65_536, 262_144, 299_999, 300_000] {
                    let mut out = vec![];
                    body.copy_from(position as u64, &mut out).unwrap();
                    assert!(out == message[position..], "{threshold} {piece} {position}");
                    let mut read = vec![];
                    body.reader(position as u64).read_to_end(&mut read).unwrap();
                    assert!(read == out, "{threshold} {piece} {position}");
                }
                let path = body.filename().unwrap().to_owned();
                assert!(std::fs::read(&path).unwrap() == message);
                body.clear();
                assert!(!path.exists());
                assert!(body.is_empty());
            }
        }
    }

    #[test]
    fn a_small_message_stays_in_memory() {
        let (_dir, mut body) = body(10);
        body.write(b"0123456789").unwrap();
        assert_eq!(body.in_memory(), Some(&b"0123456789"[..]));
        body.write(b"a").unwrap();
        assert_eq!(body.in_memory(), None);
    }

    #[test]
    fn another_text_stands_below_the_same_header_section() {
        for threshold in [0, 20, 1 << 20] {
            let (_dir, mut old) = body(threshold);
            old.write(b"Subject: x\r\n\r\nfirst\r\n").unwrap();
            old.set_start(12);
            let mut new = old.without_text().unwrap();
            let text = "another line\r\n".repeat(10_000);
            new.write(text.as_bytes()).unwrap();
            new.finish().unwrap();
            assert_ne!(new.stamp() >> 44, old.stamp() >> 44);
            old = new;
            let mut all = vec![];
            old.copy_from(0, &mut all).unwrap();
            assert!(all == [b"Subject: x\r\n\r\n", text.as_bytes()].concat());
            assert_eq!(old.start(), 12);
            assert_eq!(old.in_memory().is_some(), threshold > text.len());
        }
    }

    #[test]
    fn lines_can_be_read_from_the_text_on() {
        let (_dir, mut body) = body(0);
        body.write(b"Subject: x\r\n\r\nfirst\r\nsecond\r\n").unwrap();
        body.set_start(12);
        let lines: Vec<String> = body.reader(body.start()).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["", "first", "second"]);
    }
}
