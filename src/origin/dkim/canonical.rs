//! The forms in which messages are signed (RFC 6376 3.4).

use memchr::memchr3;
use ring::digest::{Context, SHA256};

/// How much of what happens to a message on its way a signature survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Next to nothing.
    Simple,
    /// White space that is changed.
    Relaxed,
}

impl Form {
    /// The form of that name.
    pub(in crate::origin) fn parse(name: &str) -> Option<Form> {
        match name {
            "simple" => Some(Form::Simple),
            "relaxed" => Some(Form::Relaxed),
            _ => None,
        }
    }

    /// Appends a field of a header section in this form, its line end included.
    pub(in crate::origin) fn field(self, field: &[u8], out: &mut Vec<u8>) {
        match self {
            Form::Simple => out.extend_from_slice(field),
            Form::Relaxed => relaxed_field(field, out),
        }
    }
}

fn relaxed_field(field: &[u8], out: &mut Vec<u8>) {
    let colon = field.iter().position(|octet| *octet == b':').unwrap_or(field.len());
    let (name, value) = field.split_at(colon);
    out.extend(name.trim_ascii().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let mut blank = false;
    let start = out.len();
    for &octet in value.get(1..).unwrap_or_default() {
        match octet {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => blank = true,
            _ => {
                if std::mem::take(&mut blank) && out.len() > start {
                    out.push(b' ');
                }
                out.push(octet);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// A body in one of the forms, on its way into a hash.
pub(in crate::origin) struct BodyHash {
    form: Form,
    context: Context,
    /// How many octets count; None: all.
    limit: Option<u64>,
    /// Octets so far, those that do not count included.
    seen: u64,
    /// Line ends that count only if something follows.
    line_ends: u64,
    /// Was the last octet a CR, of which a line end may become?
    cr: bool,
    /// White space that counts as one blank, and only if something follows on its line.
    blank: bool,
}

impl BodyHash {
    /// Hashes in that form the first `limit` octets.
    pub(in crate::origin) fn new(form: Form, limit: Option<u64>) -> BodyHash {
        BodyHash {
            form,
            context: Context::new(&SHA256),
            limit,
            seen: 0,
            line_ends: 0,
            cr: false,
            blank: false,
        }
    }

    /// Is it that hash?
    pub(in crate::origin) fn is(&self, form: Form, limit: Option<u64>) -> bool {
        self.form == form && self.limit == limit
    }

    /// The form, and how many octets count.
    pub(in crate::origin) fn of(&self) -> (Form, Option<u64>) {
        (self.form, self.limit)
    }

    /// Takes the next piece of the body.
    pub(in crate::origin) fn update(&mut self, mut octets: &[u8]) {
        while let Some(&first) = octets.first() {
            if self.cr {
                self.cr = false;
                if first == b'\n' {
                    self.line_end();
                    octets = &octets[1..];
                    continue;
                }
                self.text(b"\r");
            }
            match first {
                b'\r' => {
                    self.cr = true;
                    octets = &octets[1..];
                }
                b' ' | b'\t' if self.form == Form::Relaxed => {
                    self.blank = true;
                    octets = &octets[1..];
                }
                _ => {
                    let end = match self.form {
                        Form::Relaxed => memchr3(b'\r', b' ', b'\t', octets),
                        Form::Simple => memchr::memchr(b'\r', octets),
                    };
                    let (text, rest) = octets.split_at(end.unwrap_or(octets.len()));
                    self.text(text);
                    octets = rest;
                }
            }
        }
    }

    /// The hash, and how many octets the body has in this form.
    pub(in crate::origin) fn finish(mut self) -> (Vec<u8>, u64) {
        if std::mem::take(&mut self.cr) {
            self.text(b"\r");
        }
        // A last line without an end gets one; so does an empty body in the simple form.
        if self.seen > 0 || self.form == Form::Simple {
            self.count(b"\r\n");
        }
        (self.context.finish().as_ref().to_vec(), self.seen)
    }

    fn text(&mut self, text: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.count(b"\r\n");
        }
        if std::mem::take(&mut self.blank) {
            self.count(b" ");
        }
        self.count(text);
    }

    fn line_end(&mut self) {
        self.blank = false;
        self.line_ends += 1;
    }

    fn count(&mut self, octets: &[u8]) {
        let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.seen));
        let counted = usize::try_from(left).unwrap_or(usize::MAX).min(octets.len());
        self.context.update(&octets[..counted]);
        self.seen += octets.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(octets: &[u8]) -> Vec<u8> {
        ring::digest::digest(&SHA256, octets).as_ref().to_vec()
    }

    /// Bodies, and what is hashed of them in the simple and in the relaxed form.
    const BODIES: &[(&[u8], &[u8], &[u8])] = &[
        (b"", b"\r\n", b""),
        (b"\r\n\r\n", b"\r\n", b""),
        (b" \r\n", b" \r\n", b""),
        (b"\t \r\n \r\n", b"\t \r\n \r\n", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),
        (b"a\r\n\r\n \r\nb", b"a\r\n\r\n \r\nb\r\n", b"a\r\n\r\n\r\nb\r\n"),
        (b"a\rb\nc\r", b"a\rb\nc\r\r\n", b"a\rb\nc\r\r\n"),
        (b"a \r", b"a \r\r\n", b"a \r\r\n"),
        (b"a\r\n ", b"a\r\n \r\n", b"a\r\n"),
    ];

    #[test]
    fn bodies_are_hashed_in_each_form_however_they_are_cut() {
        for (body, simple, relaxed) in BODIES {
            for (form, expected) in [(Form::Simple, simple), (Form::Relaxed, relaxed)] {
                for cut in 0..=body.len() {
                    let mut hashed = BodyHash::new(form, None);
                    hashed.update(&body[..cut]);
                    hashed.update(&body[cut..]);
                    let whole = (hash(expected), expected.len() as u64);
                    assert_eq!(hashed.finish(), whole, "{form:?} {body:?} {cut}");
                }
                let mut hashed = BodyHash::new(form, Some(2));
                hashed.update(body);
                let part = &expected[..expected.len().min(2)];
                assert_eq!(hashed.finish(), (hash(part), expected.len() as u64));
            }
        }
    }

    #[test]
    fn fields_are_relaxed() {
        for (field, expected) in [
            ("A: X\r\n", "a:X\r\n"),
            ("B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"),
            ("C:\r\n", "c:\r\n"),
            ("D:\r\n \r\n x", "d:x\r\n"),
        ] {
            let mut out = Vec::new();
            Form::Relaxed.field(field.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
