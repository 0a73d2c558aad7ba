//! ident/p0f with Debian's p0f, and ident/geoip: what they know reaches Perl plugins and messages.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde_json::json;

use self::writer::database;
use crate::harness::{Config, Log, Model, Process, Server, TIMEOUT, deb, poll, say};
use crate::perl_host;

#[path = "../plugins/ident/geoip/writer.rs"]
pub(crate) mod writer;

/// A Perl plugin that says at RCPT what it knows.
const SEEN: &str = "
sub hook_rcpt {
    my $self = shift;
    my $p0f = $self->connection->notes('p0f') || {};
    my @known = map { $self->connection->notes(\"geoip_$_\") // '-' } qw(country city asn distance);
    push @known, map { $p0f->{$_} // '-' } qw(os_name genre distance);
    return DENY, 'seen: ' . join ', ', @known;
}
";

/// What that plugin says of a client; `proxy` is the header of a proxy, or nothing.
fn seen(server: &Server, proxy: &str) -> String {
    let mut client = server.connect();
    client.send_raw(proxy.as_bytes());
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    let reply = client.ask("RCPT TO:<b@example.com>", "550");
    client.quit();
    reply.lines[0].replace("550 5.7.1 seen: ", "")
}

fn city(country: &str, city: &str) -> Vec<u8> {
    let known = json!({
        "city": {"names": {"en": city}},
        "country": {"iso_code": country},
        "location": {"latitude": 47.37, "longitude": 8.54},
    });
    database("GeoLite2-City", &[("192.0.2.0/24", known)])
}

#[test]
fn databases_are_shared_and_replaced_while_daemons_run() {
    for model in Model::PARENTS {
        let config = perl_host::config(
            "ident/geoip db_dir {work}/geoip distance 0,0\nseen\nrcpt_ok\nqueue/discard",
            &[("seen", SEEN)],
        );
        config.write("proxy_from", "127.0.0.1");
        let folder = config.path("geoip");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(config.work(), fs::Permissions::from_mode(0o755)).unwrap();
        let replace = |octets: &[u8]| {
            fs::write(folder.join("new"), octets).unwrap();
            fs::rename(folder.join("new"), folder.join("GeoLite2-City.mmdb")).unwrap();
        };
        replace(&city("CH", "Zurich"));
        let asn = json!({"autonomous_system_number": 64496});
        let asn = database("GeoLite2-ASN", &[("192.0.2.0/24", asn)]);
        fs::write(folder.join("GeoLite2-ASN.mmdb"), asn).unwrap();
        let mut server = Server::start(&config, model);
        let proxy = "PROXY TCP4 192.0.2.1 192.0.2.25 40000 25\r\n";
        let zurich = "CH, Zurich, 64496, 5338, -, -, -";
        assert_eq!(seen(&server, proxy), zurich, "{model}: {}", server.log().tail());
        assert_eq!(seen(&server, "PROXY TCP4 10.0.0.1 10.0.0.2 1 25\r\n"), "-, -, -, -, -, -, -");
        // A database that is none changes nothing; the next good one counts.
        replace(b"rubbish");
        let told = || {
            assert_eq!(seen(&server, proxy), zurich);
            server.log().text().contains("the new database is broken").then_some(())
        };
        assert!(poll(TIMEOUT, told).is_some(), "{}", server.log().tail());
        replace(&city("FR", "Paris"));
        let is_new = || seen(&server, proxy).starts_with("FR, Paris, ").then_some(());
        assert!(poll(TIMEOUT, is_new).is_some(), "{}", server.log().tail());
        // HUP with a broken one keeps what there is.
        replace(b"");
        server.parent().signal(Signal::SIGHUP);
        server.log().wait_for("GeoLite2-City.mmdb: there is nothing in it");
        assert!(seen(&server, proxy).starts_with("FR, Paris, "));
        replace(&city("NZ", "Auckland"));
        server.parent().signal(Signal::SIGHUP);
        let is_new = || seen(&server, proxy).starts_with("NZ, Auckland, ").then_some(());
        assert!(poll(TIMEOUT, is_new).is_some(), "{}", server.log().tail());
        server.stop().unwrap();
    }
}

#[test]
fn countries_are_refused_and_fields_added() {
    let config = Config::new()
        .set("plugins", "ident/geoip places {work}/db.mmdb\nrcpt_ok\nqueue/maildir {work}/Maildir")
        .set("proxy_from", "127.0.0.1")
        .set("geoip", "deny country KP");
    fs::set_permissions(config.work(), fs::Permissions::from_mode(0o755)).unwrap();
    let known = |country: &str| json!({"country": {"iso_code": country}});
    let octets = database(
        "GeoLite2-Country",
        &[("192.0.2.0/24", known("CH")), ("198.51.100.0/24", known("KP"))],
    );
    fs::write(config.path("db.mmdb"), octets).unwrap();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.send_raw(b"PROXY TCP4 198.51.100.9 192.0.2.25 40000 25\r\n");
    let reply = client.expect("550");
    assert_eq!(reply.lines, ["550 mail from your country is not accepted here"]);
    let mut client = server.connect();
    client.send_raw(b"PROXY TCP4 192.0.2.9 192.0.2.25 40000 25\r\n");
    client.hello();
    client.envelope();
    client.say("X-GeoIP-Country: XX\r\nSubject: hi\r\n\r\n.");
    client.expect("250");
    client.quit();
    let mail = String::from_utf8(config.mails().remove(0)).unwrap();
    assert!(mail.contains("\nX-GeoIP-Country: CH\n") && !mail.contains("XX"), "{mail}");
    server.stop().unwrap();
}

/// p0f listens to the loopback interface, which wants root.
#[test]
fn p0f_says_what_system_this_is() {
    if !geteuid().is_root() {
        say("skipped: p0f needs root");
        return;
    }
    assert!(deb::need("p0f"));
    let plugins = "ident/p0f {work}/p0f version 3\nseen\nrcpt_ok\nqueue/discard";
    let config = perl_host::config(plugins, &[("seen", SEEN)]);
    fs::set_permissions(config.work(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(&config, Model::Prefork);
    // Nobody is there yet.
    assert_eq!(seen(&server, ""), "-, -, -, -, -, -, -");
    let mut command = config.command(deb::program("p0f").unwrap());
    command.args(["-i", "lo", "-s"]).arg(config.path("p0f"));
    command.arg(format!("tcp port {}", server.port()));
    // The socket is there before it listens.
    command.stdout(Stdio::null());
    let mut p0f = Process::spawn(command, &Log::default());
    let known = || {
        assert!(p0f.ended().is_none(), "p0f has ended");
        let seen = seen(&server, "");
        seen.contains("Linux").then_some(seen)
    };
    let known = poll(TIMEOUT, known).unwrap_or_else(|| panic!("{}", server.log().tail()));
    assert!(known.starts_with("-, -, -, -, Linux, Linux ") && known.ends_with(", 0"), "{known}");
    server.log().wait_for("ident/p0f: Linux ");
    // One that is stopped costs a session five seconds, and nothing else.
    p0f.signal(Signal::SIGSTOP);
    assert_eq!(seen(&server, ""), "-, -, -, -, -, -, -");
    p0f.signal(Signal::SIGCONT);
    drop(p0f);
    assert_eq!(seen(&server, ""), "-, -, -, -, -, -, -");
    server.stop().unwrap();
}
