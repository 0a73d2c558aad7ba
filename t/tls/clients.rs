//! Real mail clients that verify the certificate, authenticate and send a message: msmtp (GnuTLS,
//! GNU SASL) and lettre (rustls), against all programs, `qpsmtpd` under a real tcpserver.

use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::harness::Log;
use crate::processes::superservers::tcpserver;

const USER: &str = "u@example.com";
const PASSWORD: &str = "pa ss\\w\u{f6}rd";

/// A server with a certificate for mail.test of the authority in `ca.pem`, for whose users alone
/// there is mail elsewhere.
fn config() -> Config {
    let config = Config::new().set("flat_auth_pw", &format!("{USER}:{PASSWORD}"));
    let [ca, other] = ["Authority", "Another"].map(|name| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    });
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["mail.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    fs::create_dir(config.path("ssl")).unwrap();
    fs::write(config.path("ssl/default.pem"), certificate.pem() + &key.serialize_pem()).unwrap();
    fs::write(config.path("ca.pem"), ca.pem()).unwrap();
    fs::write(config.path("other.pem"), other.pem()).unwrap();
    config.set(
        "plugins",
        "tls certs {work}/ssl\nauth/auth_flat_file\nrcpt_ok\nqueue/maildir {work}/Maildir",
    )
}

/// Has `send` send to the port of each program.
fn with_every_program(send: impl Fn(&Config, u16)) {
    for model in Model::ALL {
        let config = config();
        if model == Model::Inetd {
            if deb::need("ucspi-tcp") {
                let log = Log::default();
                let (port, _tcpserver) = tcpserver(&config, &log);
                send(&config, port);
                let log = log.text();
                assert!(log.contains("TLS: TLSv1.3 TLS_") && !log.contains("pa ss"), "{log}");
            }
            continue;
        }
        let server = Server::start(&config, model);
        send(&config, server.port());
        assert!(!server.log().text().contains("pa ss"), "{}", server.log().tail());
        server.stop().unwrap();
    }
}

/// One message has arrived, from somebody who has authenticated with this mechanism.
fn arrived(config: &Config, mechanism: &str) {
    let mails = config.take_mails();
    assert_eq!(mails.len(), 1, "{mechanism}");
    let mail = String::from_utf8(mails[0].clone()).unwrap();
    let result = format!("auth=pass ({mechanism}) smtp.auth={USER}");
    assert!(mail.contains(&result), "{mail}");
    assert!(mail.contains(" with ESMTPSA (TLSv1.3 TLS_"), "{mail}");
    assert!(mail.contains("\nSubject: with TLS\n"), "{mail}");
    assert!(mail.ends_with("\n\n.\nbody\n"), "{mail}");
}

#[test]
fn msmtp_delivers_over_starttls_with_a_password() {
    if !deb::need("msmtp") {
        return;
    }
    with_every_program(|config, port| {
        for mechanism in ["plain", "login", "cram-md5", "scram-sha-256"] {
            msmtp(config, port, mechanism, "ca.pem", PASSWORD).unwrap();
            arrived(config, mechanism);
        }
        let told = msmtp(config, port, "scram-sha-256", "ca.pem", "wrong").unwrap_err();
        assert!(told.contains("SCRAM-SHA-256 authentication failed for u@example.com"), "{told}");
        let told = msmtp(config, port, "plain", "other.pem", PASSWORD).unwrap_err();
        assert!(told.contains("TLS certificate verification failed"), "{told}");
        assert!(config.mails().is_empty());
    });
}

/// Sends a message with msmtp; an error is what it says of it.
fn msmtp(
    config: &Config,
    port: u16,
    mechanism: &str,
    ca: &str,
    password: &str,
) -> Result<(), String> {
    let mut msmtp = Command::new("msmtp");
    msmtp.arg("--file=/dev/null").args(["--host=127.0.0.1", "--tls=on", "--tls-starttls=on"]);
    msmtp.arg("--tls-host-override=mail.test");
    msmtp.arg(format!("--tls-trust-file={}", config.path(ca).display()));
    msmtp.args([format!("--port={port}"), format!("--auth={mechanism}")]);
    msmtp.args([format!("--user={USER}"), "--passwordeval=cat password".into()]);
    msmtp.args(["--from=a@example.net", "--", "b@elsewhere.test"]);
    fs::write(config.path("password"), password).unwrap();
    msmtp.current_dir(config.work()).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = msmtp.spawn().unwrap();
    let message = b"Subject: with TLS\n\n.\nbody\n";
    // It may have given up before it takes the message.
    let _ = child.stdin.take().unwrap().write_all(message);
    let done = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() { Ok(()) } else { Err(told) }
}

#[test]
fn lettre_delivers_over_starttls_with_a_password() {
    with_every_program(|config, port| {
        for (mechanism, name) in [(Mechanism::Plain, "plain"), (Mechanism::Login, "login")] {
            lettre(config, port, mechanism, "ca.pem", PASSWORD).unwrap();
            arrived(config, name);
        }
        let told = lettre(config, port, Mechanism::Plain, "ca.pem", "wrong").unwrap_err();
        assert!(told.contains("5.7.8 PLAIN authentication failed"), "{told}");
        let told = lettre(config, port, Mechanism::Plain, "other.pem", PASSWORD).unwrap_err();
        assert!(told.contains("UnknownIssuer"), "{told}");
        assert!(config.mails().is_empty());
    });
}

/// The same with lettre.
fn lettre(
    config: &Config,
    port: u16,
    mechanism: Mechanism,
    ca: &str,
    password: &str,
) -> Result<(), String> {
    let root = Certificate::from_pem(&fs::read(config.path(ca)).unwrap()).unwrap();
    let tls = TlsParameters::builder("mail.test".to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(root)
        .build()
        .unwrap();
    let transport = SmtpTransport::builder_dangerous("127.0.0.1")
        .port(port)
        .timeout(Some(Duration::from_secs(20)))
        .tls(Tls::Required(tls))
        .credentials(Credentials::new(USER.to_owned(), password.to_owned()))
        .authentication(vec![mechanism])
        .build();
    let message = Message::builder()
        .from("a@example.net".parse().unwrap())
        .to("b@elsewhere.test".parse().unwrap())
        .subject("with TLS")
        .body(".\r\nbody".to_owned())
        .unwrap();
    transport.send(&message).map(drop).map_err(|error| format!("{error:?}"))
}
