//! Text that is fit for the log.

use std::borrow::Cow;

/// `text` fit for one line of a log: control characters other than TAB, which a client could use to
/// forge lines or steer a terminal, become `\xNN`, and those that separate lines or turn the direction
/// of what follows `\u{NNNN}`.
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.chars().any(|c| c.is_control() || is_format(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.trim_end_matches(['\r', '\n']).chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push('\t'),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_format(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Is this text ASCII that can be printed, or tabs?  Most text is, and that is found out at once: all
/// of it is looked at, many octets at a time.  The loop is long and wanted in many places: there is one
/// of it, not one in each.
#[inline(never)]
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |all, octet| all & matches!(octet, b' '..=b'~' | b'\t'))
}

/// As many whole characters from the beginning of a text as `most` octets hold.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// LINE SEPARATOR and PARAGRAPH SEPARATOR, at which some programs end a line, and the characters with
/// which a text is shown in another order than it is written (UAX 9).
fn is_format(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_has_whole_characters() {
        for (text, most, want) in
            [("abc", 2, "ab"), ("abc", 9, "abc"), ("a\u{fc}b", 2, "a"), ("\u{fc}", 0, "")]
        {
            assert_eq!(beginning(text, most), want);
        }
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        assert_eq!(clean("a\r\nb\x1b[2J\u{9b}c"), "a\\r\\nb\\x1b[2J\\x9bc");
        assert_eq!(clean("a\u{2028}b\u{202e}c\u{2066}"), "a\\u{2028}b\\u{202e}c\\u{2066}");
        assert_eq!(clean("plain ü"), "plain ü");
    }
}
