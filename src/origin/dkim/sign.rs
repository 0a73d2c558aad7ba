//! Signing (RFC 6376 5).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};

use super::canonical::Form;
use super::key::Algorithm;
use super::signature::{Signature, name_of};

/// The fields that are signed wherever they are there: what readers see, and what tells replies
/// and lists apart (RFC 6376 5.4.1).
const FIELDS: &[&str] = &[
    "from",
    "reply-to",
    "subject",
    "date",
    "to",
    "cc",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-id",
    "content-description",
    "resent-date",
    "resent-from",
    "resent-sender",
    "resent-to",
    "resent-cc",
    "resent-message-id",
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
    "sender",
];

/// What a server that hands a message on signs: the same, and what others signed before.
pub(in crate::origin) const ARC_FIELDS: &[&str] = &[
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "in-reply-to",
    "references",
    "list-id",
    "list-unsubscribe",
    "dkim-signature",
];

/// The secret half of a key.
pub struct SecretKey {
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl SecretKey {
    /// A key as PKCS #8 (RFC 5958), or for RSA as PKCS #1 (RFC 8017 A.1.2), in DER.
    ///
    /// # Errors
    ///
    /// It is none, or an RSA key of less than 2048 or more than 4096 bits.
    pub fn from_der(der: &[u8]) -> Result<SecretKey, String> {
        let rsa = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
        let why = match rsa {
            Ok(pair) => return Ok(SecretKey { pair: Pair::Rsa(Box::new(pair)) }),
            Err(error) => error,
        };
        match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            Ok(pair) => Ok(SecretKey { pair: Pair::Ed25519(pair) }),
            Err(_) => Err(format!("no RSA key of 2048 to 4096 bits, and no Ed25519 key: {why}")),
        }
    }

    /// How the key signs.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// Signs octets.
    ///
    /// # Errors
    ///
    /// The system gives no random octets.
    pub(in crate::origin) fn sign(&self, octets: &[u8]) -> Result<Vec<u8>, String> {
        match &self.pair {
            Pair::Ed25519(pair) => {
                Ok(pair.sign(digest(&SHA256, octets).as_ref()).as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), octets, &mut signature)
                    .map_err(|_| "the key does not sign")?;
                Ok(signature)
            }
        }
    }
}

/// For whom a message is signed, and with which key.
#[derive(Debug, Clone, Copy)]
pub struct Signing<'a> {
    /// The domain that vouches for the message.
    pub domain: &'a str,
    /// Which of its keys.
    pub selector: &'a str,
    /// Seconds since 1970.
    pub now: u64,
}

/// The value of a field DKIM-Signature for a message with these fields, whose body has that hash
/// in the relaxed form.  The field goes above them.
///
/// # Errors
///
/// The key does not sign.
pub fn sign(
    key: &SecretKey,
    signing: Signing<'_>,
    fields: &[&[u8]],
    body_hash: &[u8],
) -> Result<String, String> {
    let Signing { domain, selector, now } = signing;
    let value = format!(
        "v=1; a={}; c=relaxed/relaxed; d={domain};\r\n\ts={selector}; t={now};\r\n\th={};\r\n\tbh={};\r\n\tb=",
        key.algorithm().name(),
        signed_fields(fields, FIELDS),
        STANDARD.encode(body_hash),
    );
    let own = format!("DKIM-Signature: {value}\r\n");
    let mut all = vec![own.as_bytes()];
    all.extend_from_slice(fields);
    let signature = Signature::parse(0, own.as_bytes())?;
    let signed = key.sign(&signature.signed(&all))?;
    Ok(format!("{value}{}", folded_base64(&signed)))
}

/// The hash of a text in the form in which messages are signed.
pub struct TextHash(super::BodyHash);

impl Default for TextHash {
    fn default() -> TextHash {
        TextHash(super::BodyHash::new(Form::Relaxed, None))
    }
}

impl TextHash {
    /// Takes the next piece of the text.
    pub fn update(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    /// The hash.
    pub fn finish(self) -> Vec<u8> {
        self.0.finish().0
    }
}

/// The value of `h=`: the names of those fields that are there, each as often as it is there; and
/// From once more, so that nobody can add another.
pub(in crate::origin) fn signed_fields(fields: &[&[u8]], worth: &[&str]) -> String {
    let present: Vec<String> = fields.iter().map(|field| name_of(field)).collect();
    let mut names = vec!["from"];
    for name in worth {
        let count = present.iter().filter(|known| known == name).count();
        names.extend(std::iter::repeat_n(*name, count));
    }
    folded(&names.join(":"), ':')
}

/// A signature in lines.
pub(in crate::origin) fn folded_base64(signature: &[u8]) -> String {
    folded(&STANDARD.encode(signature), '\0')
}

/// A long value in lines of at most 70 octets or so, cut behind `at`, or anywhere.
fn folded(text: &str, at: char) -> String {
    let mut out = String::new();
    let mut line = 0;
    for c in text.chars() {
        out.push(c);
        line += 1;
        if line >= 70 && (c == at || at == '\0') {
            out.push_str("\r\n\t");
            line = 0;
        }
    }
    out.trim_end().to_owned()
}
