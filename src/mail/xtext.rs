//! xtext: octets as printable ASCII (RFC 3461 4), in parameters of MAIL, RCPT and XCLIENT.

/// How strictly xtext is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As the grammar has it.
    Strict,
    /// The digits may be in lower case, and an equals sign stands for itself.
    Lenient,
}

/// The octets that a text stands for; None: it is malformed.
pub(crate) fn decoded(text: &str, reading: Reading) -> Option<Vec<u8>> {
    let is_strict = reading == Reading::Strict;
    let mut octets = vec![];
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => {
                let mut digit = || digit(char::from(rest.next()?), is_strict);
                u8::try_from(16 * digit()? + digit()?).ok()?
            }
            b'=' if is_strict => return None,
            b'!'..=b'~' => octet,
            _ => return None,
        });
    }
    Some(octets)
}

/// The text that stands for these octets.
pub(crate) fn encoded(octets: &[u8]) -> String {
    let mut out = String::new();
    for octet in octets {
        match octet {
            b'!'..=b'~' if !b"+=".contains(octet) => out.push(char::from(*octet)),
            _ => out += &format!("+{octet:02X}"),
        }
    }
    out
}

/// The value of a digit in hexadecimal.
pub(super) fn digit(digit: char, only_upper_case: bool) -> Option<u32> {
    digit.to_digit(16).filter(|_| !only_upper_case || !digit.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let text = encoded(&all);
        assert!(text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'='), "{text}");
        for reading in [Reading::Strict, Reading::Lenient] {
            assert_eq!(decoded(&text, reading).as_ref(), Some(&all));
        }
    }

    #[test]
    fn only_a_lenient_reader_takes_more_than_the_grammar() {
        for (text, strict, lenient) in [
            ("a+2Bb", Some("a+b"), Some("a+b")),
            ("a+2bb", None, Some("a+b")),
            ("a=b", None, Some("a=b")),
            ("a b", None, None),
            ("a+2", None, None),
            ("a+2G", None, None),
            ("a+", None, None),
            ("\u{e4}", None, None),
        ] {
            for (reading, want) in [(Reading::Strict, strict), (Reading::Lenient, lenient)] {
                let found = decoded(text, reading);
                assert_eq!(found.as_deref(), want.map(str::as_bytes), "{text}");
            }
        }
    }
}
