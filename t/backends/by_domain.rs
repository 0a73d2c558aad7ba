//! queue/smtp-forward by domain: `config/smtproutes`, mail exchangers, DANE and MTA-STS, with name servers
//! that say what a test wants, and qpsmtpd itself as the servers behind.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::crypto::ring as provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{forwarding, set_plugin};
use crate::harness::client::Reply;
use crate::harness::{Config, Model, Server, free_port};
use crate::origin::servers::NameServer;
use qpsmtpd::dns::Table;

/// What the name server answers now.
type Names = Arc<Mutex<Table>>;

fn name_server() -> (NameServer, Names) {
    let names = Names::default();
    let own = names.clone();
    (NameServer::new(move |asked| vec![asked.of_table(&own.lock().unwrap())]), names)
}

/// A configuration that hands mail for these domains on by domain, and asks that name server.
fn front(arguments: &str, names: &NameServer) -> Config {
    forwarding(&format!("queue/smtp-forward smtproutes {arguments}"))
        .set("rcpthosts", "named.test\nx.test\ny.test")
        .set("dns_servers", &names.address.to_string())
        .set("logging", "logging/warn LOGDEBUG")
}

/// An authority, and a certificate under it for `name`, in files: `ca.pem`, and `ssl/default.pem` with
/// all of it and the key.  Returns the SHA-256 of the authority, and that of the certificate's key.
fn certify(front: &Config, back: &Config, name: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let own = params.signed_by(&key, &authority).unwrap();
    fs::write(front.path("config/ca.pem"), authority.pem()).unwrap();
    fs::create_dir_all(back.path("ssl")).unwrap();
    let all = [own.pem(), authority.pem(), key.serialize_pem()].concat();
    fs::write(back.path("ssl/default.pem"), all).unwrap();
    let parsed = rustls::server::ParsedCertificate::try_from(own.der()).unwrap();
    (hashed(authority.der()), hashed(&parsed.subject_public_key_info()))
}

fn hashed(octets: &[u8]) -> String {
    digest(&SHA256, octets).as_ref().iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Sends a message in a session of its own; the last reply, which may be the one to RCPT.
fn send(server: &Server<'_>, recipients: &[&str]) -> Reply {
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    for recipient in recipients {
        client.say(&format!("RCPT TO:<{recipient}>"));
        let reply = client.reply();
        if reply.code != "250" {
            return reply;
        }
    }
    client.ask("DATA", "354");
    client.say("Subject: x\r\n\r\nbody\r\n.");
    let reply = client.reply();
    client.quit();
    reply
}

/// A server on an address of the loopback interface that no other test uses, as MX go to port 25 of
/// hosts.
fn at(host: u8, port: u16) -> SocketAddr {
    let [high, low] = port.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, high | 1, low, host), port))
}

#[test]
fn each_recipient_goes_its_way() {
    let (server, names) = name_server();
    let [one, two] = [Config::new(), Config::new()].map(|back| back.set("rcpthosts", "test"));
    let [one, two] = [one, two].map(|back| {
        set_plugin(&back, "queue/maildir {work}/Maildir");
        back.set("rcpthosts", "named.test\nx.test\ny.test")
    });
    let port = free_port();
    let model = Model::Prefork;
    let place = at(2, port);
    let first = Server::start(&one, model);
    let second = Server::start_with(&two, model, &model.listen(&place.to_string()));
    *names.lock().unwrap() = Table::new(&format!(
        "x.test MX 10 dead.x.test\nx.test MX 20 mx.x.test\ndead.x.test A {}\nmx.x.test A {}\n\
         y.test MX 0 .",
        at(3, port).ip(),
        place.ip()
    ));
    let routes = format!("named.test:[127.0.0.1]:{}\nx.test::{port}\n", first.port());
    let front = front("keep 9 tls no", &server).set("smtproutes", &routes);
    let forwarding = Server::start(&front, model);

    // In one session, as a server that has a queue does it.
    let mut client = forwarding.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@named.test>", "250");
    let later = client.ask("RCPT TO:<c@x.test>", "452");
    assert!(later.lines[0].starts_with("452 4.5.3 "), "{later:?}");
    client.ask("RCPT TO:<d@named.test>", "250");
    client.ask("DATA", "354");
    client.say("Subject: x\r\n\r\n.");
    client.expect("250");
    for _ in 0..2 {
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<c@x.test>", "250");
        client.ask("DATA", "354");
        client.say("Subject: x\r\n\r\n.");
        client.expect("250");
    }
    client.quit();
    let mail = one.take_mails();
    assert_eq!((mail.len(), two.take_mails().len()), (1, 2));
    let mail = String::from_utf8(mail[0].clone()).unwrap();
    assert!(mail.contains("Delivered-To: d@named.test\nDelivered-To: b@named.test\n"), "{mail}");
    let log = forwarding.log().text();
    assert!(
        log.contains(&format!("forwarding to dead.x.test[{}]:{port}", at(3, port).ip())),
        "{log}"
    );
    let connected = format!("mx.x.test[{}]:{port}, over an open connection", place.ip());
    assert_eq!(log.matches(&connected).count(), 1, "{log}");

    let refused = send(&forwarding, &["b@y.test"]);
    assert!(refused.lines[0].starts_with("556 5.1.10 "), "{refused:?}");
    // Routes are looked at again when they change.
    front.write("smtproutes", &format!("x.test:[127.0.0.1]:{}", first.port()));
    let moved =
        || (send(&forwarding, &["b@x.test"]).code == "250" && one.mails().len() == 1).then_some(());
    crate::harness::poll(crate::harness::TIMEOUT, moved).expect("the new route");
    forwarding.stop().unwrap();
    first.stop().unwrap();
    second.stop().unwrap();
}

