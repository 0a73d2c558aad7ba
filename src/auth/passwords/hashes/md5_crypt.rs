//! The hash `$1$` of crypt(5), which vpopmail makes.  It is too fast to be good.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// The most characters of a salt.
const SALT: usize = 8;

const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The octets of the digest in the order in which they are written, three a group.
const GROUPS: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// Is `$1$salt$...` the hash of this password?
pub(super) fn is_of(password: &[u8], hash: &str) -> bool {
    let parts: Vec<_> = hash.split('$').collect();
    let ["", "1", salt, written] = parts[..] else { return false };
    salt.len() <= SALT
        && encode(&digest(password, salt.as_bytes())).ct_eq(written.as_bytes()).into()
}

fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] = md5(&[password, salt, password]);
    let mut outer = Md5::new();
    outer.update(password);
    outer.update(b"$1$");
    outer.update(salt);
    for chunk in password.chunks(16) {
        outer.update(&inner[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        outer.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut last: [u8; 16] = outer.finalize().into();
    for round in 0..1000 {
        let (first, end) =
            if round % 2 == 1 { (password, &last[..]) } else { (&last[..], password) };
        let salt = if round % 3 != 0 { salt } else { &[] };
        let again = if round % 7 != 0 { password } else { &[] };
        last = md5(&[first, salt, again, end]);
    }
    last
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Md5::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

fn encode(digest: &[u8; 16]) -> Vec<u8> {
    let mut text = vec![];
    let mut write = |octets: [u8; 3], count: usize| {
        let [high, middle, low] = octets.map(usize::from);
        let mut value = high << 16 | middle << 8 | low;
        for _ in 0..count {
            text.push(DIGITS[value & 63]);
            value >>= 6;
        }
    };
    for group in GROUPS {
        write(group.map(|at| digest[at]), 4);
    }
    write([0, 0, digest[11]], 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl passwd -1`.
    #[test]
    fn passwords_of_all_lengths_are_known() {
        for (password, hash) in [
            ("", "$1$s0.$eRv7.hpDOPIByQvDzxrr30"),
            ("c", "$1$s1.$j7k6GkuHHy0i/9UJPxJtG0"),
            ("co", "$1$s2.$4O1DfEZNDIreSau.jqCF1."),
            ("correct", "$1$s7.$I20hjtvyVHn8yjPkXIonv/"),
            ("correct ", "$1$s8.$8ucA4viDCH990e2NLNHVy."),
            ("correct horse b", "$1$s15.$OTu9HUUKtduA5qH1Rx328/"),
            ("correct horse ba", "$1$s16.$sp3FGX/pAcHSESSr2OKXE."),
            ("correct horse bat", "$1$s17.$qXJAxzN4h/6VVukzxl1aD0"),
            ("correct horse battery staple co", "$1$s31.$xj6FqaLWkpLGTNYlVIyFm0"),
            ("correct horse battery staple cor", "$1$s32.$TJC79GR21Te2lu8euD2R.."),
            ("correct horse battery staple corr", "$1$s33.$KUfnnpXnnJYUGmAkI7S9W1"),
            (
                "correct horse battery staple correct horse battery staple correc",
                "$1$s64.$y8I2rxPRs6b4DL7x57iu2/",
            ),
            (
                "correct horse battery staple correct horse battery staple correct horse battery staple correct horse",
                "$1$s100.$gDIJ.giHjPmsTev.cvEpL/",
            ),
        ] {
            assert!(is_of(password.as_bytes(), hash), "{hash}");
            assert!(!is_of(format!("{password}x").as_bytes(), hash), "{hash}");
        }
        for hash in ["", "$1$", "$1$abc", "$5$abc$def", "$1$abc$", "$1$a$b$c"] {
            assert!(!is_of(b"", hash), "{hash}");
        }
    }
}
