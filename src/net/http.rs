//! Pages of web servers, by HTTP/1.1 with and without TLS.

use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use ureq::config::Config;
pub(crate) use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::wire::left;

/// Asks web servers, each time over a connection of its own, and follows no redirection.
#[derive(Debug)]
pub(crate) struct Http(Agent);

/// What a web server says.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its status code (RFC 9110 15).
    pub(crate) status: u16,
    /// The words for that code.
    pub(crate) reason: &'static str,
    /// Its content, decoded from chunks.
    pub(crate) content: Vec<u8>,
}

impl Http {
    /// Believes in certificates of the authorities `roots`.
    pub(crate) fn new(roots: &[CertificateDer<'_>]) -> Http {
        let roots: Vec<_> =
            roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .build();
        let config = Config::builder()
            .tls_config(tls)
            // The environment of the server decides nothing.
            .proxy(None)
            .user_agent(concat!("qpsmtpd/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .build();
        Http(Agent::with_parts(config, DefaultConnector::new(), System))
    }

    /// The page at `url`, of which at most `most` octets are taken.
    ///
    /// # Errors
    /// `TimedOut`; the server cannot be reached, or its answer is not HTTP, cut off, or too large.
    pub(crate) fn get(&self, url: &str, most: u64, until: Instant) -> io::Result<Page> {
        let request = self.0.get(url).config().timeout_global(Some(left(until)?)).build();
        let answer = request.call().map_err(explained)?;
        let status = answer.status();
        let reason = status.canonical_reason().unwrap_or("");
        let content = answer.into_body().into_with_config().limit(most).read_to_vec();
        Ok(Page { status: status.as_u16(), reason, content: content.map_err(explained)? })
    }
}

/// Looks names up as the system does.  The resolver that ureq has would start a thread.
#[derive(Debug)]
struct System;

impl Resolver for System {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let mut addresses = self.empty();
        let found = (host, uri.port_u16().unwrap_or(default)).to_socket_addrs()?;
        for address in found.take(MOST_ADDRESSES) {
            addresses.push(address);
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// As many addresses as ureq has room for.
const MOST_ADDRESSES: usize = 16;

/// In words for the log.
fn explained(error: Error) -> io::Error {
    match error {
        Error::Timeout(_) => ErrorKind::TimedOut.into(),
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            io::Error::other("the answer is cut off")
        }
        Error::Io(error) => error,
        Error::BodyExceedsLimit(_) => io::Error::other("the answer is too large"),
        Error::HostNotFound => io::Error::other("the host has no address"),
        Error::Protocol(error) => io::Error::other(format!("the answer is not HTTP: {error}")),
        Error::Http(error) => io::Error::other(format!("the answer is not HTTP: {error}")),
        other => io::Error::other(other),
    }
}
