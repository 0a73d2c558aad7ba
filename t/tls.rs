//! TLS: STARTTLS and ports where it comes first, certificates, tickets, real clients.

// msmtp and lettre, which authenticate, against all programs.
mod clients;

// Behind a PROXY header.
mod proxied;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::prelude::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::harness::{Config, Model, Server, TIMEOUT, deb, free_port, poll};

/// A configuration with the plugin and a certificate for `mail.test`.
pub(crate) fn config() -> Config {
    let config = Config::new();
    fs::create_dir(config.path("ssl")).unwrap();
    make(&config, "default", "mail.test");
    config.set("plugins", "tls certs {work}/ssl\nrcpt_ok\nqueue/maildir {work}/Maildir")
}

/// A new certificate for `host` in the folder of certificates, in one step.
pub(crate) fn make(config: &Config, name: &str, host: &str) {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    let both = made.cert.pem() + &made.signing_key.serialize_pem();
    let path = config.path("ssl").join(name);
    fs::write(path.with_extension("new"), both).unwrap();
    fs::rename(path.with_extension("new"), path.with_extension("pem")).unwrap();
}

/// A client that believes in the certificates that `config` has now.
pub(crate) fn believer(config: &Config) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for entry in fs::read_dir(config.path("ssl")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "pem") {
            roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth())
}

/// A session over TLS.
pub(crate) struct Client(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Client {
    pub(crate) fn new(stream: TcpStream, config: &Arc<ClientConfig>, name: &str) -> Client {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(config.clone(), name).unwrap();
        Client(BufReader::new(StreamOwned::new(connection, stream)))
    }

    pub(crate) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return reply + &line;
            }
            reply += &line;
        }
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        write!(self.0.get_mut(), "{line}\r\n").unwrap();
        self.reply()
    }

    /// The server has closed the connection, and has said so before.
    pub(crate) fn ends(&mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
    }

    /// Sends one message, and QUIT.
    pub(crate) fn deliver(&mut self) {
        assert!(self.ask("EHLO client.test").starts_with("250-"));
        for (line, code) in [
            ("MAIL FROM:<a@example.net>", "250"),
            ("RCPT TO:<b@example.com>", "250"),
            ("DATA", "354"),
            ("Subject: secret\r\n\r\nbody\r\n.", "250"),
            ("QUIT", "221"),
        ] {
            let reply = self.ask(line);
            assert!(reply.starts_with(code), "{line}: {reply}");
        }
    }

    /// What this connection has and no other one (RFC 9266).
    pub(crate) fn channel_binding(&self) -> Vec<u8> {
        let (label, context) = (b"EXPORTER-Channel-Binding", Some(&[][..]));
        self.0.get_ref().conn.export_keying_material(vec![0; 32], label, context).unwrap()
    }

    fn kind(&self) -> HandshakeKind {
        self.0.get_ref().conn.handshake_kind().unwrap()
    }
}

/// Connects and says STARTTLS in the clear; `more` goes into the same packet.
pub(crate) fn starttls(stream: &TcpStream, more: &str) {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut replies = BufReader::with_capacity(1, stream);
    let mut expect = |code: &str| loop {
        let mut line = String::new();
        replies.read_line(&mut line).unwrap();
        assert!(line.starts_with(code), "want {code}, got {line:?}");
        if line.as_bytes()[3] == b' ' {
            return;
        }
    };
    expect("220");
    (&*stream).write_all(b"EHLO client.test\r\n").unwrap();
    expect("250");
    (&*stream).write_all(format!("STARTTLS\r\n{more}").as_bytes()).unwrap();
    expect("220");
}

pub(crate) fn connect(server: &Server<'_>) -> TcpStream {
    TcpStream::connect(server.addresses(1)[0]).unwrap()
}

/// Does the server have a certificate in which this client believes?
fn handshakes(server: &Server<'_>, believer: &Arc<ClientConfig>) -> bool {
    handshake(server, believer).is_some()
}

/// A connection to a server in whose certificate this client believes.
fn handshake(server: &Server<'_>, believer: &Arc<ClientConfig>) -> Option<TcpStream> {
    let stream = connect(server);
    starttls(&stream, "");
    let name = ServerName::try_from("mail.test").unwrap();
    let mut connection = ClientConnection::new(believer.clone(), name).unwrap();
    connection.complete_io(&mut &stream).ok().map(|_| stream)
}

