//! Local parts that a later hop could read as a way to somewhere else.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// The signs of a route, quoted or not: `@` in `"user@elsewhere"@here`, `%` in
/// `user%elsewhere@here` and `!` in `elsewhere!user@here`, which Postfix, Sendmail, Exim and qmail
/// know, and `:` of source routes and of DECnet, which Sendmail knows.
const SIGNS: [char; 4] = ['@', '%', '!', ':'];

/// The beginning of an address of SMTP that Exchange has wrapped up in a local part, and unwraps.
const ENCAPSULATED: &str = "IMCEASMTP-";

/// Could a later hop read this local part, which is without its quoting, as an address elsewhere?
///
/// Characters that become one of the signs under compatibility normalization, such as the wide `％`,
/// count as that sign.
pub(super) fn is_route(user: &str) -> bool {
    let user: Cow<'_, str> = match user.is_ascii() {
        true => user.into(),
        false => user.nfkc().collect::<String>().into(),
    };
    user.contains(SIGNS)
        || user
            .get(..ENCAPSULATED.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(ENCAPSULATED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_told_from_names() {
        for route in [
            "u%evil.test",
            "evil.test!u",
            "u@evil.test",
            "@evil.test:u",
            "evil::u",
            "imceasmtp-u+40evil+2Etest",
            "u\u{ff05}evil.test",
            "u\u{ff20}evil.test",
            "evil.test\u{203c}u",
            "evil.test\u{fe57}u",
            "evil\u{fe13}u",
            "%",
        ] {
            assert!(is_route(route), "{route}");
        }
        for name in [
            "u",
            "first.last",
            "u+evil.test",
            "owner-list-u=evil.test",
            "prvs=1234567890=u",
            "SRS0=hash=tt=evil.test=u",
            "a b",
            "a/b",
            "#a$&'*-/=?^_`{|}~",
            "imcea",
            "b\u{fc}cher",
            "\u{7528}\u{6237}",
        ] {
            assert!(!is_route(name), "{name}");
        }
    }
}
