//! Lists of `tag=value` (RFC 6376 3.2), as in signatures, keys, ARC and DMARC records.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Encoders differ in the padding and in the bits behind the last octet; both carry nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The most tags of a list: there is a use for twenty.
const MOST: usize = 100;

/// A list of tags, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::origin) struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// Takes a list apart.
    ///
    /// # Errors
    ///
    /// It is none: a part without `=`, a name that is none, a tag that stands there twice.
    pub(in crate::origin) fn parse(text: &'a str) -> Result<Tags<'a>, String> {
        let mut tags: Vec<(&str, &str)> = Vec::new();
        let mut parts = text.split(';').peekable();
        while let Some(part) = parts.next() {
            let part = part.trim_matches(is_white);
            if part.is_empty() && parts.peek().is_none() && !tags.is_empty() {
                break;
            }
            let (name, value) = part.split_once('=').ok_or(format!("'{part}' is not a tag"))?;
            let (name, value) =
                (name.trim_end_matches(is_white), value.trim_start_matches(is_white));
            let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if !good {
                return Err(format!("'{name}' is not the name of a tag"));
            }
            if tags.len() == MOST {
                return Err(format!("more than {MOST} tags"));
            }
            if tags.iter().any(|(known, _)| *known == name) {
                return Err(format!("the tag {name}= occurs twice"));
            }
            tags.push((name, value));
        }
        Ok(Tags(tags))
    }

    /// The value of a tag, without white space around it.
    pub(in crate::origin) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The value of a tag that has to be there.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub(in crate::origin) fn required(&self, name: &str) -> Result<&'a str, String> {
        self.get(name).ok_or_else(|| format!("the tag {name}= is missing"))
    }

    /// The name of the first tag.
    pub(in crate::origin) fn first(&self) -> Option<&'a str> {
        self.0.first().map(|(name, _)| *name)
    }

    /// The parts between the colons of a value.
    pub(in crate::origin) fn list(&self, name: &str) -> Option<impl Iterator<Item = &'a str>> {
        self.get(name).map(|value| value.split(':').map(|part| part.trim_matches(is_white)))
    }

    /// A value that is a number of at most 12 digits (RFC 6376 3.5).
    ///
    /// # Errors
    ///
    /// The value is no such number.
    pub(in crate::origin) fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let good = value.bytes().all(|octet| octet.is_ascii_digit());
        match value.parse().ok().filter(|_| good) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{name}={value} is not a number")),
        }
    }

    /// A value in base64, which may have white space in it.
    ///
    /// # Errors
    ///
    /// The tag is missing, or its value is no base64.
    pub(in crate::origin) fn octets(&self, name: &str) -> Result<Vec<u8>, String> {
        let text: String = self.required(name)?.chars().filter(|c| !is_white(*c)).collect();
        BASE64.decode(text).map_err(|_| format!("the value of {name}= is not base64"))
    }
}

/// Blanks, tabs and line ends: white space that may be folded (RFC 6376 2.8).
pub(in crate::origin) fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart() {
        let tags = Tags::parse("v=1; h = a : b\r\n\t:c ;x=;b=YQ\r\n ==;").unwrap();
        assert_eq!(tags.get("v"), Some("1"));
        assert_eq!(tags.list("h").unwrap().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(tags.get("x"), Some(""));
        assert_eq!(tags.octets("b").unwrap(), b"a");
        assert_eq!(tags.number("v").unwrap(), Some(1));
        assert!(tags.number("x").is_err() && tags.octets("y").is_err());
        for wrong in ["", ";", "v=1;;b=2", "v", "v=1; v=2", "1=2", "a b=c", "=x"] {
            assert!(Tags::parse(wrong).is_err(), "{wrong}");
        }
        let many = |count: usize| (0..count).map(|at| format!("x{at}=;")).collect::<String>();
        assert!(Tags::parse(&many(MOST)).is_ok() && Tags::parse(&many(MOST + 1)).is_err());
    }
}
