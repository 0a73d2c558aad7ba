//! The values that go between a worker and its Perl child, and their frames.
//!
//! A value is one octet that says what it is, then for text its length and octets, for a list how
//! many values follow, for a map how many keys, each a length and octets with its value.  Numbers
//! are four octets, the highest first.  A frame is a length and one value; in the socket, Perl puts
//! behind the length how many octets of frames it has put into the pipe since its last one.

use std::collections::BTreeMap;

use crate::state::Value;

/// No frame is longer: what comes from a Perl process is checked like any other input.
pub(super) const LONGEST: usize = 1 << 28;

/// For how many values of a list room is made before they are there.
const ROOM: usize = 1024;

/// How deep lists and maps may be nested.
const DEEPEST: usize = 40;

/// A value of Perl's.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Undef,
    Text(Vec<u8>),
    List(Vec<Item>),
    Map(Vec<(String, Item)>),
    /// Something that only Perl can hold.
    Opaque,
}

impl Item {
    /// A text, which Perl takes for octets.
    pub(super) fn text(text: impl AsRef<[u8]>) -> Item {
        Item::Text(text.as_ref().to_vec())
    }

    /// A list of texts.
    pub(super) fn texts<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Item {
        Item::List(texts.into_iter().map(Item::text).collect())
    }

    /// A number, written in decimal.
    pub(super) fn number(number: impl ToString) -> Item {
        Item::text(number.to_string())
    }

    /// What is true or false to Perl.
    pub(super) fn flag(flag: bool) -> Item {
        Item::text(if flag { "1" } else { "" })
    }

    /// Text, or undef where there is none.
    pub(super) fn maybe(text: Option<&str>) -> Item {
        text.map_or(Item::Undef, Item::text)
    }

    /// Perl's text as ours; what is no text is empty.
    pub(super) fn as_text(&self) -> String {
        match self {
            Item::Text(octets) => String::from_utf8_lossy(octets).into_owned(),
            _ => String::new(),
        }
    }

    /// The octets of a text; none where it is no text.
    pub(super) fn as_octets(&self) -> &[u8] {
        match self {
            Item::Text(octets) => octets,
            _ => &[],
        }
    }

    /// The number that a text is; None where it is none.
    pub(super) fn as_number(&self) -> Option<i64> {
        self.as_text().trim().parse().ok()
    }

    /// The elements of a list; none where it is no list.
    pub(super) fn as_list(&self) -> &[Item] {
        match self {
            Item::List(items) => items,
            _ => &[],
        }
    }

    /// The same, taken out.
    pub(super) fn into_list(self) -> Vec<Item> {
        match self {
            Item::List(items) => items,
            _ => vec![],
        }
    }

