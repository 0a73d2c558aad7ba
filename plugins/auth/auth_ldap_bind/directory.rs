//! Searching and binding.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ldap3::{
    LdapConn, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry, SearchOptions, StdStream,
};

use super::Answer;
use super::settings::Directory;
use crate::hook::Session;
use crate::net::{Endpoint, password_in, tcp, unix};

// Result codes (RFC 4511 4.1.9).
const SUCCESS: u32 = 0;
const SIZE_LIMIT_EXCEEDED: u32 = 4;

/// Codes with which servers refuse the password of a user, or the user: constraintViolation,
/// noSuchObject, inappropriateAuthentication, invalidCredentials, insufficientAccessRights and
/// unwillingToPerform.
const REFUSED: [u32; 6] = [19, 32, 48, 49, 50, 53];

/// The first part of a DN that no entry has.
const NOBODY: &str = "cn=nobody has this name";

impl Directory {
    /// Looks up the user, in lower case, and binds as that.
    pub(super) fn ask(&self, session: &Session, user: &str, password: &str) -> io::Result<Answer> {
        let end = session.deadline();
        self.dialogue(end, user, password).map_err(|error| {
            let why = match error.kind() {
                ErrorKind::TimedOut => "the server does not answer".to_owned(),
                _ => error.to_string(),
            };
            io::Error::new(error.kind(), format!("{}: {why}", self.endpoint))
        })
    }

    fn dialogue(&self, end: Instant, user: &str, password: &str) -> io::Result<Answer> {
        let mut server = self.connect(end)?;
        if let Some((dn, file)) = &self.reader {
            let secret = password_in(file)
                .map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?;
            let limit = self.limit(end)?;
            let result = server.with_timeout(limit).simple_bind(dn, &secret).map_err(io_error)?;
            if result.rc != SUCCESS {
                return Err(refused("bind", &result));
            }
        }
        let found = self.find(&mut server, end, user)?;
        let limit = self.limit(end)?;
        // The server has as much to do for a user who is not there, whatever comes of it.
        let nobody = format!("{NOBODY},{}", self.base);
        let dn = found.as_deref().unwrap_or_else(|| nobody.trim_end_matches(','));
        let result = server.with_timeout(limit).simple_bind(dn, password).map_err(io_error)?;
        // It is decided, whatever comes of this.
        let _ = server.with_timeout(Duration::from_secs(1)).unbind();
        match result.rc {
            _ if found.is_none() => Ok(Answer::Nobody),
            SUCCESS => Ok(Answer::Right),
            code if REFUSED.contains(&code) => Ok(Answer::Wrong(said(&result))),
            _ => Err(refused("bind of the user", &result)),
        }
    }

    /// Connects, and encrypts.
    fn connect(&self, end: Instant) -> io::Result<LdapConn> {
        let until = Instant::now() + self.limit(end)?;
        let mut settings = LdapConnSettings::new();
        let (stream, address) = match &self.endpoint {
            Endpoint::Tcp { host, port } => {
                (StdStream::Tcp(tcp(host, *port, until)?), self.endpoint.to_string())
            }
            Endpoint::Unix(path) => (StdStream::Unix(UnixStream::from(unix(path)?)), String::new()),
        };
        let mut scheme = if address.is_empty() { "ldapi" } else { "ldap" };
        if let Some(tls) = &self.tls {
            settings = settings.set_config(tls.config.clone()).set_starttls(!tls.is_first);
            scheme = if tls.is_first { "ldaps" } else { "ldap" };
        }
        let left = until.saturating_duration_since(Instant::now());
        let settings = settings.set_std_stream(stream).set_conn_timeout(left);
        let url = format!("{scheme}://{address}/");
        LdapConn::with_settings(settings, &url).map_err(io_error)
    }

    /// The DN of the one entry that a user has.
    fn find(&self, server: &mut LdapConn, end: Instant, user: &str) -> io::Result<Option<String>> {
        let limit = self.limit(end)?;
        // The server may need all of the time; a part of a second counts as one.
        let options = SearchOptions::new().sizelimit(2).timelimit(limit.as_secs() as i32 + 1);
        let found = server.with_search_options(options).with_timeout(limit).search(
            &self.base,
            Scope::Subtree,
            &self.filter_for(user),
            // No attributes (RFC 4511 4.5.1.8).
            ["1.1"],
        );
        let found = found.map_err(io_error)?;
        if ![SUCCESS, SIZE_LIMIT_EXCEEDED].contains(&found.1.rc) {
            return Err(refused("search", &found.1));
        }
        let entries =
            found.0.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
        let mut names = entries.map(|entry| SearchEntry::construct(entry).dn);
        match (names.next(), names.next()) {
            // Without a DN a bind is nobody's (RFC 4513 5.1.1).
            (Some(dn), None) if !dn.is_empty() => Ok(Some(dn)),
            (None, _) => Ok(None),
            _ => Err(io::Error::other("the user has not exactly one entry")),
        }
    }

    /// How long the next wait may take.
    fn limit(&self, end: Instant) -> io::Result<Duration> {
        let left = end.saturating_duration_since(Instant::now()).min(self.timeout);
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

fn io_error(error: LdapError) -> io::Error {
    match error {
        LdapError::Timeout { .. } => ErrorKind::TimedOut.into(),
        LdapError::Io { source } => source,
        LdapError::LdapResult { result } => refused("StartTLS", &result),
        LdapError::ResultRecv { .. } | LdapError::EndOfStream => {
            io::Error::other("the server closed the connection")
        }
        other => io::Error::other(other.to_string()),
    }
}

fn refused(what: &str, result: &LdapResult) -> io::Error {
    io::Error::other(format!("the server refuses the {what}: {}", said(result)))
}

/// The code and the text of a result.
fn said(result: &LdapResult) -> String {
    format!("{} {}", result.rc, result.text).trim_end().to_owned()
}
