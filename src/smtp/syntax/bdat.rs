//! The argument of BDAT (RFC 3030 2): `octets [LAST]`.

/// The longest size of a chunk in digits: what fits into 64 bits.
const DIGITS: usize = 19;

/// The argument of BDAT: how many octets follow, and whether the message ends with them.  None: it is
/// malformed.
pub fn parse(argument: &str) -> Option<(u64, bool)> {
    let mut words = argument.split_ascii_whitespace();
    let size = words.next()?;
    let is_last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    let is_number = size.len() <= DIGITS && size.bytes().all(|b| b.is_ascii_digit());
    (is_number && words.next().is_none()).then(|| Some((size.parse().ok()?, is_last)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_last_are_read() {
        for (argument, found) in [
            ("0", Some((0, false))),
            ("86 LAST", Some((86, true))),
            ("0086  last", Some((86, true))),
            ("9999999999999999999", Some((9_999_999_999_999_999_999, false))),
            ("", None),
            ("LAST", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("0x10", None),
            ("10 LAST LAST", None),
            ("10 FIRST", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse(argument), found, "{argument}");
        }
    }
}
