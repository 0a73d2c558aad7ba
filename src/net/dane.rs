//! DANE (RFC 7672, RFC 7671): a certificate is believed in because the domain name system says, signed,
//! what it has to be.

use std::sync::Arc;

use ring::digest::{SHA256, SHA512, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::trust::Anybody;
use crate::dns::Tlsa;
use crate::error::{Error, Result};

/// The record is about an authority under which the certificate is.
const AUTHORITY: u8 = 2;

/// The record is about the certificate itself.
const ITSELF: u8 = 3;

/// Can anything be made of the record by SMTP (RFC 7672 3.1)?  The usages 0 and 1 mean nothing there.
pub(crate) fn is_usable(record: &Tlsa) -> bool {
    let length = match record.matching {
        0 => !record.data.is_empty(),
        1 => record.data.len() == 32,
        2 => record.data.len() == 64,
        _ => false,
    };
    matches!(record.usage, AUTHORITY | ITSELF) && record.selector <= 1 && length
}

/// For [`super::Tls`]: believes in certificates that one of `records` describes.  Where that is by their
/// authority they have to be for one of `names`, the server's and the domain's that it takes mail for.
///
/// # Errors
/// TLS is not possible at all.
pub(crate) fn described(records: Vec<Tlsa>, names: &[&str]) -> Result<Arc<ClientConfig>> {
    let crypto = Arc::new(provider::default_provider());
    let names = names.iter().filter_map(|name| ServerName::try_from((*name).to_owned()).ok());
    let verifier =
        Described { records, names: names.collect(), signatures: Anybody(crypto.clone()) };
    let builder = ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(builder.with_no_client_auth()))
}

#[derive(Debug)]
struct Described {
    records: Vec<Tlsa>,
    names: Vec<ServerName<'static>>,
    signatures: Anybody,
}

impl Described {
    fn is_described(&self, usage: u8, certificate: &CertificateDer<'_>) -> bool {
        let mut records = self.records.iter().filter(|record| record.usage == usage);
        records.any(|record| describes(record, certificate))
    }

