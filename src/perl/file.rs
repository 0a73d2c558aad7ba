//! The message as a file for Perl plugins.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::perl::protocol::ToPerl;
use crate::perl::serving::Serving;
use crate::perl::wire::Item;
use crate::state::{Counter, Transaction, UnixLines};

/// The whole message with `\n` line ends, which Perl plugins have always seen, and may change.
pub(super) struct LfFile {
    path: PathBuf,
    /// Where what follows the header section begins.
    start: Cell<u64>,
    state: Cell<FileState>,
    /// The stamp of the message that it is made of.
    of: Cell<u64>,
    serving: Weak<Serving>,
}

/// By what a file is known to be as it was: number, length, time of its last change.
#[derive(Clone, Copy, PartialEq, Default)]
struct FileState(u64, u64, i64, i64);

impl LfFile {
    /// Writes the message to `path`.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn make(
        transaction: &Transaction,
        path: PathBuf,
        serving: &Rc<Serving>,
    ) -> io::Result<LfFile> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let (start, state, of) = Default::default();
        let made = LfFile { path, start, state, of, serving: Rc::downgrade(serving) };
        made.write(transaction)?;
        Ok(made)
    }

    /// Writes the message anew, unless it is the one that is there already.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn write(&self, transaction: &Transaction) -> io::Result<()> {
        let body = &transaction.body;
        if self.is_of(transaction) {
            return Ok(());
        }
        let file = OpenOptions::new().write(true).truncate(true).open(&self.path)?;
        let mut out = BufWriter::with_capacity(64 * 1024, file);
        let mut lines = UnixLines::new(&mut out);
        io::copy(&mut body.reader(0).take(body.start()), &mut lines)?;
        lines.flush()?;
        self.start.set(out.stream_position()?);
        let mut lines = UnixLines::new(&mut out);
        body.copy_from(body.start(), &mut lines)?;
        lines.flush()?;
        out.flush()?;
        self.mark(transaction)
    }

    /// Has the message not changed on this side since?
    pub(super) fn is_of(&self, transaction: &Transaction) -> bool {
        self.of.get() == transaction.body.stamp()
    }

    /// Path, where the text begins.
    pub(super) fn item(&self) -> Item {
        let path = Item::text(self.path.as_os_str().as_encoded_bytes());
        Item::List(vec![path, Item::number(self.start.get())])
    }

    /// Appends what a plugin adds to the message.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn append(&self, text: &[u8], transaction: &Transaction) -> io::Result<()> {
        OpenOptions::new().append(true).open(&self.path)?.write_all(text)?;
        self.mark(transaction)
    }

    /// The text begins elsewhere, says a plugin.
    pub(super) fn set_start(&self, start: u64) {
        self.start.set(start);
        self.state.take();
    }

    /// Has a plugin changed the file since it was written or read here?
    pub(super) fn is_changed(&self) -> bool {
        self.look().is_ok_and(|state| state != self.state.get())
    }

    /// Makes the text of the file that of the message.  The header section of the file does not
    /// count, as ever.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn take_back(&self, transaction: &mut Transaction) -> io::Result<()> {
        let mut file = BufReader::with_capacity(64 * 1024, File::open(&self.path)?);
        self.start.set(text_start(&mut file, self.start.get())?);
        file.seek(io::SeekFrom::Start(self.start.get()))?;
        let body = &mut transaction.body;
        let mut head = vec![];
        body.reader(0).take(body.start()).read_to_end(&mut head)?;
        body.clear();
        body.write(&head)?;
        body.set_start(head.len() as u64);
        let mut line = vec![];
        while file.read_until(b'\n', &mut line)? > 0 {
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            body.write(&with_crlf(&line))?;
            line.clear();
        }
        body.finish()?;
        self.mark(transaction)
    }

    fn look(&self) -> io::Result<FileState> {
        let known = std::fs::metadata(&self.path)?;
        Ok(FileState(known.ino(), known.len(), known.mtime(), known.mtime_nsec()))
    }

    /// The time of the last change is set to one that no change of a plugin can have: the clock of
    /// the file system may stand still between two of them.
    fn mark(&self, transaction: &Transaction) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let past = UNIX_EPOCH + Duration::from_secs(now.saturating_sub(1));
        OpenOptions::new().append(true).open(&self.path)?.set_modified(past)?;
        self.state.set(self.look()?);
        self.of.set(transaction.body.stamp());
        Ok(())
    }
}

/// Where the text of the message begins: `start`, if there is an empty line, else the first one.
fn text_start(file: &mut (impl BufRead + Seek), start: u64) -> io::Result<u64> {
    let mut around = [0; 2];
    file.seek(io::SeekFrom::Start(start.saturating_sub(1)))?;
    if file.read_exact(&mut around).is_ok()
        && (&around == b"\n\n" || start == 0 && around[0] == b'\n')
    {
        return Ok(start);
    }
    file.rewind()?;
    let (mut at, mut line) = (0, vec![]);
    while file.read_until(b'\n', &mut line)? > 0 && line != b"\n" && line != b"\r\n" {
        at += line.len() as u64;
        line.clear();
    }
    Ok(at)
}

impl Drop for LfFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        if let Some(serving) = self.serving.upgrade()
            && serving.link.is_ours()
        {
            // A Perl process that keeps the file open keeps its space on the disk.
            let _ = serving.link.send([ToPerl::ForgetBody]);
        }
    }
}

/// The length of the message with `\n` line ends.
///
/// # Errors
/// The spool file cannot be read.
pub(super) fn lf_length(transaction: &Transaction) -> io::Result<u64> {
    let mut count = Counter(0);
    let mut lines = UnixLines::new(&mut count);
    transaction.body.copy_from(0, &mut lines)?;
    lines.flush()?;
    Ok(count.0)
}

/// The same text with CRLF line ends.
pub(super) fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 40);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_made() {
        assert_eq!(with_crlf(b"a\n\nb\r\nc"), b"a\r\n\r\nb\r\nc");
    }
}