#[test]
fn mail_arrives_over_starttls() {
    for model in Model::PARENTS {
        let config = config();
        let server = Server::start(&config, model);
        let stream = connect(&server);
        starttls(&stream, "");
        let mut client = Client::new(stream, &believer(&config), "mail.test");
        let offers = client.ask("EHLO client.test");
        assert!(!offers.contains("STARTTLS") && offers.contains("PIPELINING"), "{offers}");
        assert!(client.ask("STARTTLS").starts_with("503"));
        client.deliver();
        let mails = config.mails();
        let mail = String::from_utf8_lossy(&mails[0]).into_owned();
        assert!(mail.contains(" with ESMTPS (TLSv1.3 TLS_"), "{mail}");
        server.log().wait_for("TLS: TLSv1.3 TLS_");
        server.stop().unwrap();
    }
}

#[test]
fn tls_comes_first_on_its_ports() {
    for model in Model::PARENTS {
        let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = config().set("tls_ports", &free.port().to_string());
        let address = free.to_string();
        let server = Server::start_with(&config, model, &model.listen(&address));
        let mut client = Client::new(connect(&server), &believer(&config), "mail.test");
        assert!(client.reply().starts_with("220 "), "{model}");
        client.deliver();
        assert_eq!(config.mails().len(), 1, "{model}");
        server.stop().unwrap();
    }
}

/// What was sent in the clear behind STARTTLS is not there after the handshake; and nothing that
/// the client said before counts.
#[test]
fn nothing_in_the_clear_survives_the_handshake() {
    let config = config();
    let server = Server::start(&config, Model::Prefork);
    let stream = connect(&server);
    starttls(&stream, "RSET\r\nMAIL FROM:<evil@example.net>\r\nEHLO evil\r\n");
    let mut client = Client::new(stream, &believer(&config), "mail.test");
    let reply = client.ask("MAIL FROM:<a@example.net>");
    assert!(reply.starts_with("503 please say hello first"), "{reply}");
    client.deliver();
    let mail = String::from_utf8_lossy(&config.mails()[0]).into_owned();
    assert!(!mail.contains("evil"), "{mail}");
    server.stop().unwrap();
}

const STATE: &str = r#"
sub hook_noop {
    my ($self) = @_;
    my $c = $self->qp->connection;
    my $user = $self->auth_user;
    $c->notes(said => ($c->notes('said') || 0) + 1);
    $self->qp->respond(250, join ' ', $c->relay_client ? 'relay' : 'no', $user || '-',
        $c->notes('said'), $c->notes('greeted') || '-', $c->hello_host || '-');
    return DONE;
}
sub hook_connect { shift->connection->notes(greeted => 'greeted'); DECLINED }
"#;

/// As whom a client has authenticated in the clear, that it may relay for that, and what plugins
/// have noted since the greeting is forgotten (RFC 3207 4.2), in Perl as well.
#[test]
fn who_authenticated_in_the_clear_is_forgotten() {
    if !deb::need("perl") {
        return;
    }
    for (relays, may) in [("", false), ("127.0.0.1", true)] {
        let plugins = "tls certs {work}/ssl\nrelay\nauth/auth_flat_file\nstate\nrcpt_ok\n\
            queue/discard";
        let config = config().set("relayclients", relays).set("plugins", plugins);
        let config = config.set("flat_auth_pw", "mallory@example.com:pw\nbob@example.com:pw");
        fs::create_dir(config.path("plugins")).unwrap();
        fs::write(config.path("plugins/state"), STATE).unwrap();
        let server = Server::start(&config, Model::Prefork);
        let stream = connect(&server);
        let auth = |name: &str| {
            let message = format!("\0{name}@example.com\0pw");
            format!("AUTH PLAIN {}", BASE64_STANDARD.encode(message))
        };
        let mut clear = crate::harness::Client::new(stream.try_clone().unwrap(), server.log());
        clear.hello();
        clear.ask(&auth("mallory"), "235");
        let state = clear.ask("NOOP", "250");
        assert_eq!(state.lines, ["250 2.0.0 relay mallory@example.com 1 greeted client.test"]);
        clear.ask("MAIL FROM:<mallory@example.net>", "250");
        clear.ask("RCPT TO:<b@elsewhere.test>", "250");
        clear.ask("STARTTLS", "220");
        let mut client = Client::new(stream, &believer(&config), "mail.test");
        let relay = if may { "relay" } else { "no" };
        assert_eq!(client.ask("NOOP"), format!("250 {relay} - 1 greeted -\r\n"));
        let offers = client.ask("EHLO client.test");
        assert!(offers.contains("AUTH PLAIN"), "{offers}");
        assert!(client.ask("MAIL FROM:<bob@example.net>").starts_with("250"));
        let relayed = client.ask("RCPT TO:<b@elsewhere.test>");
        assert!(relayed.starts_with(if may { "250" } else { "550" }), "{relayed}");
        assert!(client.ask("RSET").starts_with("250"));
        let reply = client.ask(&auth("bob"));
        assert!(reply.starts_with("235"), "{reply}");
        let state = client.ask("NOOP");
        assert_eq!(state, "250 2.0.0 relay bob@example.com 2 greeted client.test\r\n");
        assert!(client.ask("QUIT").starts_with("221"));
        server.stop().unwrap();
    }
}

