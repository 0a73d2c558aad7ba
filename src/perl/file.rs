//! The message as a file for Perl plugins, and what in a plugin's file cannot work here.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::LazyLock;

use regex::Regex;

use crate::perl::Serving;
use crate::perl::wire::Item;
use crate::state::{Transaction, UnixLines};

/// The whole message with `\n` line ends, which Perl plugins have always seen.
pub(super) struct LfFile {
    path: PathBuf,
    /// Where what follows the header section begins.
    start: u64,
    size: std::cell::Cell<u64>,
    serving: Weak<Serving>,
}

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
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut made = LfFile { path, start: 0, size: 0.into(), serving: Rc::downgrade(serving) };
        let mut out = BufWriter::with_capacity(64 * 1024, file);
        let body = &transaction.body;
        let mut lines = UnixLines::new(&mut out);
        io::copy(&mut body.reader(0).take(body.start()), &mut lines)?;
        lines.flush()?;
        made.start = out.stream_position()?;
        let mut lines = UnixLines::new(&mut out);
        body.copy_from(body.start(), &mut lines)?;
        lines.flush()?;
        made.size.set(out.stream_position()?);
        Ok(made)
    }

    /// Path, where the text begins, length.
    pub(super) fn item(&self) -> Item {
        let path = Item::text(self.path.as_os_str().as_encoded_bytes());
        Item::List(vec![path, Item::number(self.start), Item::number(self.size.get())])
    }

    /// Appends what a plugin adds to the message.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn append(&self, text: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(text)?;
        self.size.set(self.size.get() + text.len() as u64);
        Ok(())
    }
}

impl Drop for LfFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        if let Some(serving) = self.serving.upgrade()
            && serving.link.is_ours()
        {
            // A Perl process that keeps the file open keeps its space on the disk.
            let _ = serving.link.send(vec![Item::text("b")]);
        }
    }
}

/// The length of the message with `\n` line ends.
///
/// # Errors
/// The spool file cannot be read.
pub(super) fn lf_length(transaction: &Transaction) -> io::Result<u64> {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
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

/// Why a Perl plugin's file cannot work here, if it cannot: the client's socket is the worker's,
/// and Perl's STDIN and STDOUT are not the client.
pub fn cannot_work(file: &Path) -> Option<&'static str> {
    static SOCKET: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
        let regex = |text: &str| Regex::new(text).expect("these are constants, and tested");
        [
            (
                regex(r"\*STD(IN|OUT)\s*=[^=~]|start_SSL|new_from_fd\s*\(\s*(fileno|\\?\*?STDIN)"),
                "it puts another socket in the place of the client's",
            ),
            (
                regex(
                    r"<\s*STDIN\s*>|\\\*STDIN|(read|recv|readline)\s*\(\s*\*?STDIN|fileno\s*\(\s*\*?STDIN",
                ),
                "it reads from the client's socket",
            ),
            (
                regex(
                    r"Danga::|->(watch_read|watch_write|pause_read|continue_read|AddTimer)\b|\bYIELD\b",
                ),
                "it is written for the asynchronous server",
            ),
        ]
    });
    let text = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    let code = code_of(&text);
    SOCKET.iter().find(|(pattern, _)| pattern.is_match(&code)).map(|(_, why)| *why)
}

/// Perl's source without comments of whole lines, POD and what follows `__END__`.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut is_pod = false;
    for line in text.lines() {
        let command = line.strip_prefix('=').filter(|rest| rest.starts_with(char::is_alphabetic));
        if let Some(command) = command {
            is_pod = !command.starts_with("cut");
        } else if matches!(line.trim_end(), "__END__" | "__DATA__") {
            break;
        } else if !is_pod && !line.trim_start().starts_with('#') {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_made() {
        assert_eq!(with_crlf(b"a\n\nb\r\nc"), b"a\r\n\r\nb\r\nc");
    }

    #[test]
    fn plugins_that_want_the_socket_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plugin");
        for (source, why) in [
            ("*STDIN = *STDOUT = $socket;", Some("puts another socket")),
            ("my $line = <STDIN>;", Some("reads from the client")),
            ("$select->add(\\*STDIN) or return DECLINED;", Some("reads from the client")),
            ("return YIELD;", Some("asynchronous")),
            ("# <STDIN>\n=pod\n\n<STDIN>\n\n=cut\nsub hook_rcpt { }\n__END__\n<STDIN>", None),
            ("open(SAVE_STDIN, \"<&STDIN\");\nif ($STDIN == 1) { print STDERR 'x' }", None),
        ] {
            std::fs::write(&file, source).unwrap();
            let found = cannot_work(&file);
            match why {
                Some(why) => assert!(found.is_some_and(|text| text.contains(why)), "{source}"),
                None => assert_eq!(found, None, "{source}"),
            }
        }
    }
}
