//! The header section of a message (RFC 5322 2.2): what nobody edits stays as it was received,
//! byte for byte.

mod edit;

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name that lines of an mbox get.
const MAILBOX_LINE: &str = "X-Mailbox-Line";

/// The fields of a message in order, each with its folded lines and its line ends.
///
/// Names compare without regard to ASCII case. A line that is no field, such as an mbox `From `
/// line, keeps its place; it counts in [`len`](Header::len) and in positions, but has no name.
///
/// Names and values that are set are made safe: a name gets `-` for every character that RFC 5322
/// does not allow in one, a newline in a value becomes a fold, and any other control character but
/// the tab becomes `?`. So no value can start a field of its own or end the header section.
#[derive(Clone, Debug, Default)]
pub struct Header {
    raw: Vec<u8>,
    fields: Vec<Field>,
    revision: u64,
}

/// What a line can be in a header section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The first line of a field.
    Field,
    /// It begins with a blank or a tab: a line of the field above it.
    Fold,
    /// A line `From joe@x.test Sat Nov 28 10:00:00 2026` of an mbox, with or without `>` in front.
    Mailbox,
    /// Nothing but a line end.
    Empty,
    /// None of these.
    Text,
}

impl Line {
    /// What this line is, which may lack its end.
    pub(crate) fn of(line: &[u8]) -> Line {
        match line {
            [b' ' | b'\t', ..] => Line::Fold,
            b"\r\n" | b"\n" => Line::Empty,
            _ if name_of(line).is_some() => Line::Field,
            _ if is_mailbox_line(line) => Line::Mailbox,
            _ => Line::Text,
        }
    }
}

#[derive(Clone, Debug)]
struct Field {
    bytes: Bytes,
    /// Length of the name; 0 where the line is no field.
    name: usize,
    /// Where the value begins: after the colon.
    value: usize,
    /// Is it the Received field that we have added?
    is_trace: bool,
}

#[derive(Clone, Debug)]
enum Bytes {
    /// A part of `Header::raw`.
    Received(Range<usize>),
    Set(Vec<u8>),
}

impl Header {
    /// Takes apart a header section as it was received, without the empty line that ends it.
    ///
    /// Lines may end in CRLF or LF, the last one in neither. Nothing is refused.
    pub fn parse(raw: &[u8]) -> Header {
        let mut fields: Vec<Field> = Vec::new();
        let mut end = 0;
        for line in raw.split_inclusive(|&b| b == b'\n') {
            let start = end;
            end += line.len();
            match fields.last_mut() {
                Some(Field { bytes: Bytes::Received(range), .. }) if is_fold(line) => {
                    range.end = end
                }
                _ => fields.push(Field::new(line, Bytes::Received(start..end))),
            }
        }
        Header { raw: raw.to_vec(), fields, revision: stamp() }
    }

    /// Makes fields of the lines of an mbox with which the section begins: what is put above them
    /// would not be of the same section for those who read it next.
    pub(crate) fn name_mailbox_lines(&mut self) {
        let Header { raw, fields, revision } = self;
        let is_one = |field: &&mut Field| field.name == 0 && is_mailbox_line(field.bytes(raw));
        for field in fields.iter_mut().take_while(is_one) {
            *field = Field::compose(MAILBOX_LINE, &[b" ", field.bytes(raw)].concat());
            *revision = stamp();
        }
    }

