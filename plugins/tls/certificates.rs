//! Certificates and keys from files, read again when these change.

use std::cell::RefCell;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::error::{Error, Result};

/// Where certificates come from.
pub(super) enum Sources {
    /// One certificate and its key.
    Pair(PathBuf, PathBuf),
    /// A folder of them.
    Folder(PathBuf),
}

/// A certificate with its key, and the name of its file.
#[derive(Clone, Debug)]
struct Named {
    name: String,
    key: Arc<CertifiedKey>,
}

/// What identifies the state of a file.
type Stamp = (PathBuf, u64, u64, i64, i64, u64);

/// All certificates, as they are in the files.
pub(super) struct Certificates {
    sources: Sources,
    all: RefCell<Arc<Vec<Named>>>,
    stamps: RefCell<Vec<Stamp>>,
}

impl Certificates {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// A file that cannot be read or used, or none at all.
    pub(super) fn load(sources: Sources) -> Result<Certificates> {
        // What changes while they are read is read again.
        let stamps = stamps(&sources);
        let all = read_all(&sources)?;
        Ok(Certificates { stamps: RefCell::new(stamps), all: RefCell::new(Arc::new(all)), sources })
    }

    /// Reads them again if they have changed.  Returns whether there are new ones.
    ///
    /// # Errors
    /// What is wrong with the files now, told once; the old certificates stay in use.
    pub(super) fn refresh(&self) -> Result<bool> {
        let stamps = stamps(&self.sources);
        if self.stamps.replace(stamps.clone()) == stamps {
            return Ok(false);
        }
        let all = read_all(&self.sources)
            .map_err(|error| error.within("the new certificates are broken, the old ones stay"))?;
        self.all.replace(Arc::new(all));
        Ok(true)
    }

    /// Chooses among them for clients that connected to `local`.
    pub(super) fn resolver(&self, local: IpAddr) -> Arc<dyn ResolvesServerCert> {
        let all = self.all.borrow().clone();
        let local = local.to_string();
        let named = |name: &str| all.iter().position(|known| known.name == name);
        let default = named(&local).or_else(|| named("default")).unwrap_or(0);
        Arc::new(Choice { all, default })
    }
}

/// The certificates that clients of one address choose from.
#[derive(Debug)]
struct Choice {
    all: Arc<Vec<Named>>,
    default: usize,
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let covering = hello.server_name().and_then(|name| {
            let name = ServerName::try_from(name).ok()?;
            self.all.iter().find(|known| covers(&known.key, &name))
        });
        covering.or_else(|| self.all.get(self.default)).map(|known| known.key.clone())
    }
}

fn covers(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
}

fn read_all(sources: &Sources) -> Result<Vec<Named>> {
    let mut all = vec![];
    for (name, cert, key) in pairs(sources)? {
        all.push(Named { name, key: Arc::new(read(&cert, &key)?) });
    }
    Ok(all)
}

/// The name, the certificate's file and the key's file of each pair.
fn pairs(sources: &Sources) -> Result<Vec<(String, PathBuf, PathBuf)>> {
    let folder = match sources {
        Sources::Pair(cert, key) => return Ok(vec![("default".into(), cert.clone(), key.clone())]),
        Sources::Folder(folder) => folder,
    };
    let fail = |error: &dyn std::fmt::Display| Error::new(format!("{}: {error}", folder.display()));
    let mut found = vec![];
    for entry in fs::read_dir(folder).map_err(|error| fail(&error))? {
        let path = entry.map_err(|error| fail(&error))?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let is_cert = path.extension().is_some_and(|end| end == "crt" || end == "pem");
        if !is_cert || name.is_empty() || name.starts_with('.') {
            continue;
        }
        let key = path.with_extension("key");
        let key = if key.exists() { key } else { path.clone() };
        found.push((name, path, key));
    }
    found.sort();
    if found.is_empty() {
        return Err(fail(&"there is no NAME.crt or NAME.pem"));
    }
    Ok(found)
}

