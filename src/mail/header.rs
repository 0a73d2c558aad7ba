//! The header section of a message (RFC 5322 2.2): what nobody edits stays as it was received,
//! byte for byte.

use std::borrow::Cow;
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name that a fold without a field gets when a field is put above it.
const UNNAMED: &str = "X-Unnamed";

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

#[derive(Clone, Debug)]
struct Field {
    bytes: Bytes,
    /// Length of the name; 0 where the line is no field.
    name: usize,
    /// Where the value begins: after the colon.
    value: usize,
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

    /// Adds a field at the end.
    pub fn add(&mut self, name: &str, value: &str) {
        self.add_at(self.fields.len(), name, value);
    }

    /// Adds a field before the one at that position, 0 being the top; at the end where there are
    /// fewer. A fold without a field that would continue the new one becomes a field of its own.
    pub fn add_at(&mut self, position: usize, name: &str, value: &str) {
        let position = position.min(self.fields.len());
        self.revision = stamp();
        self.make_room(position);
        self.fields.insert(position, Field::set(name, value));
    }

    /// Replaces the first field of that name where it stands and removes the others; adds one at
    /// the end where there is none.
    pub fn replace(&mut self, name: &str, value: &str) {
        self.revision = stamp();
        let name = clean_name(name);
        let mut seen = false;
        let Header { raw, fields, .. } = self;
        fields.retain(|f| !f.is(raw, &name) || !mem::replace(&mut seen, true));
        if !self.replace_nth(&name, 0, value) {
            self.add(&name, value);
        }
    }

    /// Replaces one field of that name, counted from 0. False where there is none.
    pub fn replace_nth(&mut self, name: &str, index: usize, value: &str) -> bool {
        let found = self.indices(name).nth(index);
        if let Some(i) = found {
            self.revision = stamp();
            self.fields[i] = Field::set(name, value);
        }
        found.is_some()
    }

    /// Removes all fields of that name and returns how many there were.
    pub fn delete(&mut self, name: &str) -> usize {
        self.revision = stamp();
        let before = self.fields.len();
        let Header { raw, fields, .. } = self;
        fields.retain(|f| !f.is(raw, name));
        before - self.fields.len()
    }

    /// Removes one field of that name, counted from 0. False where there is none.
    pub fn delete_nth(&mut self, name: &str, index: usize) -> bool {
        let found = self.indices(name).nth(index);
        if let Some(i) = found {
            self.revision = stamp();
            self.fields.remove(i);
        }
        found.is_some()
    }

    /// Gives all fields of one name another one and returns how many there were. The bytes of the
    /// values stay.
    pub fn rename(&mut self, old: &str, new: &str) -> usize {
        self.revision = stamp();
        let found: Vec<usize> = self.indices(old).collect();
        for &i in &found {
            self.fields[i] = Field::compose(new, self.value(&self.fields[i]));
        }
        found.len()
    }

    /// The fields in order, each with its folded lines and line ends.
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().map(|field| field.bytes(&self.raw))
    }

    /// Makes it anew of its own fields, by their positions, and of new ones, each `Name: value`
    /// with folded lines, in the order given.  Positions that there are not are left out.
    pub fn rebuild<'a>(&mut self, parts: impl Iterator<Item = Result<usize, &'a [u8]>>) {
        let fields = parts.filter_map(|part| match part {
            Ok(position) => self.fields.get(position).cloned(),
            Err(text) => Field::whole(text),
        });
        self.fields = fields.collect();
        self.revision = stamp();
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
    /// edited comes out exactly as it went into [`parse`](Header::parse). Errors are the writer's.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.fields.iter().try_for_each(|f| out.write_all(f.bytes(&self.raw)))
    }

    /// The fields as [`write_to`](Header::write_to) writes them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.byte_len());
        self.fields.iter().for_each(|f| out.extend_from_slice(f.bytes(&self.raw)));
        out
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

    /// Sees to it that a field put at this position is neither glued to the line above nor
    /// continued by the one below.
    fn make_room(&mut self, position: usize) {
        if let Some(below) = self.fields.get_mut(position) {
            let bytes = below.bytes(&self.raw);
            if is_fold(bytes) {
                *below = Field::compose(UNNAMED, bytes);
            }
        } else if let Some(above) = self.fields.last_mut() {
            let bytes = above.bytes(&self.raw);
            if !bytes.ends_with(b"\n") {
                let line_end: &[u8] = if bytes.ends_with(b"\r") { b"\n" } else { b"\r\n" };
                above.bytes = Bytes::Set([bytes, line_end].concat());
            }
        }
    }
}

