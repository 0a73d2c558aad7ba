//! Counts TLS handshakes with a server that speaks TLS from the first octet on, one after the other:
//!
//! ```text
//! cargo run --release --example handshakes -- ADDRESS:PORT 1.2|1.3 full|resumed [SECONDS]
//! ```
//!
//! Each connection ends after the server's greeting, so tickets have come by then.  Certificates are
//! not verified.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, Stream};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long to count where nothing is said.
const SECONDS: u64 = 10;

fn main() -> ExitCode {
    let said = count();
    let text = said.as_ref().map_or_else(|error| format!("handshakes: {error}"), String::clone);
    let _ = writeln!(std::io::stderr(), "{text}");
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn count() -> Result<String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (address, version, kind, more) = match words[..] {
        [address, version, kind, ref more @ ..] if more.len() <= 1 => {
            (address, version, kind, more)
        }
        _ => return Err("arguments: ADDRESS:PORT 1.2|1.3 full|resumed [SECONDS]".into()),
    };
    let seconds = more.first().map_or(Ok(SECONDS), |word| word.parse())?;
    let config = Arc::new(config(version, kind)?);
    connect(address, &config)?;
    let (start, limit) = (Instant::now(), Duration::from_secs(seconds));
    let (mut all, mut resumed) = (0u32, 0u32);
    while start.elapsed() < limit {
        resumed += u32::from(connect(address, &config)? == HandshakeKind::Resumed);
        all += 1;
    }
    let rate = f64::from(all) / start.elapsed().as_secs_f64();
    Ok(format!("{all} handshakes, {resumed} of them resumed: {rate:.0} a second"))
}

fn config(version: &str, kind: &str) -> Result<ClientConfig> {
    let version = match version {
        "1.2" => &TLS12,
        "1.3" => &TLS13,
        _ => return Err("the version is 1.2 or 1.3".into()),
    };
    let provider = Arc::new(ring::default_provider());
    let trusting = Trusting(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trusting))
        .with_no_client_auth();
    match kind {
        "full" => config.resumption = Resumption::disabled(),
        "resumed" => {}
        _ => return Err("the kind is full or resumed".into()),
    }
    Ok(config)
}

/// A connection up to the end of the first line that the server says.
fn connect(address: &str, config: &Arc<ClientConfig>) -> Result<HandshakeKind> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut connection = ClientConnection::new(config.clone(), ServerName::try_from("mail.test")?)?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    let mut line = vec![];
    while !line.ends_with(b"\n") {
        let mut octets = [0; 1024];
        match stream.read(&mut octets)? {
            0 => return Err("the server has closed the connection".into()),
            count => line.extend_from_slice(&octets[..count]),
        }
    }
    Ok(connection.handshake_kind().ok_or("no handshake")?)
}

/// Believes every certificate.
#[derive(Debug)]
struct Trusting(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