/// The other direction: a reply to something in the clear does not come over TLS, and a command in
/// the clear during the handshake ends the session.
#[test]
fn a_command_instead_of_a_handshake_ends_the_session() {
    let config = config();
    let server = Server::start(&config, Model::Prefork);
    let stream = connect(&server);
    starttls(&stream, "");
    (&stream).write_all(b"NOOP\r\nNOOP\r\nNOOP\r\n").unwrap();
    let mut rest = vec![];
    let _ = (&stream).read_to_end(&mut rest);
    assert!(!rest.windows(3).any(|octets| octets == b"250"), "{rest:?}");
    server.log().wait_for("TLS with 127.0.0.1 failed: ");
    server.stop().unwrap();
}

/// Another process serves the client the second time.
/// Some clients ask for `HOST:PORT`, which is no server name (RFC 6066 3).
#[test]
fn a_server_name_that_is_none_is_told() {
    let config = config();
    let server = Server::start(&config, Model::Prefork);
    let stream = connect(&server);
    starttls(&stream, "");
    let list = |octets: usize, content: &[u8]| {
        let length = content.len().to_be_bytes();
        [&length[length.len() - octets..], content].concat()
    };
    let names = list(2, &[&[0][..], &list(2, b"mx.test:587")].concat());
    let extensions = [&[0, 0][..], &list(2, &names)].concat();
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0], &list(2, &extensions)];
    let message = [&[1][..], &list(3, &body.concat())].concat();
    (&stream).write_all(&[&[22, 3, 1][..], &list(2, &message)].concat()).unwrap();
    server.log().wait_for("the server name it asked for is 'mx.test:587'");
    server.stop().unwrap();
}

#[test]
fn sessions_are_resumed_by_any_process() {
    for model in Model::PARENTS {
        let config = config();
        let server = Server::start(&config, model);
        let believer = believer(&config);
        let mut kinds = vec![];
        for _ in 0..4 {
            let stream = connect(&server);
            starttls(&stream, "");
            let mut client = Client::new(stream, &believer, "mail.test");
            client.deliver();
            kinds.push(client.kind());
        }
        assert_eq!(kinds[0], HandshakeKind::Full, "{model}");
        assert!(
            kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed),
            "{model}: {kinds:?}"
        );
        server.stop().unwrap();
    }
}

/// The name that the client asks for chooses the certificate.
#[test]
fn a_name_chooses_its_certificate() {
    let config = config();
    make(&config, "other", "other.test");
    let server = Server::start(&config, Model::Prefork);
    let believer = believer(&config);
    for name in ["mail.test", "other.test"] {
        let stream = connect(&server);
        starttls(&stream, "");
        Client::new(stream, &believer, name).deliver();
    }
    server.stop().unwrap();
}

/// A renewed certificate is served without a restart; a broken one is not, and a connection that is
/// open does not notice.
#[test]
fn certificates_are_renewed_without_a_restart() {
    for model in Model::PARENTS {
        // The open session waits while everything else happens.
        let config = config().set("timeout", "600");
        let server = Server::start(&config, model);
        let stream = connect(&server);
        starttls(&stream, "");
        let mut open = Client::new(stream, &believer(&config), "mail.test");
        assert!(open.ask("EHLO client.test").starts_with("250"));
        make(&config, "default", "mail.test");
        let renewed = believer(&config);
        // The parent looks once a second; then every process has the renewed one.
        let renews = || poll(TIMEOUT, || handshakes(&server, &renewed).then_some(()));
        assert!(renews().is_some(), "{model}: {}", server.log().tail());
        // At the same time, so that each is another process.
        let all_have_it = || {
            let open: Vec<_> = (0..5).map(|_| handshake(&server, &renewed)).collect();
            open.iter().all(Option::is_some)
        };
        assert!(all_have_it(), "{model}: {}", server.log().tail());
        fs::write(config.path("ssl/default.pem"), "rubbish").unwrap();
        let said = poll(TIMEOUT, || {
            assert!(handshakes(&server, &renewed), "{model}: {}", server.log().tail());
            server.log().text().contains("certificates are broken, the old ones stay").then_some(())
        });
        assert!(said.is_some() && all_have_it(), "{model}: {}", server.log().tail());
        open.deliver();
        server.stop().unwrap();
    }
}