impl Field {
    /// A field of which the first line is at hand.
    fn new(line: &[u8], bytes: Bytes) -> Field {
        let colon = line.iter().position(|&b| b == b':').unwrap_or(0);
        // Blanks before the colon are obsolete syntax that is still seen (RFC 5322 4.5.8).
        let name = line[..colon].trim_ascii_end();
        if name.is_empty() || !name.iter().all(|b| is_ftext(char::from(*b))) {
            return Field { bytes, name: 0, value: 0 };
        }
        Field { name: name.len(), value: colon + 1, bytes }
    }

    /// A field with a value that is made safe here.
    fn set(name: &str, value: &str) -> Field {
        Field::compose(name, clean_value(value).as_bytes())
    }

    /// A field of its whole text, which is made safe here; None where it has no name.
    fn whole(text: &[u8]) -> Option<Field> {
        let mut bytes = Vec::with_capacity(text.len() + 2);
        let lines = text.split(|b| *b == b'\n').map(without_controls);
        for (number, line) in lines.filter(|line| !line.trim_ascii().is_empty()).enumerate() {
            if number > 0 && !is_fold(&line) {
                bytes.push(b' ');
            }
            bytes.extend_from_slice(&line);
            bytes.extend_from_slice(b"\r\n");
        }
        let first = bytes.split(|b| *b == b'\n').next().unwrap_or_default().to_vec();
        Some(Field::new(&first, Bytes::Set(bytes))).filter(|field| field.name > 0)
    }

    /// A field of any name and of value bytes that are safe as they are.
    fn compose(name: &str, value: &[u8]) -> Field {
        let name = clean_name(name);
        let bytes = [name.as_bytes(), b":", value].concat();
        Field { bytes: Bytes::Set(bytes), name: name.len(), value: name.len() + 1 }
    }

    fn bytes<'a>(&'a self, raw: &'a [u8]) -> &'a [u8] {
        match &self.bytes {
            Bytes::Received(range) => &raw[range.clone()],
            Bytes::Set(bytes) => bytes,
        }
    }

    fn is(&self, raw: &[u8], name: &str) -> bool {
        self.name > 0 && self.bytes(raw)[..self.name].eq_ignore_ascii_case(name.as_bytes())
    }
}

fn stamp() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

fn is_fold(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

/// A character of a field name: printable ASCII except the colon (RFC 5322 3.6.8).
fn is_ftext(c: char) -> bool {
    c.is_ascii_graphic() && c != ':'
}

fn clean_name(name: &str) -> String {
    if name.is_empty() { "-".to_owned() } else { name.replace(|c| !is_ftext(c), "-") }
}

/// A line without control characters but tabs; octets that are no UTF-8 stay.
fn without_controls(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        let kept = chunk.valid().split(|c: char| c.is_control() && c != '\t');
        kept.for_each(|part| out.extend_from_slice(part.as_bytes()));
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// The value from the blank after the colon to its line end, whatever it holds.
fn clean_value(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 3);
    let lines = value.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l));
    // A fold of blanks alone is not legal, and some readers take it for the end of the section.
    for line in lines.filter(|l| !l.trim_matches([' ', '\t']).is_empty()) {
        let line = if out.is_empty() {
            line.trim_start_matches([' ', '\t'])
        } else {
            out.push_str("\r\n");
            line
        };
        if !is_fold(line.as_bytes()) {
            out.push(' ');
        }
        for (number, part) in line.split(|c: char| c.is_control() && c != '\t').enumerate() {
            if number > 0 {
                out.push('?');
            }
            out.push_str(part);
        }
    }
    out.push_str("\r\n");
    out
}

