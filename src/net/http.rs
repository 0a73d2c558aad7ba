//! Web servers, by HTTP/1.1 over TCP and sockets in the file system, with and without TLS.

mod place;
mod spoken;

use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use ureq::config::Config;
use ureq::http::HeaderValue;
use ureq::{Agent, Error, SendBody};

pub(crate) use self::place::Place;
use self::spoken::{Dialer, Nowhere};
use super::wait::left;

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

/// What a server is given: fields of the header, and so many octets.
pub(crate) struct Form<'a> {
    /// Name and value of each field; an octet that a value must not have is an error.
    pub(crate) fields: &'a [(&'static str, String)],
    /// The content.
    pub(crate) content: &'a mut dyn Read,
    /// How many octets it has.
    pub(crate) length: u64,
}

impl Http {
    /// Asks servers on the network; `tls` says whose certificates are believed, and is needed for https.
    pub(crate) fn new(tls: Option<Arc<ClientConfig>>) -> Http {
        Http::by(Dialer { tls, socket: None, addresses: vec![] })
    }

    /// Asks the server at a socket in the file system, whatever host the URL has.
    pub(crate) fn at(socket: PathBuf) -> Http {
        Http::by(Dialer { tls: None, socket: Some(socket), addresses: vec![] })
    }

    /// Asks the server at the first of `addresses` that answers, of which there has to be one.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn found(tls: Arc<ClientConfig>, addresses: Vec<IpAddr>) -> io::Result<Http> {
        if addresses.is_empty() {
            return Err(io::Error::other("the host has no address"));
        }
        Ok(Http::by(Dialer { tls: Some(tls), socket: None, addresses }))
    }

    fn by(dialer: Dialer) -> Http {
        let config = Config::builder()
            // The environment of the server decides nothing.
            .proxy(None)
            .user_agent(concat!("qpsmtpd/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .build();
        Http(Agent::with_parts(config, dialer, Nowhere))
    }

    /// The page at `url`, of which at most `most` octets are taken.
    ///
    /// # Errors
    /// `TimedOut`; the server cannot be reached, or its answer is not HTTP, cut off, or too large.
    pub(crate) fn get(&self, url: &str, most: u64, until: Instant) -> io::Result<Page> {
        let request = self.0.get(url).config().timeout_global(Some(left(until)?)).build();
        page(request.call().map_err(io_error)?, most)
    }

    /// Gives the server at `url` a form; its answer is as from [`Http::get`].
    ///
    /// # Errors
    /// As [`Http::get`]; the content cannot be read.
    pub(crate) fn post(
        &self,
        url: &str,
        form: Form<'_>,
        most: u64,
        until: Instant,
    ) -> io::Result<Page> {
        let mut request = self.0.post(url).header("Content-Length", form.length);
        for (name, value) in form.fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(io::Error::other)?;
            request = request.header(*name, value);
        }
        let request = request.config().timeout_global(Some(left(until)?)).build();
        let mut content = form.content.take(form.length);
        page(request.send(SendBody::from_reader(&mut content)).map_err(io_error)?, most)
    }
}

fn page(answer: ureq::http::Response<ureq::Body>, most: u64) -> io::Result<Page> {
    let status = answer.status();
    let reason = status.canonical_reason().unwrap_or("");
    let content = answer.into_body().into_with_config().limit(most).read_to_vec();
    Ok(Page { status: status.as_u16(), reason, content: content.map_err(io_error)? })
}

/// In words for the log.
fn io_error(error: Error) -> io::Error {
    match error {
        Error::Timeout(_) => ErrorKind::TimedOut.into(),
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            io::Error::other("the answer is cut off")
        }
        Error::Io(error) => error,
        Error::BodyExceedsLimit(_) => io::Error::other("the answer is too large"),
        Error::Protocol(error) => io::Error::other(format!("the answer is not HTTP: {error}")),
        Error::Http(error) => io::Error::other(format!("the answer is not HTTP: {error}")),
        other => io::Error::other(other),
    }
}
