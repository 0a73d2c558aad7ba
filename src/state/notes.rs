//! Notes: what one plugin leaves for another, for the length of a connection or a transaction.
//!
//! A note has a name, as in Perl, and a type.  The plugin that owns a note exports a constant for
//! it, so that a misspelt name does not compile:
//!
//! ```
//! use qpsmtpd::state::{Note, Notes};
//!
//! pub const KARMA: Note<i64> = Note::new("karma");
//!
//! let mut notes = Notes::default();
//! notes.set(KARMA, 3);
//! assert_eq!(notes.get(KARMA), Some(3));
//! ```
//!
//! What is kept is plain data ([`Value`]), so that plugins in other languages can share it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// The name and type of a note.
#[derive(Debug, Clone, Copy)]
pub struct Note<T> {
    name: &'static str,
    kind: PhantomData<T>,
}

impl<T> Note<T> {
    /// A note of that name.
    pub const fn new(name: &'static str) -> Note<T> {
        Note { name, kind: PhantomData }
    }

    /// The name under which it is kept.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// What a note can hold.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Perl's idea of truth: null, false, 0, "" and "0" are false.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Str(value) => !value.is_empty() && value != "0",
            Value::List(_) | Value::Map(_) => true,
        }
    }
}

/// A type that a note can have.
pub trait NoteType: Sized {
    /// The value as it is kept.
    fn into_value(self) -> Value;
    /// The kept value as this type; None where it does not fit.
    fn from_value(value: &Value) -> Option<Self>;
}

impl NoteType for bool {
    fn into_value(self) -> Value {
        Value::Bool(self)
    }
    fn from_value(value: &Value) -> Option<bool> {
        Some(value.is_true())
    }
}

impl NoteType for i64 {
    fn into_value(self) -> Value {
        Value::Int(self)
    }
    fn from_value(value: &Value) -> Option<i64> {
        match value {
            Value::Bool(value) => Some(i64::from(*value)),
            Value::Int(value) => Some(*value),
            Value::Float(value) => Some(*value as i64),
            Value::Str(value) => value.trim().parse().ok(),
            _ => None,
        }
    }
}

impl NoteType for f64 {
    fn into_value(self) -> Value {
        Value::Float(self)
    }
    fn from_value(value: &Value) -> Option<f64> {
        match value {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Str(value) => value.trim().parse().ok(),
            _ => None,
        }
    }
}

impl NoteType for String {
    fn into_value(self) -> Value {
        Value::Str(self)
    }
    fn from_value(value: &Value) -> Option<String> {
        match value {
            Value::Bool(value) => Some(if *value { "1".into() } else { String::new() }),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            Value::Str(value) => Some(value.clone()),
            _ => None,
        }
    }
}

impl<T: NoteType> NoteType for Vec<T> {
    fn into_value(self) -> Value {
        Value::List(self.into_iter().map(NoteType::into_value).collect())
    }
    fn from_value(value: &Value) -> Option<Vec<T>> {
        match value {
            Value::List(values) => values.iter().map(T::from_value).collect(),
            _ => None,
        }
    }
}

impl<T: NoteType> NoteType for BTreeMap<String, T> {
    fn into_value(self) -> Value {
        Value::Map(self.into_iter().map(|(key, value)| (key, value.into_value())).collect())
    }
    fn from_value(value: &Value) -> Option<BTreeMap<String, T>> {
        let Value::Map(values) = value else { return None };
        values.iter().map(|(key, value)| Some((key.clone(), T::from_value(value)?))).collect()
    }
}

impl NoteType for Value {
    fn into_value(self) -> Value {
        self
    }
    fn from_value(value: &Value) -> Option<Value> {
        Some(value.clone())
    }
}

/// All notes of a connection or a transaction.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    kept: Vec<(Cow<'static, str>, Value)>,
}

impl Notes {
    /// The note's value; None where it was never set or has another type.
    pub fn get<T: NoteType>(&self, note: Note<T>) -> Option<T> {
        T::from_value(self.value(note.name)?)
    }

    /// Sets a note.
    pub fn set<T: NoteType>(&mut self, note: Note<T>, value: T) {
        self.put(Cow::Borrowed(note.name), value.into_value());
    }

    /// Removes a note.
    pub fn unset<T>(&mut self, note: Note<T>) {
        self.kept.retain(|(name, _)| name != note.name);
    }

    /// Is the note set to something that is true in Perl's sense?
    pub fn is_true<T>(&self, note: Note<T>) -> bool {
        self.value(note.name).is_some_and(Value::is_true)
    }

    /// A note by its bare name, for plugins that learn the name at run time.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.kept.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets a note by its bare name.
    pub fn set_value(&mut self, name: &str, value: Value) {
        self.put(Cow::Owned(name.to_owned()), value);
    }

    /// Removes the note of that name.
    pub fn remove(&mut self, name: &str) {
        self.kept.retain(|(key, _)| key != name);
    }

    /// All notes, in the order in which they were first set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.kept.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    fn put(&mut self, name: Cow<'static, str>, value: Value) {
        match self.kept.iter_mut().find(|(key, _)| *key == name) {
            Some(slot) => slot.1 = value,
            None => self.kept.push((name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Note<i64> = Note::new("count");
    const NAMES: Note<Vec<String>> = Note::new("names");

    #[test]
    fn keeps_and_replaces() {
        let mut notes = Notes::default();
        assert_eq!(notes.get(COUNT), None);
        notes.set(COUNT, 1);
        notes.set(COUNT, 2);
        notes.set(NAMES, vec!["a".into(), "b".into()]);
        assert_eq!(notes.get(COUNT), Some(2));
        assert_eq!(notes.get(NAMES), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(notes.iter().count(), 2);
        notes.unset(COUNT);
        assert_eq!(notes.get(COUNT), None);
    }

    #[test]
    fn reads_numbers_that_came_as_text() {
        let mut notes = Notes::default();
        notes.set_value("count", Value::Str("7".into()));
        assert_eq!(notes.get(COUNT), Some(7));
        notes.set_value("count", Value::List(vec![]));
        assert_eq!(notes.get(COUNT), None);
    }

    #[test]
    fn truth_is_perls() {
        let truths = [
            (Value::Null, false),
            (Value::Str("0".into()), false),
            (Value::Str("".into()), false),
            (Value::Str("no".into()), true),
            (Value::Int(0), false),
            (Value::List(vec![]), true),
        ];
        for (value, truth) in truths {
            assert_eq!(value.is_true(), truth, "{value:?}");
        }
    }
}
