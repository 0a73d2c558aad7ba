//! Reading the message, from any position on.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::FileExt;

use super::{Body, CHUNK};

impl Body {
    /// Reads from any position, as often as wanted: `reader(body.start())` starts at the empty
    /// line between header and text.
    pub fn reader(&self, position: u64) -> Reader<'_> {
        Reader { body: self, position, chunk: vec![], at: 0 }
    }

    /// Writes everything from `position` on to `out`.
    ///
    /// # Errors
    /// Reading the spool file or writing to `out`.
    pub fn copy_from(&self, position: u64, out: &mut impl Write) -> io::Result<()> {
        if let Some(bytes) = self.in_memory() {
            return out.write_all(&bytes[(position as usize).min(bytes.len())..]);
        }
        let mut reader = self.reader(position);
        loop {
            let chunk = reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok(());
            }
            out.write_all(chunk)?;
            let used = chunk.len();
            reader.consume(used);
        }
    }
}

/// Reads a [`Body`] from a position on; see [`Body::reader`].
#[derive(Debug)]
pub struct Reader<'a> {
    body: &'a Body,
    position: u64,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let count = chunk.len().min(out.len());
        out[..count].copy_from_slice(&chunk[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.chunk.len() {
            return Ok(&self.chunk[self.at..]);
        }
        if self.position >= self.body.written {
            let offset = (self.position - self.body.written) as usize;
            return Ok(&self.body.memory[offset.min(self.body.memory.len())..]);
        }
        let Some(file) = &self.body.file else { return Ok(&[]) };
        let left = (self.body.written - self.position).min(CHUNK as u64) as usize;
        self.chunk.resize(left, 0);
        file.read_exact_at(&mut self.chunk, self.position)?;
        self.at = 0;
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.position += count as u64;
        if self.at < self.chunk.len() {
            self.at += count;
        }
    }
}