    /// Is the certificate under an authority that is described, and for one of the names?
    fn is_under_authority(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<(), rustls::Error> {
        let mut anchors = RootCertStore::empty();
        for authority in between.iter().filter(|one| self.is_described(AUTHORITY, one)) {
            anchors.add(authority.clone().into_owned())?;
        }
        // A record may have all of the authority's certificate, which then need not be sent.
        let whole =
            |record: &&Tlsa| (record.usage, record.selector, record.matching) == (AUTHORITY, 0, 0);
        for record in self.records.iter().filter(whole) {
            anchors.add_parsable_certificates([CertificateDer::from(record.data.clone())]);
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        // One that is its own authority needs no other (RFC 7671 5.2.2).
        if !self.is_described(AUTHORITY, certificate) {
            let algorithms = self.signatures.0.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &anchors, between, now, algorithms)?;
        }
        let mut last = Err(CertificateError::NotValidForName.into());
        for name in &self.names {
            last = verify_server_name(&parsed, name);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}

/// Is that what the record says (RFC 6698 2.1)?
fn describes(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let key;
    let part: &[u8] = match record.selector {
        0 => certificate,
        1 => match ParsedCertificate::try_from(certificate) {
            Ok(parsed) => {
                key = parsed.subject_public_key_info();
                &key
            }
            Err(_) => return false,
        },
        _ => return false,
    };
    match record.matching {
        0 => part == record.data,
        1 => digest(&SHA256, part).as_ref() == record.data,
        2 => digest(&SHA512, part).as_ref() == record.data,
        _ => false,
    }
}

type Signature = std::result::Result<HandshakeSignatureValid, rustls::Error>;

impl ServerCertVerifier for Described {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        // RFC 7672 3.1.1: names and dates in a certificate that is described itself do not count.
        if self.is_described(ITSELF, certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        if self.records.iter().any(|record| record.usage == AUTHORITY) {
            self.is_under_authority(certificate, between, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signature {
        self.signatures.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signature {
        self.signatures.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

/// For the fuzz target: whatever the record and the certificate are, they are compared or not.
pub(crate) fn compare_any(record: &Tlsa, certificate: &[u8]) {
    let certificate = CertificateDer::from(certificate);
    let names = ["mx.test"].map(|name| ServerName::try_from(name.to_owned()).ok());
    let verifier = Described {
        records: vec![record.clone()],
        names: names.into_iter().flatten().collect(),
        signatures: Anybody(Arc::new(provider::default_provider())),
    };
    let name = ServerName::IpAddress(std::net::IpAddr::from([192, 0, 2, 1]).into());
    let chain = [certificate.clone()];
    let verified = verifier.verify_server_cert(&certificate, &chain, &name, &[], UnixTime::now());
    assert!(verified.is_err() || describes(record, &certificate), "{record:?}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    /// An authority's certificate, and one under it for mx.test.
    fn made() -> (CertificateDer<'static>, CertificateDer<'static>) {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let params = CertificateParams::new(vec!["mx.test".to_owned()]).unwrap();
        let own = params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
        (authority.der().clone(), own.der().clone())
    }

    fn record(usage: u8, selector: u8, matching: u8, certificate: &CertificateDer<'_>) -> Tlsa {
        let key = ParsedCertificate::try_from(certificate).unwrap().subject_public_key_info();
        let part: &[u8] = if selector == 0 { certificate } else { &key };
        let data = match matching {
            0 => part.to_vec(),
            1 => digest(&SHA256, part).as_ref().to_vec(),
            _ => digest(&SHA512, part).as_ref().to_vec(),
        };
        Tlsa { usage, selector, matching, data }
    }

    fn is_believed(
        record: Tlsa,
        names: &[&str],
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
    ) -> bool {
        assert!(is_usable(&record), "{record:?}");
        let names = names.iter().map(|name| ServerName::try_from((*name).to_owned()).unwrap());
        let signatures = Anybody(Arc::new(provider::default_provider()));
        let verifier = Described { records: vec![record], names: names.collect(), signatures };
        let name = ServerName::try_from("other.test").unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        verifier.verify_server_cert(certificate, between, &name, &[], now).is_ok()
    }

    #[test]
    fn a_certificate_is_believed_in_by_each_kind_of_record() {
        let (authority, own) = made();
        let (other, _) = made();
        let chain = [authority.clone()];
        for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            let about = |usage, what| record(usage, selector, matching, what);
            let shown = (selector, matching);
            assert!(is_believed(about(3, &own), &[], &own, &[]), "{shown:?}");
            assert!(!is_believed(about(3, &other), &[], &own, &[]), "{shown:?}");
            // The authority is not the certificate itself.
            assert!(!is_believed(about(3, &authority), &["mx.test"], &own, &chain), "{shown:?}");
            for names in [&["mx.test"][..], &["x.test", "mx.test"]] {
                assert!(is_believed(about(2, &authority), names, &own, &chain), "{shown:?}");
            }
            assert!(!is_believed(about(2, &authority), &["x.test"], &own, &chain), "{shown:?}");
            assert!(!is_believed(about(2, &other), &["mx.test"], &own, &chain), "{shown:?}");
            assert!(is_believed(about(2, &own), &["mx.test"], &own, &[]), "{shown:?}");
            assert!(!is_believed(about(2, &own), &["x.test"], &own, &[]), "{shown:?}");
            // An authority that has not been sent is known where the record has all of it.
            let is_sent = is_believed(about(2, &authority), &["mx.test"], &own, &[]);
            assert_eq!(is_sent, shown == (0, 0), "{shown:?}");
        }
    }

    #[test]
    fn an_authority_that_only_stands_beside_is_none() {
        let (authority, _) = made();
        let (other, own) = made();
        let chain = [other, authority.clone()];
        assert!(!is_believed(record(2, 0, 1, &authority), &["mx.test"], &own, &chain));
    }

    #[test]
    fn records_of_which_nothing_can_be_made_are_known() {
        let (_, own) = made();
        let good = record(3, 1, 1, &own);
        assert!(is_usable(&good));
        for record in [
            Tlsa { usage: 0, ..good.clone() },
            Tlsa { usage: 1, ..good.clone() },
            Tlsa { usage: 4, ..good.clone() },
            Tlsa { selector: 2, ..good.clone() },
            Tlsa { matching: 3, ..good.clone() },
            Tlsa { matching: 2, ..good.clone() },
            Tlsa { data: vec![], matching: 0, ..good.clone() },
        ] {
            assert!(!is_usable(&record), "{record:?}");
        }
    }
}
