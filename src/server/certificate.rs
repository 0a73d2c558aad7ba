//! A certificate for trying out TLS: for this host's name, signed by nobody.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::Path;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::server::privileges;
use crate::settings::ME;

/// Writes `qpsmtpd-server.crt` and `qpsmtpd-server.key`, which the plugin tls takes without
/// arguments, into `folder`.  When root makes them, the key is for the account that sessions run
/// as.
///
/// # Errors
/// They cannot be written, or exist already.
pub(super) fn make(folder: &Path) -> Result<()> {
    let fail = |error: &dyn std::fmt::Display| Error::new(format!("{}: {error}", folder.display()));
    let name = Config::from_env().setting(ME);
    let names = [name.clone(), "localhost".into()];
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| fail(&error))?;
    fs::create_dir_all(folder).map_err(|error| fail(&error))?;
    let files = [
        ("qpsmtpd-server.crt", 0o644, made.cert.pem()),
        ("qpsmtpd-server.key", 0o600, made.signing_key.serialize_pem()),
    ];
    let owner = privileges::account(None)?.map(|account| account.ids());
    for (file, mode, text) in files {
        let path = folder.join(file);
        let mut options = fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(mode).open(&path);
        let mut opened = opened.map_err(|error| fail(&format!("{file}: {error}")))?;
        opened.write_all(text.as_bytes()).map_err(|error| fail(&error))?;
        if let Some((user, group)) = owner {
            chown(&path, Some(user), Some(group)).map_err(|error| fail(&error))?;
        }
    }
    super::say(&format!("a certificate for {name} and its key are in {}\n", folder.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path()).unwrap();
        let key = fs::read_to_string(dir.path().join("qpsmtpd-server.key")).unwrap();
        assert!(key.contains("PRIVATE KEY"));
        assert!(make(dir.path()).unwrap_err().to_string().contains("exists"));
    }
}