    /// The pairs of a map; none where it is no map.
    pub(super) fn as_map(&self) -> &[(String, Item)] {
        match self {
            Item::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The value of a key; None where the key is not there.
    pub(super) fn get(&self, key: &str) -> Option<&Item> {
        self.as_map().iter().find(|(name, _)| name == key).map(|(_, item)| item)
    }

    /// Is it true to Perl?
    pub(super) fn is_true(&self) -> bool {
        match self {
            Item::Undef => false,
            Item::Text(octets) => !octets.is_empty() && octets != b"0",
            _ => true,
        }
    }

    /// A value of a note for Perl.
    pub(super) fn from_value(value: &Value) -> Item {
        match value {
            Value::Null => Item::Undef,
            Value::Bool(true) => Item::text("1"),
            Value::Bool(false) => Item::text(""),
            Value::Int(number) => Item::number(number),
            Value::Float(number) => Item::number(number),
            Value::Str(text) => Item::text(text),
            Value::List(values) => Item::List(values.iter().map(Item::from_value).collect()),
            Value::Map(values) => Item::Map(
                values.iter().map(|(key, value)| (key.clone(), Item::from_value(value))).collect(),
            ),
        }
    }

    /// The same back; what only Perl can hold is null.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Item::Undef | Item::Opaque => Value::Null,
            Item::Text(_) => Value::Str(self.as_text()),
            Item::List(items) => Value::List(items.iter().map(Item::to_value).collect()),
            Item::Map(pairs) => Value::Map(
                pairs
                    .iter()
                    .map(|(key, item)| (key.clone(), item.to_value()))
                    .collect::<BTreeMap<_, _>>(),
            ),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let head = |out: &mut Vec<u8>, tag: u8, count: usize| {
            out.push(tag);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        };
        match self {
            Item::Undef => out.push(b'u'),
            Item::Opaque => out.push(b'o'),
            Item::Text(octets) => {
                head(out, b's', octets.len());
                out.extend_from_slice(octets);
            }
            Item::List(items) => {
                head(out, b'l', items.len());
                items.iter().for_each(|item| item.write(out));
            }
            Item::Map(pairs) => {
                head(out, b'm', pairs.len());
                for (key, item) in pairs {
                    out.extend_from_slice(&(key.len() as u32).to_be_bytes());
                    out.extend_from_slice(key.as_bytes());
                    item.write(out);
                }
            }
        }
    }
}

/// Appends the frame of a list.
pub(super) fn write_frame(items: Vec<Item>, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    Item::List(items).write(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// The list in a frame without its length.
///
/// # Errors
/// It is cut off, nested too deep, or something else.
pub(super) fn parse(frame: &[u8]) -> Result<Vec<Item>, &'static str> {
    let mut rest = frame;
    match (read(&mut rest, 0), rest) {
        (Some(Item::List(items)), []) => Ok(items),
        _ => Err("a frame that cannot be read"),
    }
}

fn read(rest: &mut &[u8], depth: usize) -> Option<Item> {
    let (tag, after) = rest.split_first()?;
    *rest = after;
    Some(match tag {
        b'u' => Item::Undef,
        b'o' => Item::Opaque,
        b's' => Item::Text(octets(rest)?.to_vec()),
        b'l' if depth < DEEPEST => {
            let count = number(rest)?;
            let mut items = Vec::with_capacity(count.min(ROOM));
            for _ in 0..count {
                items.push(read(rest, depth + 1)?);
            }
            Item::List(items)
        }
        b'm' if depth < DEEPEST => {
            let count = number(rest)?;
            let mut pairs = Vec::with_capacity(count.min(ROOM));
            for _ in 0..count {
                let key = String::from_utf8_lossy(octets(rest)?).into_owned();
                pairs.push((key, read(rest, depth + 1)?));
            }
            Item::Map(pairs)
        }
        _ => return None,
    })
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let (head, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*head) as usize)
}

fn octets<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = number(rest)?;
    let (octets, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let items = vec![
            Item::Undef,
            Item::text(b"\x00\xff\r\n"),
            Item::List(vec![Item::text("a"), Item::List(vec![])]),
            Item::Map(vec![("k".into(), Item::Opaque), ("".into(), Item::Map(vec![]))]),
        ];
        let mut frame = b"before".to_vec();
        write_frame(items.clone(), &mut frame);
        let frame = &frame[6..];
        assert_eq!(frame[..4], ((frame.len() - 4) as u32).to_be_bytes());
        assert_eq!(parse(&frame[4..]), Ok(items));
    }

    #[test]
    fn what_is_cut_off_or_too_deep_is_refused() {
        let mut frame = vec![];
        let items = vec![Item::text("abc"), Item::Map(vec![("k".into(), Item::Undef)])];
        write_frame(items, &mut frame);
        for end in 4..frame.len() {
            assert!(parse(&frame[4..end]).is_err(), "{end}");
        }
        assert!(parse(&[frame[4..].to_vec(), b"u".to_vec()].concat()).is_err());
        assert!(parse(b"l\xff\xff\xff\xff").is_err());
        assert!(parse(&b"l\0\0\0\x01".repeat(100_000)).is_err());
    }

    #[test]
    fn notes_keep_their_meaning() {
        let value = Value::List(vec![Value::Bool(true), Value::Int(-3), Value::Null]);
        let there = Item::from_value(&value);
        assert_eq!(there, Item::List(vec![Item::text("1"), Item::text("-3"), Item::Undef]));
        let back = there.to_value();
        assert_eq!(
            back,
            Value::List(vec![Value::Str("1".into()), Value::Str("-3".into()), Value::Null])
        );
    }
}
