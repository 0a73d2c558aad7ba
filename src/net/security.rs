//! When TLS is spoken, with whom, and under which name: the arguments `tls`, `ca`, `auth_user` and
//! `auth_password_file`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io, str};

use rustls::ClientConfig;

use crate::config::Config;
use crate::error::{Error, Result};

use super::trust::{unverified, verified};
use super::{Endpoint, Wire};

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Never.
    No,
    /// With STARTTLS where it is offered, whoever answers.
    May,
    /// With STARTTLS, and the certificate is verified.
    Must,
    /// From the first octet on, and the certificate is verified.
    First,
}

/// What the plugin's arguments say about TLS and AUTH.
#[derive(Debug, Clone)]
pub(crate) struct Security {
    mode: Option<Mode>,
    /// For [`Mode::May`].
    unverified: Arc<ClientConfig>,
    /// For [`Mode::Must`] and [`Mode::First`]; there where one of them can be.
    verified: Option<Arc<ClientConfig>>,
    pub(crate) login: Option<Login>,
}

/// As whom to authenticate.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    /// The file whose first line is the password.
    pub(crate) file: PathBuf,
}

impl Security {
    /// Takes its arguments out of `words`; the others are left.
    ///
    /// # Errors
    /// An argument without a value or with a wrong one, certificates that cannot be read.
    pub(crate) fn take(words: &mut Vec<&str>, config: &Config) -> Result<Security> {
        let [user, file] = ["auth_user", "auth_password_file"].map(|name| take(words, name));
        let login = match (user?, file?) {
            (Some(user), Some(file)) => {
                Some(Login { user: user.into(), file: file_named(file, config) })
            }
            (None, None) => None,
            _ => return Err(Error::new("auth_user and auth_password_file belong together")),
        };
        Security::new(words, config, login, false)
    }

    /// The same for a plugin that has no arguments for AUTH; `default` is what `tls` is where it is
    /// not said.
    ///
    /// # Errors
    /// As [`Security::take`].
    pub(crate) fn take_tls<'a>(
        words: &mut Vec<&'a str>,
        config: &Config,
        default: &'a str,
    ) -> Result<Security> {
        // The last one counts.
        words.splice(0..0, ["tls", default]);
        Security::new(words, config, None, false)
    }

    /// The same for a plugin that has servers whose certificates count whatever `tls` says.
    ///
    /// # Errors
    /// As [`Security::take`].
    pub(crate) fn take_verifying(words: &mut Vec<&str>, config: &Config) -> Result<Security> {
        Security::new(words, config, None, true)
    }

    fn new(
        words: &mut Vec<&str>,
        config: &Config,
        login: Option<Login>,
        verifies: bool,
    ) -> Result<Security> {
        let [tls, ca] = ["tls", "ca"].map(|name| take(words, name));
        let mode = tls?.map(mode).transpose()?;
        let verifies = match mode {
            _ if verifies => true,
            Some(mode) => matches!(mode, Mode::Must | Mode::First),
            None => login.is_some(),
        };
        let ca = ca?.map(|file| file_named(file, config));
        if ca.is_some() && !verifies {
            return Err(Error::new("argument ca is only for 'tls must' and 'tls first'"));
        }
        let verified = if verifies { Some(verified(ca)?) } else { None };
        Ok(Security { mode, unverified: unverified()?, verified, login })
    }

    /// The port of a server for which the arguments name none.
    pub(crate) fn port(&self) -> u16 {
        if self.is_first() { 465 } else { 25 }
    }

    /// Is everything said in the clear?
    pub(crate) fn is_off(&self) -> bool {
        self.mode == Some(Mode::No)
    }

    /// Does TLS come before anything else?
    pub(crate) fn is_first(&self) -> bool {
        self.mode == Some(Mode::First)
    }

    /// Can these servers be spoken to in this way?
    ///
    /// # Errors
    /// TLS has to be verified, and one of them has no name.
    pub(crate) fn check(&self, endpoints: &[Endpoint]) -> Result<()> {
        let socket = endpoints.iter().find(|endpoint| matches!(endpoint, Endpoint::Unix(_)));
        match (socket, self.mode) {
            (Some(endpoint), Some(Mode::Must | Mode::First)) => Err(Error::new(format!(
                "there is no TLS over a socket in the file system: {endpoint}"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether this connection is encrypted.
    pub(crate) fn mode(&self, endpoint: &Endpoint, wire: &Wire) -> Mode {
        if matches!(endpoint, Endpoint::Unix(_)) {
            return Mode::No;
        }
        // A password goes to nobody else on the network.
        let for_password = self.login.is_some() && !wire.is_local();
        self.mode.unwrap_or(if for_password { Mode::Must } else { Mode::May })
    }

    /// What a handshake needs with somebody whose certificate does not count.
    pub(crate) fn unverified(&self) -> &Arc<ClientConfig> {
        &self.unverified
    }

    /// What a handshake needs; None where there is to be none.
    pub(crate) fn config(&self, mode: Mode) -> Option<&Arc<ClientConfig>> {
        match mode {
            Mode::No => None,
            Mode::May => Some(&self.unverified),
            Mode::Must | Mode::First => self.verified.as_ref(),
        }
    }
}

/// A file that an argument names: a path, or a name in the folders of the configuration.
pub(crate) fn file_named(name: &str, config: &Config) -> PathBuf {
    let path = config.expand(name);
    if path.is_absolute() { path } else { config.path(name).unwrap_or(path) }
}

/// The last value of an argument, which is taken out.
fn take<'a>(words: &mut Vec<&'a str>, name: &str) -> Result<Option<&'a str>> {
    let mut found = None;
    while let Some(at) = words.iter().position(|word| word.eq_ignore_ascii_case(name)) {
        if at + 1 == words.len() {
            return Err(Error::new(format!("argument {name} has no value")));
        }
        found = words.drain(at..=at + 1).next_back();
    }
    Ok(found)
}

fn mode(word: &str) -> Result<Mode> {
    let known =
        [("no", Mode::No), ("may", Mode::May), ("must", Mode::Must), ("first", Mode::First)];
    let found = known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, mode)| mode).ok_or_else(|| Error::value("tls", word, "no, may, must, first"))
}