fn readable(value: &[u8]) -> Cow<'_, str> {
    let value = value.strip_suffix(b"\n").map_or(value, |v| v.strip_suffix(b"\r").unwrap_or(v));
    let text = String::from_utf8_lossy(value.trim_ascii_start());
    if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &[u8] = b"Received: from a\r\n\tby b\r\nSubject: =?x?=\r\nreceived:c\r\nTo: d\r\n";

    fn text(header: &Header) -> String {
        String::from_utf8(header.to_bytes()).expect("the test's header is UTF-8")
    }

    fn all(header: &Header, name: &str) -> Vec<String> {
        header.get_all(name).map(Cow::into_owned).collect()
    }

    /// What a field of this value looks like in the message.
    fn written(name: &str, value: &str) -> String {
        let mut header = Header::default();
        header.add(name, value);
        text(&header)
    }

    #[test]
    fn reads() {
        let header = Header::parse(MAIL);
        assert_eq!(header.len(), 4);
        assert!(!header.is_empty());
        assert_eq!(header.get("subject").as_deref(), Some("=?x?="));
        assert_eq!(header.get("RECEIVED").as_deref(), Some("from a\n\tby b"));
        assert_eq!(all(&header, "Received"), ["from a\n\tby b", "c"]);
        assert_eq!(header.get_raw("Received"), Some(&b" from a\r\n\tby b\r\n"[..]));
        assert_eq!(header.get_raw("TO"), Some(&b" d\r\n"[..]));
        assert_eq!((header.count("Received"), header.count("From")), (2, 0));
        assert_eq!((header.get("From"), header.get_raw("Subj")), (None, None));
        assert_eq!(header.names().collect::<Vec<_>>(), ["Received", "Subject", "received", "To"]);
        assert_eq!(header.byte_len(), MAIL.len());
    }

    #[test]
    fn empty() {
        let header = Header::parse(b"");
        assert!(header.is_empty());
        assert_eq!((header.len(), header.byte_len(), header.names().count()), (0, 0, 0));
        assert_eq!(text(&header), "");
    }

    #[test]
    fn values_for_reading() {
        let get = |raw: &[u8]| Header::parse(raw).get("a").map(Cow::into_owned);
        let is = |raw: &[u8], value: &str| assert_eq!(get(raw).as_deref(), Some(value), "{raw:?}");
        is(b"A:b\r\n", "b");
        is(b"A: \t b \r\n", "b ");
        is(b"A : b\n", "b");
        is(b"A\t: b", "b");
        is(b"A: b:c", "b:c");
        is(b"A:\r\n", "");
        is(b"A:", "");
        is(b"A:\r\n b\r\n", "b");
        is(b"A:\r\n \r\n", "");
        is(b"A: b\n c\r\n\td\r\n", "b\n c\n\td");
        is(b"A: b\rc\r\r\n", "b\rc\r");
        is(b"A: b\0c\n", "b\0c");
        is(b"A: \xff\xc3\xa9\r\n", "\u{fffd}é");
        assert!(matches!(Header::parse(b"A: b\r\n").get("A"), Some(Cow::Borrowed("b"))));
    }

    #[test]
    fn lines_that_are_no_field_stay() {
        let raw = b"From a@b.test Mon Jan  1 10:00:00 2024\nA: 1\ngarbage\n more: x\n: none\n\
                    S\xc3\xa9: x\nB C: 2\n\nD: 3\n";
        let mut header = Header::parse(raw);
        assert_eq!(header.to_bytes(), raw);
        assert_eq!(header.len(), 8);
        assert_eq!(header.names().collect::<Vec<_>>(), ["A", "D"]);
        assert_eq!((header.count(""), header.get("more"), header.get("From")), (0, None, None));
        assert_eq!(header.delete(""), 0);
        header.add_at(1, "X", "y");
        assert!(
            text(&header).starts_with("From a@b.test Mon Jan  1 10:00:00 2024\nX: y\r\nA: 1\n")
        );
    }

    #[test]
    fn adds() {
        let mut header = Header::parse(b"A: 1\r\nB: 2\r\n");
        header.add("C", "3");
        header.add_at(0, "Top", "0");
        header.add_at(2, "Mid", "1.5");
        header.add_at(99, "End", "4");
        assert_eq!(text(&header), "Top: 0\r\nA: 1\r\nMid: 1.5\r\nB: 2\r\nC: 3\r\nEnd: 4\r\n");
        assert_eq!(header.byte_len(), text(&header).len());
        assert_eq!(header.get("mid").as_deref(), Some("1.5"));
    }

    #[test]
    fn replaces() {
        let mut header = Header::parse(MAIL);
        header.replace("RECEIVED", "x");
        header.replace("From", "y");
        assert_eq!(text(&header), "RECEIVED: x\r\nSubject: =?x?=\r\nTo: d\r\nFrom: y\r\n");

        let mut header = Header::parse(MAIL);
        assert!(header.replace_nth("Received", 1, "second"));
        assert!(!header.replace_nth("Received", 2, "third"));
        assert!(!header.replace_nth("From", 0, "y"));
        assert_eq!(
            text(&header),
            "Received: from a\r\n\tby b\r\nSubject: =?x?=\r\nReceived: second\r\nTo: d\r\n"
        );
    }

    #[test]
    fn replacing_a_bad_name_twice_leaves_one_field() {
        let mut header = Header::default();
        header.replace("X Y", "1");
        header.replace("X Y", "2");
        header.replace("", "3");
        header.replace("", "4");
        assert_eq!(text(&header), "X-Y: 2\r\n-: 4\r\n");
    }

    #[test]
    fn deletes() {
        let mut header = Header::parse(MAIL);
        assert!(!header.delete_nth("Received", 2));
        assert!(header.delete_nth("Received", 0));
        assert_eq!(text(&header), "Subject: =?x?=\r\nreceived:c\r\nTo: d\r\n");
        header.add("Received", "e");
        assert_eq!(header.delete("Received"), 2);
        assert_eq!(header.delete("Received"), 0);
        assert_eq!(text(&header), "Subject: =?x?=\r\nTo: d\r\n");
    }

    #[test]
    fn renames() {
        let mut header = Header::parse(b"A : 1\n \xff\nB: 2\r\na:\t3");
        assert_eq!(header.rename("A", "X-Old\nA"), 2);
        assert_eq!(header.rename("A", "C"), 0);
        assert_eq!(header.to_bytes(), b"X-Old-A: 1\n \xff\nB: 2\r\nX-Old-A:\t3");
        header.add("D", "4");
        assert!(header.to_bytes().ends_with(b"X-Old-A:\t3\r\nD: 4\r\n"));
    }

    #[test]
    fn a_missing_line_end_stays_until_something_follows() {
        for (raw, then) in [
            (&b"A: 1"[..], &b"A: 1\r\nB: 2\r\n"[..]),
            (b"A: 1\r", b"A: 1\r\nB: 2\r\n"),
            (b"A: 1\n", b"A: 1\nB: 2\r\n"),
            (b"A: 1\n x", b"A: 1\n x\r\nB: 2\r\n"),
            (b"garbage", b"garbage\r\nB: 2\r\n"),
        ] {
            let mut header = Header::parse(raw);
            assert_eq!(header.to_bytes(), raw);
            header.add("B", "2");
            assert_eq!(header.to_bytes(), then);
        }
        let mut header = Header::parse(b"A: 1");
        header.add_at(0, "B", "2");
        assert_eq!(header.to_bytes(), b"B: 2\r\nA: 1");
    }

    #[test]
    fn a_field_on_top_is_not_continued_by_a_fold_without_a_field() {
        let raw = b" ; spf=pass\r\nA: 1\r\n";
        let mut header = Header::parse(raw);
        assert_eq!(header.to_bytes(), raw);
        header.add("B", "2");
        assert_eq!(text(&header), " ; spf=pass\r\nA: 1\r\nB: 2\r\n");
        header.add_at(0, "Authentication-Results", "mx.test; spf=fail");
        assert_eq!(
            text(&header),
            "Authentication-Results: mx.test; spf=fail\r\nX-Unnamed: ; spf=pass\r\nA: 1\r\nB: 2\r\n"
        );
    }

    #[test]
    fn values_cannot_break_out() {
        for (value, line) in [
            ("b", "A: b\r\n"),
            ("", "A:\r\n"),
            (" \t", "A:\r\n"),
            ("  b ", "A: b \r\n"),
            ("é\t用", "A: é\t用\r\n"),
            ("b\n c\n\td", "A: b\r\n c\r\n\td\r\n"),
            ("b\r\n c\r\n\td\r\n", "A: b\r\n c\r\n\td\r\n"),
            ("b\nBcc: c", "A: b\r\n Bcc: c\r\n"),
            ("b\r\nBcc: c", "A: b\r\n Bcc: c\r\n"),
            ("b\n\nbody", "A: b\r\n body\r\n"),
            ("b\r\n\r\nbody", "A: b\r\n body\r\n"),
            ("b\n \t\n c", "A: b\r\n c\r\n"),
            ("b\n\n", "A: b\r\n"),
            ("\n\n b", "A: b\r\n"),
            ("b\rBcc: c", "A: b?Bcc: c\r\n"),
            ("b\r\r\n c", "A: b?\r\n c\r\n"),
            ("b\0c\x0bd\x0ce\x7ff\u{85}g", "A: b?c?d?e?f?g\r\n"),
        ] {
            assert_eq!(written("A", value), line, "{value:?}");
        }
    }

    #[test]
    fn names_cannot_break_out() {
        for (name, line) in [
            ("X-Spam_1!", "X-Spam_1!: v\r\n"),
            ("A:b", "A-b: v\r\n"),
            ("A\r\nB", "A--B: v\r\n"),
            (" A\t\0", "-A--: v\r\n"),
            ("É\u{7f}", "--: v\r\n"),
            ("", "-: v\r\n"),
        ] {
            assert_eq!(written(name, "v"), line, "{name:?}");
        }
    }

    #[test]
    fn write_errors_are_returned() {
        let mut small = [0; 3];
        assert!(Header::parse(MAIL).write_to(&mut &mut small[..]).is_err());
    }

    struct Lcg(u64);

    impl Lcg {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 33) as usize % n
        }

        fn bytes(&mut self, most: usize) -> Vec<u8> {
            const PARTS: [&[u8]; 16] = [
                b"A",
                b"b",
                b"A:",
                b"B: ",
                b"X-Unnamed:",
                b":",
                b" ",
                b"\t",
                b"\n",
                b"\n",
                b"\r\n",
                b"\r\n",
                b"\r",
                b"\0",
                b"\xff",
                "é".as_bytes(),
            ];
            (0..self.below(most)).flat_map(|_| PARTS[self.below(PARTS.len())]).copied().collect()
        }

        fn text(&mut self) -> String {
            String::from_utf8_lossy(&self.bytes(8)).into_owned()
        }
    }

    #[test]
    fn an_unedited_header_is_written_as_received() {
        let mut lcg = Lcg(1);
        for _ in 0..20_000 {
            let raw = lcg.bytes(25);
            let header = Header::parse(&raw);
            let mut out = Vec::new();
            header.write_to(&mut out).expect("a Vec takes everything");
            assert_eq!(out, raw);
            assert_eq!(header.to_bytes(), raw);
            assert_eq!(header.byte_len(), raw.len());
        }
    }

    /// Whatever is edited, a reader of the result finds the fields that are meant to be there and
    /// no others.
    #[test]
    fn an_edited_header_reads_back() {
        let mut lcg = Lcg(2);
        for _ in 0..20_000 {
            let raw = lcg.bytes(15);
            let mut header = Header::parse(&raw);
            for _ in 0..lcg.below(6) {
                let (name, value) = (lcg.text(), lcg.text());
                let (before, had) = (header.len(), header.count(&name));
                let grown = match lcg.below(7) {
                    0 => {
                        header.add(&name, &value);
                        1
                    }
                    1 => {
                        header.add_at(lcg.below(4), &name, &value);
                        1
                    }
                    2 => {
                        let had = header.count(&clean_name(&name));
                        header.replace(&name, &value);
                        assert_eq!(header.count(&clean_name(&name)), 1);
                        1 - had as isize
                    }
                    3 => {
                        let index = lcg.below(2);
                        assert_eq!(
                            header.replace_nth("A", index, &value),
                            index < header.count("A")
                        );
                        0
                    }
                    4 => {
                        assert_eq!(header.delete(&name), had);
                        -(had as isize)
                    }
                    5 => -isize::from(header.delete_nth("b", 0)),
                    _ => {
                        let had = header.count("A");
                        assert_eq!(header.rename("A", &name), had);
                        0
                    }
                };
                assert_eq!(header.len() as isize, before as isize + grown);
            }
            let written = header.to_bytes();
            assert_eq!(header.byte_len(), written.len());
            let again = Header::parse(&written);
            assert_eq!(again.len(), header.len(), "{written:?}");
            assert!(again.names().eq(header.names()), "{written:?}");
            for name in header.names() {
                assert!(again.get_all(name).eq(header.get_all(name)), "{written:?}");
            }
        }
    }
}
