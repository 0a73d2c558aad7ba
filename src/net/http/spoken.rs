//! HTTP on a wire, so that every wait ends in time, however slowly a server takes what it is given.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use std::{fmt, io};

use rustls::ClientConfig;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::net::{Endpoint, Tls, Wire, turns};

/// How much of an answer, and of what is sent, is held at a time, in octets.
const INPUT: usize = 16 * 1024;
const OUTPUT: usize = 32 * 1024;

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    /// Whose certificates are believed.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Where all servers are.
    pub(super) socket: Option<PathBuf>,
    /// At which addresses the server is; empty: at those of its name.
    pub(super) addresses: Vec<IpAddr>,
}

impl Connector for Dialer {
    type Out = Spoken;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Spoken>, Error> {
        let until = Instant::now() + *details.timeout.after;
        let host = details.uri.host().unwrap_or("").trim_matches(['[', ']']);
        let port = details.uri.port_u16();
        let port = port.unwrap_or(if details.needs_tls() { 443 } else { 80 });
        let at = |host: String| Endpoint::Tcp { host, port };
        let endpoints = match &self.socket {
            Some(path) => vec![Endpoint::Unix(path.clone())],
            None if self.addresses.is_empty() => vec![at(host.to_owned())],
            None => self.addresses.iter().map(|ip| at(ip.to_string())).collect(),
        };
        let mut wire = Err(io::Error::other("the host has no address"));
        for (endpoint, end) in turns(&endpoints, until) {
            // One is waited for as long as the others leave.
            wire = Wire::connect(endpoint, if endpoints.len() == 1 { until } else { end });
            if wire.is_ok() {
                break;
            }
        }
        let mut wire = wire?;
        wire.set_end(until);
        if details.needs_tls() {
            let config = self.tls.as_ref().ok_or_else(|| io::Error::other("no TLS is set up"))?;
            wire.encrypt(Tls::new(config, host)?, until)?;
        }
        Ok(Some(Spoken { wire, until, buffers: LazyBuffers::new(INPUT, OUTPUT) }))
    }
}

/// A connection.  Its waits end when that of the whole question does.
pub(super) struct Spoken {
    wire: Wire,
    until: Instant,
    buffers: LazyBuffers,
}

impl Transport for Spoken {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _timeout: NextTimeout) -> Result<(), Error> {
        Ok(self.wire.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, _timeout: NextTimeout) -> Result<bool, Error> {
        let room = self.buffers.input_append_buf();
        let count = match self.wire.some(room, self.until) {
            // An answer without a length ends with the connection.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && !self.wire.is_cut_off() => 0,
            done => done?,
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.wire.tls().is_some()
    }
}

impl fmt::Debug for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spoken").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Leaves it to the wire to look names up, in this thread.
#[derive(Debug)]
pub(super) struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(addresses)
    }
}