/// The password in the first line of a file.
///
/// # Errors
/// What the system says; there is none, or one that is not UTF-8.
pub(crate) fn password_in(file: &Path) -> io::Result<String> {
    let text = fs::read(file)?;
    let line = text.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = str::from_utf8(line).map_err(|_| io::Error::other("the password is not UTF-8"))?;
    if line.is_empty() || line.contains('\0') {
        return Err(io::Error::other("there is no password in its first line"));
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::self_signed;

    fn security(line: &str) -> Result<(Security, String)> {
        let mut words = line.split_whitespace().collect();
        let security = Security::take(&mut words, &Config::new(vec![]))?;
        Ok((security, words.join(" ")))
    }

    /// A file with the certificate of an authority.
    fn ca() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), self_signed("ca.test").1).unwrap();
        file
    }

    #[test]
    fn arguments_are_taken_out_and_decide() {
        let ca = ca();
        let ca = ca.path().display();
        for (line, rest, mode, port, verifies) in [
            ("a 25 xclient".to_owned(), "a 25 xclient", None, 25, false),
            ("a tls no b:1".into(), "a b:1", Some(Mode::No), 25, false),
            ("a TLS May".into(), "a", Some(Mode::May), 25, false),
            (format!("tls may a tls must ca {ca} b"), "a b", Some(Mode::Must), 25, true),
            (format!("a tls first ca {ca}"), "a", Some(Mode::First), 465, true),
            (format!("a auth_user u ca {ca} auth_password_file /f"), "a", None, 25, true),
        ] {
            let (found, left) = security(&line).unwrap();
            assert_eq!((left.as_str(), found.mode, found.port()), (rest, mode, port), "{line}");
            assert_eq!(found.verified.is_some(), verifies, "{line}");
        }
    }

    #[test]
    fn wrong_arguments_stop_the_start() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let empty = empty.path().display();
        for (line, error) in [
            ("tls".to_owned(), "argument tls has no value"),
            ("tls yes".into(), "argument tls has the value 'yes' (expected: no, may, must, first)"),
            ("auth_user u".into(), "auth_user and auth_password_file belong together"),
            ("auth_password_file f".into(), "auth_user and auth_password_file belong together"),
            ("ca /f".into(), "argument ca is only for 'tls must' and 'tls first'"),
            ("ca /f tls may".into(), "argument ca is only for 'tls must' and 'tls first'"),
            ("tls must ca /no/such.pem".into(), "/no/such.pem: "),
            (format!("tls must ca {empty}"), "no certificate in it"),
        ] {
            let found = security(&line).unwrap_err().to_string();
            assert!(found.contains(error), "{line}: {found}");
        }
    }

    #[test]
    fn a_password_makes_the_certificate_count() {
        let ca = ca();
        let login = format!("auth_user u auth_password_file /f ca {}", ca.path().display());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port };
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let mut wire = Wire::connect(&endpoint, until).unwrap();
        let local = |line: &str, wire: &Wire| security(line).unwrap().0.mode(&endpoint, wire);
        assert_eq!(local(&login, &wire), Mode::May);
        assert_eq!(local("", &wire), Mode::May);
        wire.set_remote();
        assert_eq!(local(&login, &wire), Mode::Must);
        assert_eq!(local("", &wire), Mode::May);
        assert_eq!(local(&format!("{login} tls first"), &wire), Mode::First);
        let socket = Endpoint::Unix("/run/lmtp".into());
        assert_eq!(security("tls may").unwrap().0.mode(&socket, &wire), Mode::No);
    }
}