/// A worker that has no client closes it after a while, and at its end.
#[test]
fn a_connection_that_is_kept_ends_with_a_farewell() {
    for (idle, model, stops) in [
        ("1", Model::Prefork, false),
        ("1000", Model::Prefork, true),
        ("1000", Model::Forkserver, false),
    ] {
        let back = Config::new();
        let behind = Server::start(&back, Model::Prefork);
        let plugin = format!("queue/smtp-forward 127.0.0.1 {} keep 9 idle {idle}", behind.port());
        let front = forwarding(&plugin);
        let forwarding = Server::start(&front, model);
        let mut client = forwarding.connect();
        client.hello();
        for _ in 0..2 {
            let reply = super::send_in(&mut client, &["b"], b"Subject: x\r\n\r\n");
            assert_eq!(reply.code, "250", "{reply:?}");
        }
        assert!(!behind.log().text().contains(" dispatching QUIT\n"));
        client.quit();
        if stops {
            forwarding.stop().unwrap();
            behind.log().wait_for(" dispatching QUIT\n");
        } else {
            behind.log().wait_for(" dispatching QUIT\n");
            forwarding.stop().unwrap();
        }
        let log = behind.log().text();
        assert_eq!(log.matches(" connect from ").count(), 1, "{log}");
        assert_eq!(back.mails().len(), 2);
        behind.stop().unwrap();
    }
}

#[test]
fn a_server_proves_what_its_dane_records_say() {
    let (server, names) = name_server();
    let port = free_port();
    let (model, place) = (Model::Prefork, at(4, port));
    let back = Config::new()
        .set("rcpthosts", "x.test")
        .set("plugins", "tls certs {work}/ssl\nrcpt_ok\nqueue/maildir {work}/Maildir");
    let front =
        front("mta_sts no ca ca.pem", &server).set("smtproutes", &format!("x.test::{port}"));
    let (authority, key) = certify(&front, &back, "mx.x.test");
    let behind = Server::start_with(&back, model, &model.listen(&place.to_string()));
    let forwarding = Server::start(&front, model);
    let wrong = "0".repeat(64);
    for (record, is_signed, code, said) in [
        (format!("3 1 1 {key}"), true, "250", ", verified by DANE)"),
        (format!("2 0 1 {authority}"), true, "250", ", verified by DANE)"),
        (format!("3 1 1 {wrong}"), true, "451", "invalid peer certificate"),
        (format!("2 0 1 {wrong}"), true, "451", "invalid peer certificate"),
        (format!("3 1 1 {wrong}"), false, "250", ", not verified)"),
        // Nothing can be made of it, so there is TLS, whoever it is.
        (format!("1 1 1 {wrong}"), true, "250", "its DANE records cannot be used"),
        ("failed".into(), true, "451", "cannot find out whether it has DANE"),
    ] {
        let table = Table::new(&format!(
            "x.test MX 10 mx.x.test\nmx.x.test A {}\n_{port}._tcp.mx.x.test TLSA {record}",
            place.ip()
        ));
        *names.lock().unwrap() = if is_signed { table.signed() } else { table };
        let before = forwarding.log().text().len();
        let reply = send(&forwarding, &["b@x.test"]);
        let log = forwarding.log().text().split_off(before);
        assert_eq!(reply.code, code, "{record}: {reply:?}\n{log}");
        assert!(log.contains(said), "{record}:\n{log}");
        let mails = back.take_mails();
        assert_eq!(mails.len(), usize::from(code == "250"), "{record}");
        let is_secure = mails
            .iter()
            .all(|mail| String::from_utf8_lossy(mail).contains(" with ESMTPS (TLSv1.3 TLS_"));
        assert!(is_secure, "{record}");
    }
    behind.stop().unwrap();

    // A server that speaks no TLS, or somebody in between who hides it, gets nothing.
    set_plugin(&back, "queue/maildir {work}/Maildir");
    let behind = Server::start_with(&back, model, &model.listen(&place.to_string()));
    for (record, code) in [(format!("3 1 1 {key}"), "451"), (format!("1 1 1 {wrong}"), "451")] {
        *names.lock().unwrap() = Table::new(&format!(
            "x.test MX 10 mx.x.test\nmx.x.test A {}\n_{port}._tcp.mx.x.test TLSA {record}",
            place.ip()
        ))
        .signed();
        let reply = send(&forwarding, &["b@x.test"]);
        assert_eq!(reply.code, code, "{record}: {reply:?}");
        forwarding.log().wait_for("does not offer STARTTLS: its DANE records want TLS");
        assert!(back.mails().is_empty());
    }
    forwarding.stop().unwrap();
    behind.stop().unwrap();
}

