//! A key for signing mail (DKIM), where the plugins dkim and arc look for it, and its DNS record.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::mail::host;
use crate::server::account;
use crate::server::certificate::write;
use crate::server::console::say;
use crate::server::rights;

/// The length of RSA keys in bits: what all receivers verify, and what fits into an answer by UDP
/// (RFC 8301 3.2).
const RSA_BITS: u32 = 2048;

/// A string of a TXT record has at most this many octets (RFC 1035 3.3.14).
const TXT_OCTETS: usize = 255;

/// Answers `--make-dkim-key DOMAIN SELECTOR [rsa|ed25519]`: makes a key below the folder of the
/// configuration and prints the record that belongs in the DNS.  When root makes it, it is for
/// the account that sessions run as.
///
/// # Errors
/// A word is none that there may be, the key exists already, it cannot be written, or the program
/// openssl, which makes RSA keys, does not do it.
pub(super) fn make(words: &[String]) -> Result<()> {
    let account = account::for_sessions(None)?;
    let config = Config::from_env;
    let folder = match &account {
        Some(account) => account.lend(|| config().folder()).map_err(Error::new)?,
        None => config().folder(),
    };
    let (path, record) = make_in(&folder, words, account.as_ref())?;
    say(&format!("the key is in {path}; its record for the DNS:\n\n{record}\n"));
    Ok(())
}

/// The key's file, and the record.
fn make_in(
    folder: &Path,
    words: &[String],
    account: Option<&account::Account>,
) -> Result<(String, String)> {
    let [domain, selector, kind @ ..] = words else {
        return Err(Error::new("a domain and a selector are needed"));
    };
    let (domain, selector) = (name(domain, "domain")?, name(selector, "selector")?);
    if !domain.contains('.') {
        return Err(Error::new(format!("'{domain}' is not a domain")));
    }
    let (pem, tags) = match kind.first().map_or("rsa", String::as_str) {
        "rsa" => rsa()?,
        "ed25519" => ed25519()?,
        other => return Err(Error::unknown("kind of key", other, &["rsa", "ed25519"])),
    };
    let folder = folder.join("dkim").join(&domain);
    let within = |error: io::Error| Error::new(format!("{}: {error}", folder.display()));
    let file = rights::for_path(&folder.join("x"), account, || {
        fs::create_dir_all(&folder)?;
        let ending = ending(&folder, &selector)?;
        // A key without a selector would stop all signing, a selector without a key does nothing.
        write(&folder.join(format!("selector{ending}")), 0o644, &format!("{selector}\n"), account)?;
        let file = folder.join(format!("private{ending}"));
        write(&file, 0o600, &pem, account).map(|()| file)
    })
    .map_err(within)?;
    let value = format!("v=DKIM1; {tags}");
    Ok((file.display().to_string(), record(&format!("{selector}._domainkey.{domain}"), &value)))
}

/// What the names of the files end in: nothing for a domain's first key.
fn ending(folder: &Path, selector: &str) -> io::Result<String> {
    let mut is_first = true;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("selector") {
            continue;
        }
        is_first = false;
        if fs::read_to_string(entry.path()).is_ok_and(|known| known.trim() == selector) {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                format!("a key with the selector {selector} exists already"),
            ));
        }
    }
    Ok(if is_first { String::new() } else { format!(".{selector}") })
}

/// Labels of a name in the DNS, in lower case; nothing that leads to another folder.
fn name(word: &str, what: &str) -> Result<String> {
    let name = host::canonical(word).into_owned();
    let is_label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(fits)
    };
    match name.split('.').all(is_label) {
        true => Ok(name),
        false => Err(Error::new(format!("'{word}' is not a {what}"))),
    }
}

/// A key in PEM, and the tags of its record (RFC 8463 4).
fn ed25519() -> Result<(String, String)> {
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(Error::new)?;
    let public = STANDARD.encode(key.der_bytes());
    Ok((key.serialize_pem(), format!("k=ed25519; p={public}")))
}

