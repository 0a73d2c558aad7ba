//! ```text
//! NAME
//!     tls - encrypts connections: STARTTLS, and TLS from the start on port 465
//!
//! SYNOPSIS
//!     tls
//!     tls CERTIFICATE KEY
//!     tls cert CERTIFICATE key KEY
//!     tls certs FOLDER
//!
//! DESCRIPTION
//!     Offers STARTTLS (RFC 3207) to clients that greet with EHLO, and speaks TLS from the first
//!     octet (RFC 8314) on port 465, or on the ports in config/tls_ports.  It speaks TLS 1.2 and
//!     1.3.
//!
//!     Certificates are read again when their files change: once a second, when somebody connects,
//!     the parent process looks at the files.  New connections all get the new certificates; open
//!     connections are not disturbed.  If the new ones are broken, the log says why, and the old
//!     ones stay in use.  The user of the sessions must be able to read the key.
//!
//!     Clients can resume earlier sessions with any process, because the parent makes the keys of
//!     the tickets.
//!
//!     A client that asks for something that is no host name, such as "mx.test:587", breaks RFC
//!     6066 3 and gets an alert; the log says what it asked for.
//!
//!     For a trial, `qpsmtpd --make-certificate config/ssl` makes a self-signed certificate.
//!
//! ARGUMENTS
//!     cert FILE     the certificate, and those between it and a root, in PEM
//!     key FILE      its private key, in PEM
//!     certs FOLDER  a folder of certificates: NAME.crt or NAME.pem with NAME.key, or NAME.pem with
//!                   the key in it.  A client that asks for a name gets the certificate that
//!                   covers the name.  Others get the one whose NAME is the address they connected
//!                   to, else the one called default, else the first
//!
//!     Paths that are not absolute are looked for like configuration files.  Without arguments the
//!     files are ssl/qpsmtpd-server.crt and ssl/qpsmtpd-server.key.  A third and a fourth argument
//!     (CA, Diffie-Hellman parameters) are accepted, and have no effect.
//!
//! CONFIG
//!     tls_ports        the ports with TLS from the first octet, one per line; 465 by default
//!     tls_before_auth  1: offer AUTH only under TLS
//!     tls_protocols    TLSv1.2 or TLSv1.3; both by default; older ones are not supported
//!     tls_ciphers      names of cipher suites, those of OpenSSL or of IANA, with colons between
//!                      them; if it names none, such as HIGH, all safe ones
//!
//! SEE ALSO
//!     relay, auth/auth_flat_file
//! ```

mod certificates;
mod parameters;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::{Args, Hooks};
use crate::log::Level;

use certificates::{Certificates, Sources};
use parameters::Parameters;

/// What a certificate and its key are called where no argument says so.
const DEFAULT: (&str, &str) = ("ssl/qpsmtpd-server.crt", "ssl/qpsmtpd-server.key");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let config = hooks.config().clone();
    let offer = Rc::new(Offer {
        certificates: Certificates::load(sources(&config, args)?)?,
        parameters: Parameters::read(&config)?,
        ticketer: Ticketer::new().map_err(|error| Error::new(format!("tickets: {error}")))?,
        made: RefCell::default(),
    });
    if args.get(2).is_some() && args.named("cert").is_none() {
        hooks.log(Level::Notice, "the CA and Diffie-Hellman arguments are not used");
    }
    let parents = offer.clone();
    hooks.before_fork(move |config| {
        parents.prepare().unwrap_or_else(|problem| {
            config.note_problem(problem);
            false
        })
    });
    hooks.tls(move |session| {
        offer.config_for(session.connection.local_ip).map_err(|error| error.to_string())
    });
    Ok(())
}

/// Where the certificates are.
fn sources(config: &Config, args: &Args) -> Result<Sources> {
    let place = |name: &str| {
        let path = config.expand(name);
        let missing = || config.folder().join(&path);
        if path.is_absolute() { path } else { config.path(name).unwrap_or_else(missing) }
    };
    if let Some(folder) = args.named("certs") {
        args.only(&["certs"])?;
        return Ok(Sources::Folder(place(folder)));
    }
    if args.named("cert").is_some() || args.named("key").is_some() {
        args.only(&["cert", "key"])?;
        let one = |name| args.named(name).ok_or_else(|| format!("argument missing: {name} FILE"));
        return Ok(Sources::Pair(place(one("cert")?), place(one("key")?)));
    }
    args.at_most(4)?;
    let (cert, key) = (args.get(0).unwrap_or(DEFAULT.0), args.get(1).unwrap_or(DEFAULT.1));
    Ok(Sources::Pair(place(cert), place(key)))
}

/// Everything a handshake needs.
struct Offer {
    certificates: Certificates,
    parameters: Parameters,
    ticketer: Arc<dyn ProducesTickets>,
    /// What was made for each address that clients connect to.
    made: RefCell<HashMap<IpAddr, Arc<ServerConfig>>>,
}

impl Offer {
    /// In the parent: certificates are read, and the ticketer's keys made, for all processes.  A
    /// ticketer takes only tickets as long as it has made itself, so it has to make a long one.
    /// Returns whether there are new certificates.
    ///
    /// # Errors
    /// The new ones cannot be used.
    fn prepare(&self) -> Result<bool> {
        self.ticketer.encrypt(&[0; 8192]);
        let renewed = self.certificates.refresh()?;
        if renewed {
            self.made.borrow_mut().clear();
        }
        Ok(renewed)
    }

    fn config_for(&self, local: IpAddr) -> Result<Arc<ServerConfig>> {
        if let Some(config) = self.made.borrow().get(&local) {
            return Ok(config.clone());
        }
        let resolver = self.certificates.resolver(local);
        let mut config =
            self.parameters.builder()?.with_no_client_auth().with_cert_resolver(resolver);
        config.ticketer = self.ticketer.clone();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let config = Arc::new(config);
        self.made.borrow_mut().insert(local, config.clone());
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Trial;

    #[test]
    fn what_is_missing_is_named() {
        for (line, error) in [
            ("tls", "tls: {dir}"),
            ("tls cert /no/such.crt", "tls: argument missing: key FILE"),
            ("tls cert /no/such.crt key /no/such.key", "tls: /no/such.crt: "),
            ("tls certs /no/such/folder", "tls: /no/such/folder: "),
            ("tls certs /tmp key x", "tls: unknown argument 'key'"),
        ] {
            let found = Trial::load(line, &[]).err().map(|error| error.to_string());
            let found = found.unwrap_or_else(|| panic!("{line} was loaded"));
            if error.contains("{dir}") {
                assert!(found.contains("/ssl/qpsmtpd-server.crt: no such file"), "{line}: {found}");
                assert!(found.contains("--make-certificate /"), "{line}: {found}");
            } else {
                assert!(found.starts_with(error), "{line}: {found}");
            }
        }
    }
}
