//! Whose certificates are believed in: those of authorities, or anybody's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Result};

/// For [`super::Tls`]: believes in certificates of the authorities in the file `ca`, or in those of the
/// system.
///
/// # Errors
/// There are none, or they cannot be read.
pub fn verified(ca: Option<PathBuf>) -> Result<Arc<ClientConfig>> {
    let mut store = RootCertStore::empty();
    let found = roots(ca.as_deref())?;
    match ca {
        Some(file) => {
            for root in found {
                let added = store.add(root);
                added.map_err(|error| Error::new(format!("{}: {error}", file.display())))?;
            }
        }
        None => {
            store.add_parsable_certificates(found);
            if store.is_empty() {
                return Err(Error::new("the system has no root certificates; see the argument ca"));
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(format!("TLS: {error}")))?;
    Ok(Arc::new(builder.with_root_certificates(store).with_no_client_auth()))
}

/// Believes in every certificate.
pub(crate) fn unverified() -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// The certificates of the authorities in the file `ca`, or those of the system.
///
/// # Errors
/// There are none, or they cannot be read.
fn roots(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>> {
    let Some(file) = ca else {
        let roots = rustls_native_certs::load_native_certs().certs;
        if roots.is_empty() {
            return Err(Error::new("the system has no root certificates; see the argument ca"));
        }
        return Ok(roots);
    };
    let wrong = |error: &dyn fmt::Display| Error::new(format!("{}: {error}", file.display()));
    let roots = CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
    let roots: Vec<_> =
        roots.collect::<std::result::Result<_, _>>().map_err(|error| wrong(&error))?;
    if roots.is_empty() {
        return Err(wrong(&"no certificate in it"));
    }
    Ok(roots)
}

/// Takes whatever certificate the server has the key of: what would be sent in the clear otherwise
/// is at least not read by those who only listen (RFC 7435).
#[derive(Debug)]
pub(super) struct Anybody(pub(super) Arc<CryptoProvider>);

type Signature = std::result::Result<HandshakeSignatureValid, rustls::Error>;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signature {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signature {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