#[test]
fn auth_waits_for_tls_where_it_has_to() {
    let config = config().set("tls_before_auth", "1").set("flat_auth_pw", "u@example.com:pw");
    let plugins =
        "tls certs {work}/ssl\nauth/auth_flat_file\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = config.set("plugins", plugins);
    let server = Server::start(&config, Model::Prefork);
    let mut clear = server.connect();
    let offers = clear.hello().lines.join(" ");
    assert!(offers.contains("STARTTLS") && !offers.contains("AUTH"), "{offers}");
    let reply = clear.ask("AUTH PLAIN AHVAZXhhbXBsZS5jb20AcHc=", "503");
    assert_eq!(reply.lines, ["503 5.7.11 SSL/TLS required before AUTH"]);
    clear.quit();
    let stream = connect(&server);
    starttls(&stream, "");
    let mut client = Client::new(stream, &believer(&config), "mail.test");
    assert!(
        client
            .ask("EHLO client.test")
            .contains("AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS")
    );
    assert!(client.ask("AUTH PLAIN AHVAZXhhbXBsZS5jb20AcHc=").starts_with("235"));
    client.deliver();
    let mail = String::from_utf8_lossy(&config.mails()[0]).into_owned();
    assert!(mail.contains(" with ESMTPSA (TLSv1.3 "), "{mail}");
    assert!(mail.contains("auth=pass (plain) smtp.auth=u@example.com"), "{mail}");
    server.stop().unwrap();
}

/// A message larger than any buffer, both ways through TLS.
#[test]
fn a_large_message_arrives_over_tls() {
    let config = config().set("databytes", "0");
    let server = Server::start(&config, Model::Prefork);
    let stream = connect(&server);
    starttls(&stream, "");
    let mut client = Client::new(stream, &believer(&config), "mail.test");
    client.ask("EHLO client.test");
    client.ask("MAIL FROM:<a@example.net>");
    client.ask("RCPT TO:<b@example.com>");
    client.ask("DATA");
    let body: String = (0..100_000).map(|n| format!("line {n} of the message\r\n")).collect();
    let sender = client.0.get_mut();
    write!(sender, "Subject: large\r\n\r\n{body}.\r\n").unwrap();
    assert!(client.reply().starts_with("250"));
    client.ask("QUIT");
    let mails = config.mails();
    assert!(mails[0].ends_with(body.replace("\r\n", "\n").as_bytes()));
    server.stop().unwrap();
}

#[test]
fn swaks_openssl_and_python_can_talk_to_it() {
    let there = ["swaks", "libio-socket-ssl-perl", "openssl", "python3"];
    if !there.iter().all(|package| deb::need(package)) {
        return;
    }
    for model in Model::ALL {
        let config = config();
        let server = Server::start(&config, model);
        if model != Model::Inetd {
            let port = server.port().to_string();
            let mut swaks = Command::new("swaks");
            swaks.args(["--server", "127.0.0.1", "--port", &port, "--tls"]);
            swaks.args(["--from", "a@example.net", "--to", "b@example.com"]);
            let done = swaks.output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
            let script = format!(
                "import smtplib, ssl\n\
                 context = ssl._create_unverified_context()\n\
                 smtp = smtplib.SMTP('127.0.0.1', {port})\n\
                 smtp.starttls(context=context)\n\
                 smtp.sendmail('a@example.net', ['b@example.com'], 'Subject: x\\n\\ny\\n')\n\
                 smtp.quit()\n"
            );
            let done = Command::new("python3").args(["-c", &script]).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            assert_eq!(config.mails().len(), 2, "{model}");
            for protocol in ["-tls1_2", "-tls1_3"] {
                let mut openssl = Command::new("openssl");
                let target = format!("127.0.0.1:{port}");
                openssl.args(["s_client", "-connect", &target, "-starttls", "smtp", protocol]);
                openssl.stdin(Stdio::null());
                let done = openssl.output().unwrap();
                let said = String::from_utf8_lossy(&done.stdout).into_owned();
                let version = if protocol == "-tls1_2" { "TLSv1.2" } else { "TLSv1.3" };
                assert!(said.contains(&format!("New, {version}")), "{said}");
            }
        }
        server.stop().unwrap();
    }
}

/// Under inetd the session is the whole process.
#[test]
fn inetd_speaks_tls() {
    let config = config();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let socket = std::os::fd::OwnedFd::from(socket);
    let mut command = config.command(Model::Inetd.program());
    command.stdin(Stdio::from(socket.try_clone().unwrap())).stdout(Stdio::from(socket));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    starttls(&stream, "");
    Client::new(stream, &believer(&config), "mail.test").deliver();
    assert!(child.wait().unwrap().success());
    assert_eq!(config.mails().len(), 1);
}