    /// The value of the first field of that name, for reading: without leading white space and
    /// without its line end, folds kept with `\n` for every CRLF, and U+FFFD for what is not UTF-8.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get_raw(name).map(readable)
    }

    /// The values of all fields of that name in order, each as from [`get`](Header::get).
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.indices(name).map(|i| readable(self.value(&self.fields[i])))
    }

    /// The value of the first field of that name as received: all that follows the colon, with
    /// folds and line end.
    pub fn get_raw(&self, name: &str) -> Option<&[u8]> {
        self.indices(name).next().map(|i| self.value(&self.fields[i]))
    }

    /// How many fields have that name.
    pub fn count(&self, name: &str) -> usize {
        self.indices(name).count()
    }

    /// The names of the fields in order, as written; lines that are no field are passed over.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.fields.iter().map(|f| self.name(f)).filter(|n| !n.is_empty());
        names.filter_map(|n| str::from_utf8(n).ok())
    }

    /// The fields in order, each with its folded lines and line ends.
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().map(|field| field.bytes(&self.raw))
    }

    /// The fields in order, each with its name and, as in [`get_raw`](Header::get_raw), its value; the
    /// name of a line that is no field is empty.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (self.name(field), self.value(field)))
    }

    /// The position of the Received field that we have added to the message, which those who look at
    /// messages elsewhere before a server adds its own do not count.
    pub fn trace(&self) -> Option<usize> {
        self.fields.iter().position(|field| field.is_trace)
    }

    /// A number that no other header section has had, and that changes whenever this one does; 0
    /// for one that was never filled.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether there is no line at all.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// How many fields there are, lines that are no field included; a folded field is one.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The length in octets of what [`write_to`](Header::write_to) writes.
    pub fn byte_len(&self) -> usize {
        self.fields.iter().map(|f| f.bytes(&self.raw).len()).sum()
    }

    /// Writes the fields, without the empty line that ends the section. A section that was not
    /// edited comes out exactly as it went into [`parse`](Header::parse).
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.fields.iter().try_for_each(|f| out.write_all(f.bytes(&self.raw)))
    }

    /// The fields as [`write_to`](Header::write_to) writes them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.byte_len());
        self.fields.iter().for_each(|f| out.extend_from_slice(f.bytes(&self.raw)));
        out
    }

    /// Where fields end: the position of the first line that is none.  To some who read the message the
    /// text begins there.
    pub fn end(&self) -> usize {
        let is_none = |field: &Field| field.name == 0 && !is_fold(field.bytes(&self.raw));
        self.fields.iter().position(is_none).unwrap_or(self.fields.len())
    }

    fn indices(&self, name: &str) -> impl Iterator<Item = usize> {
        let fields = self.fields.iter().enumerate();
        fields.filter(move |(_, f)| f.is(&self.raw, name)).map(|(i, _)| i)
    }

    fn name<'a>(&'a self, field: &'a Field) -> &'a [u8] {
        &field.bytes(&self.raw)[..field.name]
    }

    fn value<'a>(&'a self, field: &'a Field) -> &'a [u8] {
        &field.bytes(&self.raw)[field.value..]
    }
}

impl Field {
    /// A field of which the first line is at hand.
    fn new(line: &[u8], bytes: Bytes) -> Field {
        match name_of(line) {
            Some((name, colon)) => Field { name, value: colon + 1, bytes, is_trace: false },
            None => Field { bytes, name: 0, value: 0, is_trace: false },
        }
    }

    fn bytes<'a>(&'a self, raw: &'a [u8]) -> &'a [u8] {
        match &self.bytes {
            Bytes::Received(range) => &raw[range.clone()],
            Bytes::Set(bytes) => bytes,
        }
    }

    /// The name as it is written; None where the line is no field.
    fn written_name<'a>(&'a self, raw: &'a [u8]) -> Option<&'a str> {
        str::from_utf8(&self.bytes(raw)[..self.name]).ok().filter(|name| !name.is_empty())
    }

    fn is(&self, raw: &[u8], name: &str) -> bool {
        self.name > 0 && self.bytes(raw)[..self.name].eq_ignore_ascii_case(name.as_bytes())
    }
}

fn stamp() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// The length of a field's name and the place of its colon; None where the line is no field.
fn name_of(line: &[u8]) -> Option<(usize, usize)> {
    let name = line.iter().position(|b| !is_ftext(char::from(*b)))?;
    // Blanks before the colon are obsolete syntax that is still seen (RFC 5322 4.5.8).
    let blanks = line[name..].iter().position(|b| !matches!(b, b' ' | b'\t'))?;
    (name > 0 && line[name + blanks] == b':').then_some((name, name + blanks))
}

/// Does a line of an mbox begin like that?
fn is_mailbox_line(line: &[u8]) -> bool {
    let quotes = line.iter().take_while(|b| **b == b'>').count();
    line[quotes..].get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"From "))
}

fn is_fold(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

/// A character of a field name: printable ASCII except the colon (RFC 5322 3.6.8).
fn is_ftext(c: char) -> bool {
    c.is_ascii_graphic() && c != ':'
}

fn readable(value: &[u8]) -> Cow<'_, str> {
    let value = value.strip_suffix(b"\n").map_or(value, |v| v.strip_suffix(b"\r").unwrap_or(v));
    let text = String::from_utf8_lossy(value.trim_ascii_start());
    if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { text }
}

#[cfg(test)]
mod tests;