/// A key in PEM, and the tags of its record (RFC 6376 3.6.1).
fn rsa() -> Result<(String, String)> {
    let bits = format!("rsa_keygen_bits:{RSA_BITS}");
    let made =
        Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits]).output();
    let output = made.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::missing(
            "RSA keys are made by the program openssl, which is not installed (a key of the kind \
             ed25519 needs no program)",
        ),
        _ => Error::new(format!("openssl: {error}")),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::new(format!("openssl: {said}")));
    }
    let pem = String::from_utf8(output.stdout).map_err(Error::new)?;
    let key = KeyPair::from_pem(&pem).map_err(|error| Error::new(format!("openssl: {error}")))?;
    let public = STANDARD.encode(key.subject_public_key_info());
    Ok((pem, format!("k=rsa; p={public}")))
}

/// A line for a zone file.
fn record(name: &str, value: &str) -> String {
    let strings = value.as_bytes().chunks(TXT_OCTETS);
    let strings = strings.map(|string| format!("\"{}\"", String::from_utf8_lossy(string)));
    format!("{name}. IN TXT ( {} )", strings.collect::<Vec<_>>().join("\n    "))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::dns::Table;
    use crate::origin::dkim::{self, Outcome, SecretKey, Signing};

    fn make(folder: &Path, words: &str) -> Result<(String, String)> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        make_in(folder, &words, None)
    }

    /// What was made signs a message so that it holds with the record.
    fn holds(folder: &Path, words: &str) {
        let (path, record) = make(folder, words).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = PrivateKeyDer::from_pem_slice(&fs::read(&path).unwrap()).unwrap();
        let key = SecretKey::from_der(key.secret_der()).unwrap();
        let (name, value) = record.split_once(". IN TXT ( ").unwrap();
        let value: String = value.split('"').skip(1).step_by(2).collect();
        let (selector, domain) = name.split_once("._domainkey.").unwrap();
        let mut hash = dkim::TextHash::default();
        hash.update(b"Hello\r\n");
        let fields: Vec<&[u8]> = vec![b"From: a@example.com\r\n"];
        let signing = Signing { domain, selector, now: 1 };
        let signature = dkim::sign(&key, signing, &fields, &hash.finish()).unwrap();
        let signature = format!("DKIM-Signature: {signature}\r\n");
        let mut verifier = dkim::Verifier::new(vec![signature.as_bytes(), fields[0]]);
        verifier.body(b"Hello\r\n");
        let findings = verifier.finish(&Table::new(&format!("{name} TXT {value}")), 2);
        assert_eq!(findings[0].outcome, Outcome::Pass, "{record} {}", findings[0].reason);
    }

    #[test]
    fn keys_sign_so_that_their_records_verify() {
        let dir = tempfile::tempdir().unwrap();
        holds(dir.path(), "example.com ed ed25519");
        assert_eq!(
            fs::read_to_string(dir.path().join("dkim/example.com/selector")).unwrap(),
            "ed\n"
        );
        match Command::new("openssl").arg("version").output() {
            Ok(_) => holds(dir.path(), "Example.COM s2026.mail"),
            Err(_) => assert!(make(dir.path(), "example.com s2026.mail").is_err()),
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (first, _) = make(dir.path(), "b\u{fc}cher.example a ed25519").unwrap();
        assert!(first.ends_with("dkim/xn--bcher-kva.example/private"), "{first}");
        let key = fs::read(&first).unwrap();
        let again = make(dir.path(), "b\u{fc}cher.example a ed25519").unwrap_err().to_string();
        assert!(again.contains("a key with the selector a exists"), "{again}");
        let (second, _) = make(dir.path(), "b\u{fc}cher.example b ed25519").unwrap();
        assert!(second.ends_with("private.b"), "{second}");
        assert_eq!(fs::read(&first).unwrap(), key);
    }

    #[test]
    fn names_lead_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        for words in [
            "../x.example a ed25519",
            "x..example a ed25519",
            "example a ed25519",
            "a/b.example a ed25519",
            "x.example ../a ed25519",
            "x.example a dsa",
        ] {
            assert!(make(dir.path(), words).is_err(), "{words}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
