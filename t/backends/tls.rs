//! queue/smtp-forward under TLS, and with a password: to qpsmtpd itself, and to smtp-sink, which
//! does not know of either.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::smtp::sink;
use super::{forwarding, send, sends_a_large_message};
use crate::harness::{Config, Model, Server, deb, free_port};

const MESSAGE: &str = "Subject: secret\r\n\r\nbody\r\n";

/// Writes a certificate for `name` with its key into a file.  Returns the certificate.
pub(crate) fn make_certificate(file: &Path, name: &str) -> String {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let certificate = made.cert.pem();
    fs::write(file, certificate.clone() + &made.signing_key.serialize_pem()).unwrap();
    certificate
}

/// A configuration of a server with a certificate for `name`, and that certificate.
fn behind(name: &str) -> (Config, String) {
    let config = Config::new().set("databytes", "0").set("flat_auth_pw", "u@example.com:pa ss");
    fs::create_dir(config.path("ssl")).unwrap();
    let certificate = make_certificate(&config.path("ssl/default.pem"), name);
    let plugins =
        "tls certs {work}/ssl\nauth/auth_flat_file\nrcpt_ok\nqueue/maildir {work}/Maildir";
    (config.set("plugins", plugins), certificate)
}

/// A configuration that hands messages on with `plugin` and believes in `certificate`.
fn before(plugin: &str, certificate: &str, password: &str) -> Config {
    forwarding(plugin)
        .set("ca.pem", certificate)
        .set("password", password)
        .set("logging", "logging/warn LOGDEBUG")
}

/// The one message that has arrived.
fn mail(config: &Config) -> String {
    let mails = config.take_mails();
    assert_eq!(mails.len(), 1);
    String::from_utf8(mails[0].clone()).unwrap()
}

const LOGIN: &str = "auth_user u@example.com auth_password_file password";

#[test]
fn messages_go_under_tls_and_with_a_password_where_they_should() {
    let (back, certificate) = behind("127.0.0.1");
    let behind = Server::start(&back, Model::Prefork);
    for (arguments, with) in [
        ("".to_owned(), " with ESMTPS (TLSv1.3 TLS_"),
        ("tls may".into(), " with ESMTPS (TLSv1.3 TLS_"),
        ("tls must ca ca.pem".into(), " with ESMTPS (TLSv1.3 TLS_"),
        ("tls no".into(), " with ESMTP; "),
        (format!("tls must ca ca.pem {LOGIN}"), " with ESMTPSA (TLSv1.3 TLS_"),
        (format!("ca ca.pem {LOGIN}"), " with ESMTPSA (TLSv1.3 TLS_"),
        (format!("tls no {LOGIN}"), " with ESMTPA ("),
    ] {
        let plugin = format!("queue/smtp-forward 127.0.0.1 {} {arguments}", behind.port());
        let front = before(&plugin, &certificate, "pa ss\nanother");
        let server = Server::start(&front, Model::Prefork);
        let reply = send(&server, &["b"], MESSAGE);
        assert_eq!(reply.code, "250", "{arguments}: {reply:?}\n{}", server.log().tail());
        let mail = mail(&back);
        let (first, _) = mail.split_once("\nOriginal-Authentication-Results: ").expect(&mail);
        assert!(first.contains(with), "{arguments}: {mail}");
        assert_eq!(first.contains("auth=pass (plain)"), arguments.contains(LOGIN), "{mail}");
        let log = server.log().text();
        assert!(!log.contains("pa ss"), "{log}");
        server.stop().unwrap();
    }
    behind.stop().unwrap();
}

#[test]
fn tls_comes_first_where_it_should() {
    let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (back, certificate) = behind("127.0.0.1");
    let back = back.set("tls_ports", &free.port().to_string());
    let model = Model::Prefork;
    let behind = Server::start_with(&back, model, &model.listen(&free.to_string()));
    let plugin = format!("queue/smtp-forward 127.0.0.1:{} tls first ca ca.pem", free.port());
    let front = before(&plugin, &certificate, "");
    let server = Server::start(&front, model);
    assert_eq!(send(&server, &["b"], MESSAGE).code, "250", "{}", server.log().tail());
    assert!(mail(&back).contains(" with ESMTPS (TLSv1.3 TLS_"));
    server.stop().unwrap();
    behind.stop().unwrap();
}

