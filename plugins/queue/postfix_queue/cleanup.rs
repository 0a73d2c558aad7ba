//! The protocol of Postfix's cleanup: lists of attributes, and records.

use std::collections::HashMap;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::mail::Address;
use crate::mail::notify::{Notify, Return, envelope_id, original_recipient};
use crate::net::{Endpoint, Wire};
use crate::state::{Params, Transaction};

/// How much is written at a time, in octets.
const CHUNK: usize = 64 * 1024;

/// The longest record of a message, in octets; longer lines are several records.
const LONGEST_RECORD: usize = 1024;

/// The longest list of attributes that is read, in octets.
const LONGEST_LIST: usize = 64 * 1024;

/// A cleanup process that is ready for a message.
pub(super) struct Cleanup {
    wire: Wire,
    /// The id of the message in Postfix's log.
    pub(super) queue_id: String,
}

impl Cleanup {
    /// Connects, and reads the queue id of the message to come.
    pub(super) fn open(endpoint: &str, until: Instant) -> io::Result<Cleanup> {
        let endpoint = Endpoint::parse(endpoint, None).map_err(io::Error::other)?;
        let mut wire = Wire::connect(&endpoint, until)?;
        match attributes(&mut wire, until)?.remove("queue_id") {
            Some(queue_id) => Ok(Cleanup { wire, queue_id }),
            None => Err(io::Error::other("there is no cleanup")),
        }
    }

    /// Sends the message.  Returns the status, 0 where it is in the queue, and the reason.
    pub(super) fn take(
        &mut self,
        transaction: &Transaction,
        flags: i64,
        until: Instant,
    ) -> io::Result<(i64, String)> {
        self.wire.set_end(until);
        let mut out = BufWriter::with_capacity(CHUNK, &mut self.wire);
        write!(out, "flags\0{flags}\0\0")?;
        let mut records = Records { out, line: vec![] };
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        records.put(b'T', time.to_string().as_bytes())?;
        let sender = transaction.sender().map(Address::address).unwrap_or_default();
        records.put_attributes(&of_message(&transaction.mail_params))?;
        records.put(b'S', sender.as_bytes())?;
        for (recipient, params) in transaction.recipients().iter().zip(transaction.rcpt_params()) {
            records.put_attributes(&of_recipient(params))?;
            records.put(b'R', recipient.address().as_bytes())?;
        }
        records.put(b'M', b"")?;
        transaction.write_lf(&mut records)?;
        records.put(b'X', b"")?;
        records.put(b'E', b"")?;
        records.out.flush()?;
        drop(records);
        let mut list = attributes(&mut self.wire, until)?;
        let status = list.get("status").and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("cleanup gave no status"))?;
        Ok((status, list.remove("reason").unwrap_or_default()))
    }
}

/// What cleanup is told of RET and ENVID: the names of Postfix's global/mail_proto.h, the numbers of
/// its global/dsn_mask.h.
fn of_message(params: &Params) -> Vec<String> {
    let id = params.get("envid").and_then(envelope_id).map(|id| format!("envelope_id={id}"));
    let part = params.get("ret").and_then(Return::parse).map(|part| match part {
        Return::Full => "ret_flags=1".to_owned(),
        Return::Headers => "ret_flags=2".to_owned(),
    });
    id.into_iter().chain(part).collect()
}

/// What cleanup is told of NOTIFY and ORCPT, before the recipient.
fn of_recipient(params: &Params) -> Vec<String> {
    let original = params.get("orcpt").and_then(original_recipient);
    let original = original.map(|address| format!("dsn_orig_rcpt={address}"));
    let notify = params.get("notify").and_then(Notify::parse).map(|notify| {
        let Notify { success, failure, delay } = notify;
        let when = i32::from(success) << 1 | i32::from(failure) << 2 | i32::from(delay) << 3;
        format!("notify_flags={}", if when == 0 { 1 } else { when })
    });
    original.into_iter().chain(notify).collect()
}