/// A web server at port 443, with a certificate for that name that is under no authority but its own.
/// What it says is what the text has then.
fn web_server(ip: Ipv4Addr, name: &str, text: &Arc<Mutex<String>>) -> io::Result<String> {
    let listener = TcpListener::bind((ip, 443))?;
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (config, text) = (Arc::new(config), text.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let _ = answer(StreamOwned::new(connection, stream), &text.lock().unwrap());
        }
    });
    Ok(made.cert.pem())
}

fn answer(mut stream: StreamOwned<ServerConnection, TcpStream>, text: &str) -> io::Result<()> {
    let mut request = vec![];
    while !request.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet)?;
        request.push(octet[0]);
    }
    assert!(request.starts_with(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"));
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
    stream.flush()
}

#[test]
fn a_server_proves_what_the_policy_of_its_domain_says() {
    let (server, names) = name_server();
    let port = free_port();
    let (model, place, web) = (Model::Prefork, at(5, port), at(6, port));
    let std::net::IpAddr::V4(web) = web.ip() else { unreachable!("it is made of four octets") };
    let policy = Arc::new(Mutex::new(String::new()));
    let Ok(certificate) = web_server(web, "mta-sts.x.test", &policy) else {
        crate::harness::say("skipped: needs port 443, which root may have");
        return;
    };
    let back = Config::new()
        .set("rcpthosts", "x.test")
        .set("plugins", "tls certs {work}/ssl\nrcpt_ok\nqueue/maildir {work}/Maildir");
    let front = front("ca ca.pem", &server).set("smtproutes", &format!("x.test::{port}"));
    certify(&front, &back, "mx.x.test");
    let ca = front.path("config/ca.pem");
    let authority = fs::read_to_string(&ca).unwrap();
    let both = [certificate.clone(), authority].concat();
    let behind = Server::start_with(&back, model, &model.listen(&place.to_string()));
    let text = |mode: &str, mx: &str| {
        format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n")
    };
    let table = |id: &str| {
        Table::new(&format!(
            "x.test MX 10 mx.x.test\nmx.x.test A {}\nmta-sts.x.test A {web}\n\
             _mta-sts.x.test TXT v=STSv1; id={id};",
            place.ip()
        ))
    };
    // Without the server's authority only the web server is believed in.
    for (roots, id, text, code, said) in [
        (&both, "1", text("enforce", "*.x.test"), "250", ", verified by MTA-STS)"),
        (&both, "2", text("enforce", "*.y.test"), "451", "is not in the MTA-STS policy of x.test"),
        // The policy of before holds while a new one cannot be had.
        (&both, "3", "none".into(), "451", "is not in the MTA-STS policy of x.test"),
        (&both, "4", text("testing", "*.y.test"), "250", "which is in mode testing"),
        (&certificate, "5", text("enforce", "mx.x.test"), "451", "invalid peer certificate"),
        (&certificate, "6", text("none", "mx.x.test"), "250", ", not verified)"),
    ] {
        fs::write(&ca, roots).unwrap();
        *policy.lock().unwrap() = text;
        *names.lock().unwrap() = table(id);
        let forwarding = Server::start(&front, model);
        let reply = send(&forwarding, &["b@x.test"]);
        let log = forwarding.log().text();
        assert_eq!(reply.code, code, "{id}: {reply:?}\n{log}");
        assert!(log.contains(said), "{id}:\n{log}");
        assert_eq!(back.take_mails().len(), usize::from(code == "250"), "{id}");
        // It is remembered, by whatever process.
        *policy.lock().unwrap() = String::new();
        assert_eq!(send(&forwarding, &["b@x.test"]).code, code, "{id}");
        back.take_mails();
        forwarding.stop().unwrap();
    }
    behind.stop().unwrap();
}
