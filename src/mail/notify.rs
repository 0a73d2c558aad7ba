//! What a client asks about delivery status notifications: the values of the parameters RET and
//! ENVID of MAIL, NOTIFY and ORCPT of RCPT (RFC 3461 4).

use crate::mail::xtext::{self, Reading, digit};

/// The longest value of ENVID that is taken, in octets: what RFC 3461 5.4 asks for.
const LONGEST_ENVID: usize = 100;

/// The longest value of ORCPT that is taken, in octets: what RFC 3461 5.4 asks for.
const LONGEST_ORCPT: usize = 500;

/// The kind of address that may be outside ASCII (RFC 6533 3).
const UTF8: &str = "utf-8";

/// When the sender wants to be told of a recipient; none of these is NEVER (RFC 3461 4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notify {
    /// It was delivered.
    pub success: bool,
    /// It will not be delivered.
    pub failure: bool,
    /// It is late.
    pub delay: bool,
}

impl Notify {
    /// Reads the value of NOTIFY; None: it is malformed.
    pub fn parse(value: &str) -> Option<Notify> {
        let mut notify = Notify::default();
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(notify);
        }
        for word in value.split(',') {
            *match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut notify.success,
                "FAILURE" => &mut notify.failure,
                "DELAY" => &mut notify.delay,
                _ => return None,
            } = true;
        }
        Some(notify)
    }
}

/// How much of a message the sender wants back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// All of it.
    Full,
    /// Its header section.
    Headers,
}

impl Return {
    /// Reads the value of RET; None: it is malformed.
    pub fn parse(value: &str) -> Option<Return> {
        match value.to_ascii_uppercase().as_str() {
            "FULL" => Some(Return::Full),
            "HDRS" => Some(Return::Headers),
            _ => None,
        }
    }
}

/// The sender's name for the transaction, out of the value of ENVID; None: it is malformed.
pub fn envelope_id(value: &str) -> Option<String> {
    (value.len() <= LONGEST_ENVID).then(|| decoded(value))?
}

/// The recipient whom the sender wrote to, `rfc822;b@example.com`, out of the value of ORCPT; None:
/// it is malformed.
pub fn original_recipient(value: &str) -> Option<String> {
    let (kind, address) = value.split_once(';')?;
    let is_kind = !kind.is_empty() && kind.bytes().all(is_atom);
    let address = match kind.eq_ignore_ascii_case(UTF8) {
        true => decoded_utf8(address)?,
        false => decoded(address)?,
    };
    (is_kind && value.len() <= LONGEST_ORCPT).then(|| format!("{kind};{address}"))
}

/// Decodes xtext (RFC 3461 4), in which there is printable ASCII only.
fn decoded(text: &str) -> Option<String> {
    let found = String::from_utf8(xtext::decoded(text, Reading::Strict)?).ok()?;
    found.bytes().all(|octet| matches!(octet, b' '..=b'~')).then_some(found)
}

/// Decodes utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 3).
fn decoded_utf8(text: &str) -> Option<String> {
    let mut found = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            found.push(Some(c).filter(|c| !"+= ".contains(*c))?);
            continue;
        }
        let (digits, behind) = rest.strip_prefix("x{")?.split_once('}')?;
        let is_length = (2..=6).contains(&digits.len());
        let number = digits.chars().try_fold(0, |number, c| Some(16 * number + digit(c, true)?));
        found.push(char::from_u32(number.filter(|_| is_length)?)?);
        rest = behind;
    }
    let is_text = |c: char| !c.is_control() && c != char::REPLACEMENT_CHARACTER;
    (!found.is_empty() && found.chars().all(is_text)).then_some(found)
}

/// A character of an atom of RFC 822.
fn is_atom(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>@,;:\\\".[]".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_is_never_or_a_list() {
        let notify = |success, failure, delay| Some(Notify { success, failure, delay });
        for (value, found) in [
            ("NEVER", notify(false, false, false)),
            ("never", notify(false, false, false)),
            ("SUCCESS", notify(true, false, false)),
            ("Failure,DELAY", notify(false, true, true)),
            ("delay,success,failure", notify(true, true, true)),
            ("NEVER,SUCCESS", None),
            ("SUCCESS,NEVER", None),
            ("SUCCESS,", None),
            (",SUCCESS", None),
            ("SUCCESS,,DELAY", None),
            ("SUCCESS FAILURE", None),
            ("ALWAYS", None),
            ("", None),
        ] {
            assert_eq!(Notify::parse(value), found, "{value}");
        }
    }

    #[test]
    fn all_of_a_message_comes_back_or_its_header() {
        assert_eq!(Return::parse("full"), Some(Return::Full));
        assert_eq!(Return::parse("HDRS"), Some(Return::Headers));
        for value in ["", "HDR", "BODY", "FULL,HDRS"] {
            assert_eq!(Return::parse(value), None, "{value}");
        }
    }

    #[test]
    fn an_envelope_id_is_printable_and_short() {
        let longest = "x".repeat(LONGEST_ENVID);
        for (value, found) in [
            ("QQ314159", Some("QQ314159")),
            ("a+2Bb+3D+20c", Some("a+b= c")),
            (&longest, Some(longest.as_str())),
            (&format!("{longest}x"), None),
            ("a=b", None),
            ("a b", None),
            ("a+", None),
            ("a+2", None),
            ("a+2b", None),
            ("a+2G", None),
            ("a+0A", None),
            ("a+7F", None),
            ("a+C3+A4", None),
            ("\u{e4}", None),
        ] {
            assert_eq!(envelope_id(value).as_deref(), found, "{value}");
        }
    }

    #[test]
    fn an_original_recipient_has_a_kind() {
        let longest = format!("rfc822;{}", "x".repeat(LONGEST_ORCPT - 7));
        for (value, found) in [
            ("rfc822;b@example.com", Some("rfc822;b@example.com")),
            ("RFC822;b+2Bc@example.com", Some("RFC822;b+c@example.com")),
            ("x-odd;a;b", Some("x-odd;a;b")),
            (&longest, Some(longest.as_str())),
            (&format!("{longest}x"), None),
            ("b@example.com", None),
            (";b@example.com", None),
            ("rfc 822;b@example.com", None),
            ("rfc@822;b@example.com", None),
            ("rfc822;b+0D+0A@example.com", None),
            ("rfc822;b+c@example.com", None),
            ("rfc822;\u{e4}@example.com", None),
            ("utf-8;\u{e4}@example.com", Some("utf-8;\u{e4}@example.com")),
            ("UTF-8;\\x{E4}\\x{2B}b@example.com", Some("UTF-8;\u{e4}+b@example.com")),
            ("utf-8;\\x{1F600}", Some("utf-8;\u{1f600}")),
            ("utf-8;", None),
            ("utf-8;a+b", None),
            ("utf-8;\\x{D800}", None),
            ("utf-8;\\x{0A}", None),
            ("utf-8;\\x{e4}", None),
            ("utf-8;\\x{}", None),
            ("utf-8;\\x{E4", None),
            ("utf-8;\\xE4", None),
            ("utf-8;\\x{0000041}", None),
            ("utf-8;\u{fffd}", None),
        ] {
            assert_eq!(original_recipient(value).as_deref(), found, "{value}");
        }
    }
}
