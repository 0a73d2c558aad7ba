//! A certificate for trying out TLS: for this host's name, signed by nobody.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;

use nix::unistd::geteuid;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::server::account::{self, Account};
use crate::server::console::say;
use crate::server::rights;
use crate::settings::ME;

/// Writes `qpsmtpd-server.crt` and `qpsmtpd-server.key`, which the plugin tls takes without
/// arguments, into `folder`.  When root makes them, the key is for the account that sessions run
/// as.
///
/// # Errors
/// They cannot be written, or exist already.
pub(super) fn make(folder: &Path) -> Result<()> {
    let fail = |error: &dyn std::fmt::Display| Error::new(format!("{}: {error}", folder.display()));
    let account = account::for_sessions(None)?;
    let name = || Config::from_env().setting(ME);
    let name = match &account {
        Some(account) => account.lend(name).map_err(|error| fail(&error))?,
        None => name(),
    };
    make_in(folder, &name, account.as_ref())?;
    say(&format!("a certificate for {name} and its key are in {}\n", folder.display()));
    Ok(())
}

fn make_in(folder: &Path, name: &str, account: Option<&Account>) -> Result<()> {
    let fail = |error: &dyn std::fmt::Display| Error::new(format!("{}: {error}", folder.display()));
    let names = [name.to_owned(), "localhost".into()];
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| fail(&error))?;
    let files = [
        ("qpsmtpd-server.crt", 0o644, made.cert.pem()),
        ("qpsmtpd-server.key", 0o600, made.signing_key.serialize_pem()),
    ];
    rights::for_path(&folder.join("x"), account, || {
        fs::create_dir_all(folder)?;
        files.iter().try_for_each(|(file, mode, text)| {
            write(&folder.join(file), *mode, text, account)
                .map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))
        })
    })
    .map_err(|error| fail(&error))
}

/// Writes a new file.  What root writes becomes the account's.
pub(super) fn write(
    path: &Path,
    mode: u32,
    text: &str,
    account: Option<&Account>,
) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    match account.filter(|_| geteuid().is_root()).map(Account::ids) {
        Some((user, group)) => fchown(&file, Some(user), Some(group)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        make_in(dir.path(), "mx.example.com", None).unwrap();
        let key = fs::read_to_string(dir.path().join("qpsmtpd-server.key")).unwrap();
        assert!(key.contains("PRIVATE KEY"));
        assert!(
            make_in(dir.path(), "mx.example.com", None).unwrap_err().to_string().contains("exists")
        );
    }
}
