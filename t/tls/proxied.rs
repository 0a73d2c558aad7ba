//! TLS behind a PROXY header.

use super::*;

const V1: &[u8] = b"PROXY TCP4 127.0.0.9 127.0.0.8 40009 2525\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x09\x7f\0\0\x08\x9c\x49\x09\xdd";

/// The one message that arrived came from the proxy's client, over TLS.
fn arrived(config: &Config) {
    let mails = config.take_mails();
    assert_eq!(mails.len(), 1);
    let mail = String::from_utf8_lossy(&mails[0]);
    assert!(mail.contains("(HELO client.test) (127.0.0.9)\n"), "{mail}");
    assert!(mail.contains(" with ESMTPS (TLSv1.3 TLS_"), "{mail}");
}

#[test]
fn tls_comes_after_the_header() {
    for model in Model::PARENTS {
        let config = config().set("proxy_from", "127.0.0.0/30");
        let server = Server::start(&config, model);
        for header in [V1, V2] {
            let stream = connect(&server);
            (&stream).write_all(header).unwrap();
            starttls(&stream, "");
            Client::new(stream, &believer(&config), "mail.test").deliver();
            arrived(&config);
        }
        server.stop().unwrap();
    }
}

/// Our port says so, whatever port the header has.
#[test]
fn tls_comes_first_after_the_header_on_its_ports() {
    for model in Model::PARENTS {
        let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = config().set("proxy_from", "127.0.0.1");
        config.write("tls_ports", &free.port().to_string());
        let server = Server::start_with(&config, model, &model.listen(&free.to_string()));
        for header in [V1, V2] {
            let stream = connect(&server);
            (&stream).write_all(header).unwrap();
            let mut client = Client::new(stream, &believer(&config), "mail.test");
            assert!(client.reply().starts_with("220 "), "{model}");
            client.deliver();
            arrived(&config);
        }
        server.stop().unwrap();
    }
}

/// stunnel has taken the TLS off, and says that its client came to port 465.
#[test]
fn the_port_of_the_header_does_not_mean_tls() {
    let config = config().set("proxy_from", "127.0.0.1");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.send_raw(b"PROXY TCP4 127.0.0.9 127.0.0.8 40009 465\r\n");
    assert!(client.hello().lines[0].ends_with("[127.0.0.9]"));
    client.quit();
    server.stop().unwrap();
}
