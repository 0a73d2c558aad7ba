//! The secret keys in config/dkim.

use std::fs;
use std::io;
use std::path::Path;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::hook::Session;
use crate::origin::dkim::{Algorithm, SecretKey};

/// Selectors and their keys, RSA first: receivers that do not know Ed25519 stop at the first.
pub(in crate::plugins) type Keys = Vec<(String, SecretKey)>;

/// The keys of the author's domain, or of the nearest domain above it that has some, and whose
/// they are.
///
/// # Errors
/// A key cannot be read, or is none.
pub(in crate::plugins) fn of_domain(
    session: &Session,
    author: &str,
) -> io::Result<Option<(String, Keys)>> {
    let Some(folder) = session.config_folder("dkim") else { return Ok(None) };
    let mut domain = author;
    // A name is looked for in the file system, so it must not lead out of the folder.
    if domain.is_empty() || domain.contains('/') || domain.starts_with('.') {
        return Ok(None);
    }
    loop {
        let keys = read(&folder.join(domain))?;
        if !keys.is_empty() {
            return Ok(Some((domain.to_owned(), keys)));
        }
        match domain.split_once('.') {
            Some((_, above)) if above.contains('.') => domain = above,
            _ => return Ok(None),
        }
    }
}

fn read(folder: &Path) -> io::Result<Keys> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(within(folder, error)),
    };
    let mut keys = Keys::new();
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    for name in names {
        let Some(rest) = name.strip_prefix("private") else { continue };
        if !rest.is_empty() && !rest.starts_with('.') {
            continue;
        }
        let path = folder.join(&name);
        let selector = folder.join(format!("selector{rest}"));
        let text = fs::read_to_string(&selector).map_err(|error| within(&selector, error))?;
        let key = secret_key(&path).map_err(|error| within(&path, error))?;
        keys.push((text.trim().to_owned(), key));
    }
    keys.sort_by_key(|(_, key)| key.algorithm() != Algorithm::RsaSha256);
    Ok(keys)
}

fn secret_key(path: &Path) -> io::Result<SecretKey> {
    let pem = fs::read(path)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(io::Error::other)?;
    SecretKey::from_der(key.secret_der()).map_err(io::Error::other)
}

fn within(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