/// Reads names and values, each ended by NUL, up to an empty name.
fn attributes(wire: &mut Wire, until: Instant) -> io::Result<HashMap<String, String>> {
    let mut list = HashMap::new();
    let mut room = LONGEST_LIST;
    let mut word = |wire: &mut Wire| {
        let word = wire.up_to(0, room, until)?.ok_or(ErrorKind::InvalidData)?;
        room = room.saturating_sub(word.len() + 1);
        io::Result::Ok(String::from_utf8_lossy(&word).into_owned())
    };
    loop {
        let name = word(wire)?;
        if name.is_empty() {
            return Ok(list);
        }
        let value = word(wire)?;
        list.insert(name, value);
    }
}

/// Makes records, as in Postfix's global/rec_type.h.  What is written are the lines of the message.
struct Records<W> {
    out: W,
    /// A line, or a part of one, that may go on.
    line: Vec<u8>,
}

impl<W: Write> Records<W> {
    /// A record: a letter for what it is, its length, and its content.
    fn put(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        self.out.write_all(&[kind])?;
        // Seven bits an octet, the lowest first; the highest bit says that there is more.
        let mut length = content.len();
        while length >= 0x80 {
            self.out.write_all(&[(length & 0x7f) as u8 | 0x80])?;
            length >>= 7;
        }
        self.out.write_all(&[length as u8])?;
        self.out.write_all(content)
    }

    fn put_attributes(&mut self, attributes: &[String]) -> io::Result<()> {
        attributes.iter().try_for_each(|attribute| self.put(b'A', attribute.as_bytes()))
    }

    fn put_line(&mut self, kind: u8) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let done = self.put(kind, &line);
        self.line = line;
        self.line.clear();
        done
    }
}

impl<W: Write> Write for Records<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut text = piece.strip_suffix(b"\n").unwrap_or(piece);
            while !text.is_empty() {
                if self.line.len() == LONGEST_RECORD {
                    self.put_line(b'L')?;
                }
                let count = text.len().min(LONGEST_RECORD - self.line.len());
                self.line.extend_from_slice(&text[..count]);
                text = &text[count..];
            }
            if piece.ends_with(b"\n") {
                self.put_line(b'N')?;
            }
        }
        Ok(bytes.len())
    }

    /// The end of the message: a line without an end is one, too.
    fn flush(&mut self) -> io::Result<()> {
        if self.line.is_empty() { Ok(()) } else { self.put_line(b'N') }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_attributes() {
        for (words, attributes) in [
            ("", &[][..]),
            ("RET=FULL", &["ret_flags=1"]),
            ("ret=hdrs envid=QQ+2B+3D+201", &["envelope_id=QQ+= 1", "ret_flags=2"]),
            ("ENVID=+0A RET=x", &[]),
        ] {
            assert_eq!(of_message(&Params::from_words(words.split(' '))), attributes, "{words}");
        }
        for (words, attributes) in [
            ("", &[][..]),
            ("NOTIFY=NEVER", &["notify_flags=1"]),
            ("NOTIFY=SUCCESS", &["notify_flags=2"]),
            (
                "NOTIFY=Failure,Delay ORCPT=rfc822;a+2Bb@x",
                &["dsn_orig_rcpt=rfc822;a+b@x", "notify_flags=12"],
            ),
            ("NOTIFY=SUCCESS,DELAY,FAILURE", &["notify_flags=14"]),
            ("ORCPT=x NOTIFY=x", &[]),
        ] {
            assert_eq!(of_recipient(&Params::from_words(words.split(' '))), attributes, "{words}");
        }
    }

    #[test]
    fn records_are_lines_wherever_a_piece_ends() {
        let long = "x".repeat(2 * LONGEST_RECORD + 5);
        let text = format!("\nab\n{long}\n{}\nend", &long[..LONGEST_RECORD]);
        let mut want = b"N\0N\x02ab".to_vec();
        let whole: &[u8] = b"\x80\x08";
        for (kind, length, count) in
            [(b'L', whole, 1024), (b'L', whole, 1024), (b'N', b"\x05", 5), (b'N', whole, 1024)]
        {
            want.push(kind);
            want.extend_from_slice(length);
            want.extend_from_slice(&long.as_bytes()[..count]);
        }
        want.extend_from_slice(b"N\x03end");
        for size in [1, 2, 3, 1023, 1024, 1025, 5000] {
            let mut records = Records { out: vec![], line: vec![] };
            for piece in text.as_bytes().chunks(size) {
                records.write_all(piece).unwrap();
            }
            records.flush().unwrap();
            assert!(records.out == want, "{size}");
        }
    }
}