/// A certificate of somebody unknown, and one for another name.
#[test]
fn a_server_that_cannot_prove_its_name_gets_nothing() {
    for name in ["127.0.0.1", "mail.test"] {
        let (back, certificate) = behind(name);
        let behind = Server::start(&back, Model::Prefork);
        let certificate = match name {
            "mail.test" => certificate,
            _ => make_certificate(&back.path("another.pem"), name),
        };
        for (arguments, code) in [
            ("tls must ca ca.pem".to_owned(), "451"),
            (format!("tls must ca ca.pem {LOGIN}"), "451"),
            ("tls may".into(), "250"),
        ] {
            let plugin = format!("queue/smtp-forward 127.0.0.1 {} {arguments}", behind.port());
            let front = before(&plugin, &certificate, "pa ss");
            let server = Server::start(&front, Model::Prefork);
            let reply = send(&server, &["b"], MESSAGE);
            assert_eq!(reply.code, code, "{arguments}: {reply:?}");
            if code == "451" {
                server.log().wait_for("invalid peer certificate");
                assert!(back.mails().is_empty());
            } else {
                assert!(mail(&back).contains(" with ESMTPS (TLSv1.3 TLS_"));
            }
            server.stop().unwrap();
        }
        behind.stop().unwrap();
    }
}

#[test]
fn a_wrong_password_is_for_this_server_to_mend() {
    let (back, certificate) = behind("127.0.0.1");
    let behind = Server::start(&back, Model::Prefork);
    let plugin = format!("queue/smtp-forward 127.0.0.1 {} ca ca.pem {LOGIN}", behind.port());
    let front = before(&plugin, &certificate, "wrong-one");
    let server = Server::start(&front, Model::Prefork);
    let reply = send(&server, &["b"], MESSAGE);
    assert_eq!(reply.code, "451", "{reply:?}");
    assert!(reply.lines[0].contains("refused to authenticate this server"), "{reply:?}");
    assert!(back.mails().is_empty());
    // It is read again for each message.
    front.write("password", "pa ss");
    assert_eq!(send(&server, &["b"], MESSAGE).code, "250", "{}", server.log().tail());
    let log = server.log().text();
    assert!(!log.contains("wrong-one") && !log.contains("pa ss"), "{log}");
    server.stop().unwrap();
    behind.stop().unwrap();
}

#[test]
fn smtp_sink_knows_no_tls() {
    if !deb::need("postfix") {
        return;
    }
    let ca = make_certificate(&Config::new().path("both.pem"), "127.0.0.1");
    for (arguments, code) in [
        ("", "250"),
        ("tls may", "250"),
        ("tls must ca ca.pem", "451"),
        ("tls first ca ca.pem", "451"),
    ] {
        let keep = Config::new();
        let (_sink, port) = sink(&keep, &[]);
        let plugin = format!("queue/smtp-forward 127.0.0.1:{port} {arguments}");
        let front = before(&plugin, &ca, "");
        let server = Server::start(&front, Model::Prefork);
        let reply = send(&server, &["b"], MESSAGE);
        assert_eq!(reply.code, code, "{arguments}: {reply:?}\n{}", server.log().tail());
        assert_eq!(keep.mails().len(), usize::from(code == "250"), "{arguments}");
        server.stop().unwrap();
    }
}

#[test]
fn a_large_message_under_tls_needs_no_memory() {
    let (back, _) = behind("127.0.0.1");
    let behind = Server::start(&back, Model::Prefork);
    let plugin = format!("queue/smtp-forward 127.0.0.1 {}", behind.port());
    let (reply, message) = sends_a_large_message(&plugin);
    assert_eq!(reply.code, "250", "{reply:?}");
    let text: Vec<u8> = message.into_iter().filter(|octet| *octet != b'\r').collect();
    assert!(back.mails()[0].ends_with(&text));
    behind.stop().unwrap();
}
