//! Public keys as they stand in the domain name system (RFC 6376 3.6.1, RFC 8463 4).

use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY};
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey};

use super::tags::Tags;

/// Keys of fewer bits count for nothing, and longer ones cost too much (RFC 8301 3.2).
const RSA_BITS: std::ops::RangeInclusive<usize> = 1024..=4096;

/// How a signature was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 version 1.5, over SHA-256.
    RsaSha256,
    /// Ed25519 over SHA-256 (RFC 8463).
    Ed25519Sha256,
}

impl Algorithm {
    /// The algorithm of that name; None for one that is not known, or not safe (RFC 8301 3.1).
    pub(in crate::origin) fn parse(name: &str) -> Option<Algorithm> {
        match name {
            "rsa-sha256" => Some(Algorithm::RsaSha256),
            "ed25519-sha256" => Some(Algorithm::Ed25519Sha256),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

/// A key record, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::origin) struct Key {
    algorithm: Algorithm,
    /// For RSA the DER of a SubjectPublicKeyInfo or of an RSAPublicKey, else the key itself.
    octets: Vec<u8>,
    /// Is the domain trying things out?  A failure is as good as no signature then.
    pub(in crate::origin) testing: bool,
    /// Has the identity to be of the domain itself, not of one below it?
    pub(in crate::origin) strict: bool,
}

/// Why a key cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::origin) enum Unfit {
    /// It is broken, revoked or for something else.
    Broken(String),
    /// It is too short or too long to prove anything.
    Weak(String),
}

impl Key {
    /// Takes a record apart.
    ///
    /// # Errors
    ///
    /// It is none, or revoked, or not for mail.
    pub(in crate::origin) fn parse(text: &[u8]) -> Result<Key, String> {
        let text = std::str::from_utf8(text).map_err(|_| "octets outside of ASCII")?;
        let tags = Tags::parse(text)?;
        if tags.get("v").is_some_and(|version| version != "DKIM1" || tags.first() != Some("v")) {
            return Err("not of version DKIM1".into());
        }
        let algorithm = match tags.get("k").unwrap_or("rsa") {
            "rsa" => Algorithm::RsaSha256,
            "ed25519" => Algorithm::Ed25519Sha256,
            other => return Err(format!("of the unknown kind '{other}'")),
        };
        if tags.list("h").is_some_and(|mut hashes| hashes.all(|hash| hash != "sha256")) {
            return Err("not for signatures with sha256".into());
        }
        if tags.list("s").is_some_and(|mut uses| uses.all(|use_| use_ != "*" && use_ != "email")) {
            return Err("not for mail".into());
        }
        let octets = tags.octets("p")?;
        if octets.is_empty() {
            return Err("revoked".into());
        }
        let flag = |flag| tags.list("t").is_some_and(|mut flags| flags.any(|known| known == flag));
        Ok(Key { algorithm, octets, testing: flag("y"), strict: flag("s") })
    }

    /// Is that a signature of these octets, made with the other half of the key?
    ///
    /// # Errors
    ///
    /// The key is not for that algorithm, or cannot be used.
    pub(in crate::origin) fn verify(
        &self,
        algorithm: Algorithm,
        octets: &[u8],
        signature: &[u8],
    ) -> Result<bool, Unfit> {
        if algorithm != self.algorithm {
            return Err(Unfit::Broken(format!("not for {}", algorithm.name())));
        }
        match algorithm {
            Algorithm::Ed25519Sha256 => {
                if self.octets.len() != 32 {
                    return Err(Unfit::Broken("not of 32 octets".into()));
                }
                let key = UnparsedPublicKey::new(&ED25519, &self.octets);
                Ok(key.verify(digest(&SHA256, octets).as_ref(), signature).is_ok())
            }
            Algorithm::RsaSha256 => {
                let (n, e) = components(&self.octets).ok_or(Unfit::Broken("no RSA key".into()))?;
                let zeroes = n.first().map_or(0, |octet| octet.leading_zeros() as usize);
                let bits = (n.len() * 8).saturating_sub(zeroes);
                if !RSA_BITS.contains(&bits) {
                    return Err(Unfit::Weak(format!("of {bits} bits")));
                }
                let parameters = &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
                let key = RsaPublicKeyComponents { n, e };
                Ok(key.verify(parameters, octets, signature).is_ok())
            }
        }
    }
}

/// Modulus and exponent of an RSA key (RFC 8017 A.1.1), with or without what RFC 5280 4.1 puts
/// around it.
fn components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    const INTEGER: u8 = 0x02;
    /// rsaEncryption, 1.2.840.113549.1.1.1, as the DER of an object identifier.
    const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

    let (mut inside, rest) = element(der, SEQUENCE)?;
    if !rest.is_empty() {
        return None;
    }
    if let Some((algorithm, key)) = element(inside, SEQUENCE) {
        if !algorithm.starts_with(RSA) {
            return None;
        }
        let (bits, _) = element(key, BIT_STRING)?;
        (inside, _) = element(bits.strip_prefix(&[0])?, SEQUENCE)?;
    }
    let (n, rest) = element(inside, INTEGER)?;
    let (e, _) = element(rest, INTEGER)?;
    Some((unsigned(n), unsigned(e)))
}

/// A positive integer without the zero that keeps it positive.
fn unsigned(octets: &[u8]) -> &[u8] {
    octets.strip_prefix(&[0]).unwrap_or(octets)
}

/// The contents of a DER element with that tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 3))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
