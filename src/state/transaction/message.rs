//! The message of a transaction: its header section and its body in one piece.

use std::io::{self, BufRead, BufWriter, ErrorKind, Write};

use crate::mail::Header;
use crate::mail::head::{Head, LARGEST};
use crate::state::{Body, Counter, Transaction, UnixLines};

/// How much of a message is written at a time, in octets.
const PIECE: usize = 64 * 1024;

impl Transaction {
    /// Writes the message as it is to be handed on: the header section as it is now, then the
    /// empty line and the text as received.
    ///
    /// # Errors
    /// Reading the spool file or writing to `out`.
    pub fn write_message(&self, out: &mut impl Write) -> io::Result<()> {
        self.header.write_to(out)?;
        self.body.copy_from(self.body.start(), out)
    }

    /// Writes the same with lines that end in LF, as programs of this machine want them, in large
    /// pieces; a CR or an LF alone stays as it is.  At the end `out` is flushed.
    ///
    /// # Errors
    /// Reading the spool file or writing to `out`.
    pub fn write_lf(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_lf_pieces(BufWriter::with_capacity(PIECE, out))
    }

    /// The same in many small pieces, for what gathers them.
    ///
    /// # Errors
    /// Reading the spool file or writing to `out`.
    pub fn write_lf_pieces(&self, out: impl Write) -> io::Result<()> {
        let mut lines = UnixLines::new(out);
        self.write_message(&mut lines)?;
        lines.flush()
    }

    /// How many octets [`Transaction::write_lf`] writes.  The message is read for that.
    ///
    /// # Errors
    /// Reading the spool file.
    pub fn lf_len(&self) -> io::Result<u64> {
        let mut lines = UnixLines::new(Counter(0));
        self.write_message(&mut lines)?;
        lines.flush()?;
        Ok(lines.into_inner().0)
    }

    /// How many octets [`Transaction::write_message`] writes.
    pub fn message_len(&self) -> u64 {
        self.header.byte_len() as u64 + self.body.len() - self.body.start()
    }

    /// An empty message, to be written and put in the place of this one with
    /// [`Transaction::replace_message`].
    pub fn new_message(&self) -> Body {
        Body::new(self.spool.clone(), self.threshold)
    }

    /// Puts `message`, header section and text with CRLF line ends, in the place of the message: for
    /// programs that give back a whole message.  The header section ends where that of a message from a
    /// client would.  A file from [`Body::filename`] is gone then; asked again, there is another one.
    ///
    /// # Errors
    /// `InvalidData`: the header section has more than 1 MiB; reading or writing the spool file.  The
    /// message is what it was.
    pub fn replace_message(&mut self, mut message: Body) -> io::Result<()> {
        message.finish()?;
        let mut head = Head::default();
        let mut reader = message.reader(0);
        let end = loop {
            let piece = reader.fill_buf()?;
            if piece.is_empty() {
                break head.finish();
            }
            let count = piece.len().min(PIECE);
            if let Some(end) = head.add(&piece[..count]) {
                break end;
            }
            if head.octets().len() > LARGEST {
                let why = "the header section of the new message is too large";
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
            reader.consume(count);
        };
        let mut header = Header::parse(&head.octets()[..end.at]);
        header.name_mailbox_lines();
        header.keep_trace(&self.header);
        if end.is_fold {
            // The text would become a part of a field that is put above it.
            let mut apart = self.new_message();
            apart.write(b"\r\n")?;
            message.copy_from(0, &mut apart)?;
            apart.finish()?;
            message = apart;
        }
        message.set_start(end.at as u64);
        self.header = header;
        self.body.replace(message);
        Ok(())
    }
}
