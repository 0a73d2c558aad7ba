//! What a client says in AUTH: responses in base64 (RFC 4954 4), and the messages of PLAIN (RFC 4616)
//! and CRAM-MD5 (RFC 2195).

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

/// The longest user name in octets (RFC 4616 2).
const LONGEST_USER: usize = 255;

/// The length of a digest of CRAM-MD5 in hexadecimal digits.
const DIGEST: usize = 32;

/// What clients send: some leave out the padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What there is in the place of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The client wants no more of it, `*`.
    Canceled,
    /// It is no base64.
    Malformed,
}

/// A response out of its base64; `=` is an empty initial response.
///
/// # Errors
/// There is none.
pub fn response(text: &str) -> Result<Vec<u8>, Refused> {
    match text.trim() {
        "*" => Err(Refused::Canceled),
        "=" => Ok(vec![]),
        text => LENIENT.decode(text).map_err(|_| Refused::Malformed),
    }
}

/// The message of PLAIN: as whom the client wants to act, or nothing, its user name and its password.
pub fn plain(message: &[u8]) -> Option<[&[u8]; 3]> {
    let mut parts = message.split(|octet| *octet == 0);
    let found = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(found)
}

/// The response of CRAM-MD5: the user name, and the digest in lower case.  What is no digest may be a
/// password, and what stands in front of its last blank no user.
pub fn cram_md5(response: &[u8]) -> Option<(String, Vec<u8>)> {
    let response = String::from_utf8_lossy(response);
    let (user, digest) = response.rsplit_once(' ')?;
    let digest = digest.trim().to_ascii_lowercase().into_bytes();
    let is_digest = digest.len() == DIGEST && digest.iter().all(u8::is_ascii_hexdigit);
    is_digest.then(|| (user.trim().to_owned(), digest))
}

/// A user name is shown in replies, logs and headers: no control characters get in.
pub fn is_user(user: &str) -> bool {
    (1..=LONGEST_USER).contains(&user.len()) && !user.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_may_be_left_out_and_nothing_else() {
        for text in ["AGEAYg==", "AGEAYg=", "AGEAYg"] {
            assert_eq!(LENIENT.decode(text).as_deref(), Ok(&b"\0a\0b"[..]), "{text}");
        }
        for text in ["AGEAY", "AGEAYg===", "AGE AYg", "AGEAYh", "AGE=AYg", "AGEAY_", "=", "A"] {
            assert!(LENIENT.decode(text).is_err(), "{text}");
        }
    }
}
