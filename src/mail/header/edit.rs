//! What plugins and the core change in a header section.

use std::borrow::Cow;
use std::mem;

use super::{Bytes, Field, Header, is_fold, is_ftext, stamp};
use crate::log::is_plain;

/// The name that a fold without a field gets when a field is put above it.
const UNNAMED: &str = "X-Unnamed";

impl Header {
    /// Adds a field at the end, which is before the first line that is no field: to some who read the
    /// message the text begins there.
    pub fn add(&mut self, name: &str, value: &str) {
        self.add_at(self.end(), name, value);
    }

    /// Adds a field before the one at that position, 0 being the top; at the end where there are
    /// fewer. A fold without a field that would continue the new one becomes a field of its own.
    pub fn add_at(&mut self, position: usize, name: &str, value: &str) {
        let position = position.min(self.fields.len());
        self.revision = stamp();
        self.make_room(position);
        self.fields.insert(position, Field::set(name, value));
    }

    /// Adds the Received field of ours, see [`Header::trace`], at the top.
    pub(crate) fn add_trace(&mut self, value: &str) {
        self.add_at(0, "Received", value);
        self.fields[0].is_trace = true;
    }

    /// Another section takes the place of `before`: the Received field of ours is still ours there, if it
    /// is the same.
    pub(crate) fn keep_trace(&mut self, before: &Header) {
        let Some(field) = before.trace().and_then(|at| before.fields().nth(at)) else { return };
        let found = self.fields().position(|own| own == field);
        if let Some(at) = found {
            self.fields[at].is_trace = true;
        }
    }

    /// Adds a field before the one at that position, as [`Header::add_at`] does, with a value of octets:
    /// all that follows the colon, the blank included.  A line of the value that is no fold becomes
    /// one, and control characters but tabs are left out.
    pub fn add_raw_at(&mut self, position: usize, name: &str, value: &[u8]) {
        let position = position.min(self.fields.len());
        self.revision = stamp();
        self.make_room(position);
        self.fields.insert(position, Field::raw(name, value));
    }

    /// The same at the end, where [`Header::add`] adds.
    pub fn add_raw(&mut self, name: &str, value: &[u8]) {
        self.add_raw_at(self.end(), name, value);
    }

    /// Puts a field as in [`Header::add_raw_at`] in the place of the one at that position.  False where
    /// there is none.
    pub fn replace_raw(&mut self, position: usize, name: &str, value: &[u8]) -> bool {
        let found = self.fields.get_mut(position);
        let is_there = found.is_some();
        if let Some(field) = found {
            *field = Field::raw(name, value);
            self.revision = stamp();
        }
        is_there
    }

    /// Removes the field at that position.  False where there is none.
    pub fn remove(&mut self, position: usize) -> bool {
        let is_there = position < self.fields.len();
        if is_there {
            self.fields.remove(position);
            self.revision = stamp();
        }
        is_there
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

    /// Removes, in one pass, all fields that `goes` names.
    pub(crate) fn delete_where(&mut self, goes: impl Fn(&str) -> bool) {
        self.revision = stamp();
        let Header { raw, fields, .. } = self;
        fields.retain(|field| !field.written_name(raw).is_some_and(&goes));
    }

    /// Gives all fields of one name another one and returns how many there were. The bytes of the
    /// values stay.
    pub fn rename(&mut self, old: &str, new: &str) -> usize {
        self.rename_where(|name| name.eq_ignore_ascii_case(old).then(|| new.to_owned()))
    }

    /// Gives fields, in one pass, the names that `new` has for theirs, and returns how many there
    /// were.  The bytes of the values stay.
    pub(crate) fn rename_where(&mut self, new: impl Fn(&str) -> Option<String>) -> usize {
        self.revision = stamp();
        let Header { raw, fields, .. } = self;
        let mut renamed = 0;
        for field in fields {
            if let Some(name) = field.written_name(raw).and_then(&new) {
                *field = Field::compose(&name, &field.bytes(raw)[field.value..]);
                renamed += 1;
            }
        }
        renamed
    }

    /// Makes it anew of its own fields, by their positions, and of new ones, each `Name: value`
    /// with folded lines, in the order given.  Positions that do not exist are left out.
    pub fn rebuild<'a>(&mut self, parts: impl Iterator<Item = Result<usize, &'a [u8]>>) {
        let (mut fields, mut added) = (vec![], 0);
        for part in parts {
            match part {
                Ok(position) => {
                    fields.extend(self.fields.get(position).cloned());
                    added = 0;
                }
                Err(text) => {
                    let new = Field::whole(text);
                    added += usize::from(new.is_some());
                    fields.extend(new);
                }
            }
        }
        self.fields = fields;
        // What was added at the end goes where `add` would put it.
        let (end, all) = (self.end(), self.fields.len());
        if end < all - added {
            self.fields[end..].rotate_right(added);
        }
        self.revision = stamp();
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
    /// A field with a value that is made safe here.
    fn set(name: &str, value: &str) -> Field {
        Field::compose(name, clean_value(value).as_bytes())
    }

    /// A field with a value of octets, which is made safe here.
    fn raw(name: &str, value: &[u8]) -> Field {
        let name = clean_name(name);
        let text = [name.as_bytes(), b":", value].concat();
        Field::whole(&text).unwrap_or_else(|| Field::set(&name, ""))
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
    pub(super) fn compose(name: &str, value: &[u8]) -> Field {
        let name = clean_name(name);
        let bytes = [name.as_bytes(), b":", value].concat();
        Field { bytes: Bytes::Set(bytes), name: name.len(), value: name.len() + 1, is_trace: false }
    }
}

pub(super) fn clean_name(name: &str) -> Cow<'_, str> {
    match name.chars().all(is_ftext) {
        true if name.is_empty() => "-".into(),
        true => name.into(),
        false => name.replace(|c| !is_ftext(c), "-").into(),
    }
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
    // With room for what is added: a blank, and a CR for each of a few line ends.
    let mut out = String::with_capacity(value.len() + 16);
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
        if is_plain(line) {
            out.push_str(line);
            continue;
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