/// Reads a certificate with its chain, and its key, and sees that they belong together.
fn read(cert: &Path, key: &Path) -> Result<CertifiedKey> {
    let fail = |path: &Path, error: &dyn std::fmt::Display| {
        Error::new(format!("{}: {error}", path.display()))
    };
    if !cert.exists() {
        let folder = cert.parent().unwrap_or(Path::new(".")).display();
        let hint = format!("'qpsmtpd --make-certificate {folder}' makes one for trying out");
        return Err(fail(cert, &format!("no such file; {hint}")));
    }
    let chain = CertificateDer::pem_file_iter(cert).map_err(|error| fail(cert, &error))?;
    let chain: Vec<_> =
        chain.collect::<std::result::Result<_, _>>().map_err(|error| fail(cert, &error))?;
    if chain.is_empty() {
        return Err(fail(cert, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fail(key, &error))?;
    let signing = ring::sign::any_supported_type(&private).map_err(|error| fail(key, &error))?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|error| {
        fail(key, &format!("this key and {} do not belong together: {error}", cert.display()))
    })?;
    Ok(certified)
}

fn stamps(sources: &Sources) -> Vec<Stamp> {
    let mut paths = match sources {
        Sources::Pair(cert, key) => vec![cert.clone(), key.clone()],
        Sources::Folder(folder) => {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect()
        }
    };
    paths.sort();
    let stamp = |path: PathBuf| {
        let found = fs::metadata(&path).ok()?;
        let time = (found.mtime(), found.ctime_nsec().wrapping_add(found.mtime_nsec()));
        Some((path, found.dev(), found.ino(), time.0, time.1, found.len()))
    };
    paths.into_iter().filter_map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a new certificate for `host` as NAME.crt and NAME.key.
    fn make(folder: &Path, name: &str, host: &str) {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        fs::write(folder.join(name).with_extension("crt"), made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_pem();
        fs::write(folder.join(name).with_extension("key"), key).unwrap();
    }

    fn pair(folder: &Path) -> Sources {
        Sources::Pair(folder.join("a.crt"), folder.join("a.key"))
    }

    #[test]
    fn names_are_covered_by_their_certificates() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "a", "a.test");
        make(dir.path(), "b", "*.b.test");
        let all = Certificates::load(Sources::Folder(dir.path().to_owned())).unwrap();
        let all = all.all.borrow();
        for (host, file) in [("a.test", Some("a")), ("x.b.test", Some("b")), ("c.test", None)] {
            let name = ServerName::try_from(host).unwrap();
            let found = all.iter().find(|known| covers(&known.key, &name));
            assert_eq!(found.map(|known| known.name.as_str()), file, "{host}");
        }
    }

    #[test]
    fn changed_files_are_read_again_and_broken_ones_are_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "a", "a.test");
        let certificates = Certificates::load(pair(dir.path())).unwrap();
        let first = certificates.all.borrow().clone();
        assert_eq!(certificates.refresh(), Ok(false));
        make(dir.path(), "a", "a.example");
        assert_eq!(certificates.refresh(), Ok(true));
        let second = certificates.all.borrow().clone();
        assert!(!Arc::ptr_eq(&first, &second));
        fs::write(dir.path().join("a.crt"), "rubbish").unwrap();
        let problem = certificates.refresh().unwrap_err().to_string();
        assert!(problem.contains("the old ones stay") && problem.contains("a.crt"), "{problem}");
        assert_eq!(certificates.refresh(), Ok(false), "it is said once");
        assert!(Arc::ptr_eq(&second, &certificates.all.borrow()));
        make(dir.path(), "a", "a.test");
        assert_eq!(certificates.refresh(), Ok(true));
    }

    #[test]
    fn a_key_must_fit_its_certificate() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "a", "a.test");
        make(dir.path(), "b", "b.test");
        fs::rename(dir.path().join("b.key"), dir.path().join("a.key")).unwrap();
        let error = Certificates::load(pair(dir.path())).err().unwrap().to_string();
        assert!(error.contains("do not belong together"), "{error}");
    }

    #[test]
    fn one_file_may_hold_both() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "a", "a.test");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let both = read("a.crt") + &read("a.key");
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("mx.pem"), both).unwrap();
        assert!(Certificates::load(Sources::Folder(folder)).is_ok());
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let error = Certificates::load(Sources::Folder(empty)).err().unwrap().to_string();
        assert!(error.contains("there is no NAME.crt"), "{error}");
    }
}
