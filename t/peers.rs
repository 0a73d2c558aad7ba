//! Lists of plugins by client: the native plugin `peers`, with native and Perl plugins in them.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;

use crate::harness::deb::need;
use crate::harness::{Client, Config, Model, Server};
use crate::tls;

/// Takes recipients in the domains that are its arguments, and says which those are.
const TAKES: &str = r#"
sub register {
    my ($self, $qp, @domains) = @_;
    $self->{_domains} = {map { $_ => 1 } @domains};
}
sub hook_rcpt {
    my ($self, $transaction, $to) = @_;
    return $self->{_domains}{ $to->host } ? OK : (DENY, join ' ', 'only', sort keys %{ $self->{_domains} });
}
"#;

/// Registers a handler while a session is under way.
const LATE: &str = r#"
sub hook_connect {
    my ($self) = @_;
    $self->register_hook('vrfy', 'late') unless $self->{_is_done}++;
    return DECLINED;
}
sub late { return (OK, 'a late answer') }
"#;

const AUTH: &str = "sub hook_auth_plain { return $_[4] eq 'sesame' ? OK : DENY }\n";

/// What SME Server's file of that name has instead of hooks that are there.
const PATCHED: &str = r#"
sub hook_set_hooks { my ($self) = @_; $self->qp->{hooks} = {}; return DECLINED }
sub hook_valid_auth { return DECLINED }
"#;

fn config(lists: &[(&str, &str)], plugins: &[(&str, &str)]) -> Config {
    let config = Config::new().set("plugins", "peers");
    for folder in ["plugins", "config/peers"] {
        fs::create_dir(config.path(folder)).unwrap();
    }
    for (name, text) in plugins {
        fs::write(config.path("plugins").join(name), text).unwrap();
    }
    for (name, text) in lists {
        config.write(&format!("peers/{name}"), text);
    }
    config
}

fn greeted(server: &Server<'_>, last: u8) -> (Client, Vec<String>) {
    let mut client = server.connect_from(Ipv4Addr::new(127, 0, 0, last));
    let offers = client.hello().lines;
    (client, offers)
}

fn delivers(client: &mut Client, config: &Config, to: &str) {
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask(&format!("RCPT TO:<{to}>"), "250");
    client.ask("DATA", "354");
    client.ask("Subject: x\r\n\r\ntext\r\n.", "250");
    assert_eq!(config.take_mails().len(), 1);
}

/// The first text line of the reply to a recipient.
fn rcpt(client: &mut Client, to: &str) -> String {
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.say(&format!("RCPT TO:<{to}>"));
    let reply = client.reply().lines.join("|");
    client.ask("RSET", "250");
    reply
}

#[test]
fn each_client_has_the_plugins_of_its_list() {
    if !need("perl") {
        return;
    }
    let queue = "queue/maildir {work}/Maildir";
    let config = config(
        &[
            ("0", &format!("auth\ntakes zero.test\n{queue}")),
            ("local", &format!("takes local.test zero.test\nrcpt_ok\n{queue}")),
            ("127.0.0.9", "queue/discard\nrcpt_ok"),
        ],
        &[("takes", TAKES), ("auth", AUTH)],
    );
    symlink("0", config.path("config/peers/127.0.0")).unwrap();
    symlink("local", config.path("config/peers/127.0.0.2")).unwrap();
    for model in Model::PARENTS {
        let server = Server::start(&config, model);
        let (mut client, offers) = greeted(&server, 1);
        assert!(offers.iter().any(|line| line.contains("AUTH PLAIN")), "{offers:?}");
        assert_eq!(rcpt(&mut client, "b@local.test"), "550 5.7.1 only zero.test");
        delivers(&mut client, &config, "b@zero.test");

        // Who has authenticated is local from then on.
        client.ask("AUTH PLAIN AGpvZQBzZXNhbWU=", "235");
        delivers(&mut client, &config, "b@local.test");
        client.quit();

        let (mut client, offers) = greeted(&server, 2);
        assert!(!offers.iter().any(|line| line.contains("AUTH")), "{offers:?}");
        assert_eq!(rcpt(&mut client, "b@example.com"), "550 5.7.1 only local.test zero.test");
        delivers(&mut client, &config, "b@local.test");
        client.quit();

        let (mut client, _) = greeted(&server, 9);
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@example.com>", "250");
        client.ask("DATA", "354");
        client.ask("Subject: x\r\n\r\ntext\r\n.", "250");
        assert!(config.mails().is_empty());
        client.quit();
        server.log().wait_for("127.0.0.9 has the plugins of peers/127.0.0.9");
        server.stop().unwrap();
    }
}

#[test]
fn one_session_on_standard_input_has_a_list() {
    let lists = [("0", "queue/discard"), ("192.0.2", "rcpt_ok\nqueue/discard")];
    for (ip, code) in [("192.0.2.1", "250"), ("192.0.3.1", "450")] {
        let config = config(&lists, &[]).env("TCPREMOTEIP", ip);
        let server = Server::start(&config, Model::Inetd);
        let mut client = server.connect();
        client.hello();
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@example.com>", code);
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn a_client_without_a_list_is_refused() {
    let config = config(&[("192.0.2", "rcpt_ok\nqueue/discard"), ("127.0.0.2", "rcpt_ok")], &[]);
    let check = Server::command(&config, Model::Prefork, &["--check"]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("plugins: logging/warn peers\n"), "{said}");
    assert!(said.contains("peers/192.0.2: rcpt_ok queue/discard\n"), "{said}");
    let server = Server::start(&config, Model::Forkserver);
    server.log().wait_for("peers/127.0.0.2: no plugin queues");
    let mut client = server.connect();
    client.expect("550");
    client.closed();
    let (client, _) = greeted(&server, 2);
    client.quit();
    server.stop().unwrap();
}

/// In one process, a handler that came late for one client is not asked for another one.
#[test]
fn late_handlers_are_those_of_the_list() {
    if !need("perl") {
        return;
    }
    let config = config(
        &[("0", "late\nrcpt_ok\nqueue/discard"), ("127.0.0.2", "takes example.com\nqueue/discard")],
        &[("takes", TAKES), ("late", LATE)],
    );
    let server = Server::start_with(&config, Model::Prefork, &["--children", "1"]);
    for (last, code) in [(2, "252"), (1, "250"), (2, "252"), (1, "250")] {
        let (mut client, _) = greeted(&server, last);
        client.ask("VRFY b", code);
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@example.com>", "250");
        client.quit();
    }
    server.stop().unwrap();
}

#[test]
fn an_error_in_a_list_has_its_file_and_line() {
    let config = config(
        &[
            ("0", "rcpt_ok\n\nno_such_plugin\nqueue/discard"),
            ("local", "rcpt_ok\nrcpt_ok timeout never\npeers\nnor_this"),
        ],
        &[],
    );
    let wanted =
        ["peers/0:3: ", "peers/local:2: rcpt_ok: argument", "peers/local:3: peers: only one"];
    let check = Server::command(&config, Model::Prefork, &["--check"]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(!check.status.success());
    for text in wanted.iter().chain(&["peers/local:4: "]) {
        assert!(said.contains(text), "{text}\n{said}");
    }
    let refused = Server::try_start(&config, Model::Forkserver, &[]).err().unwrap();
    assert!(refused.contains(wanted[1]), "{refused}");
    config.write("peers/local", "rcpt_ok\nnor_this\nqueue/discard");
    let refused = Server::try_start(&config, Model::Forkserver, &[]).err().unwrap();
    assert!(refused.contains(wanted[0]) && refused.contains("peers/local:2: "), "{refused}");
}

#[test]
fn a_reload_reads_the_lists_again() {
    let config = config(&[("0", "rcpt_ok\nqueue/discard")], &[]);
    for model in Model::PARENTS {
        config.write("peers/0", "rcpt_ok\nqueue/discard");
        let mut server = Server::start(&config, model);
        let (mut client, _) = greeted(&server, 1);
        delivers_nothing(&mut client);
        client.quit();
        config.write("peers/0", "rcpt_ok\nqueue/maildir {work}/Maildir");
        config.write("peers/127.0.0.2", "rcpt_ok\nqueue/discard");
        server.parent().signal(Signal::SIGHUP);
        server.log().wait_for("the configuration was read again");
        let (mut client, _) = greeted(&server, 1);
        delivers(&mut client, &config, "b@example.com");
        client.quit();
        config.write("peers/0", "no_such_plugin");
        server.parent().signal(Signal::SIGHUP);
        server.log().wait_for("peers/0:1: ");
        let (mut client, _) = greeted(&server, 1);
        delivers(&mut client, &config, "b@example.com");
        client.quit();
        fs::remove_file(config.path("config/peers/127.0.0.2")).unwrap();
        server.stop().unwrap();
    }
}

fn delivers_nothing(client: &mut Client) {
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.ask("Subject: x\r\n\r\ntext\r\n.", "250");
}

/// Outside of sessions the plugins of config/plugins count, and TLS is theirs where a list has none.
#[test]
fn what_stands_beside_it_in_config_plugins() {
    let config = config(&[("0", "rcpt_ok\nqueue/discard"), ("127.0.0.3", "badmailfrom")], &[])
        .set("plugins", "hosts_allow\npeers\ntls certs {work}/ssl\nbadmailfrom")
        .set("hosts_allow", "127.0.0.2 DENY")
        .set("badmailfrom", "a@example.net");
    fs::create_dir(config.path("ssl")).unwrap();
    tls::make(&config, "default.pem", "mail.test");
    let server = Server::start(&config, Model::Forkserver);
    server.log().wait_for("sessions do not ask these plugins of config/plugins");
    let (mut client, offers) = greeted(&server, 1);
    assert!(offers.iter().any(|line| line.ends_with("STARTTLS")), "{offers:?}");
    delivers_nothing(&mut client);
    client.quit();
    let mut client = server.connect_from(Ipv4Addr::new(127, 0, 0, 2));
    client.expect("550");
    let (mut client, _) = greeted(&server, 3);
    client.ask("MAIL FROM:<a@example.net>", "550");
    client.quit();
    server.stop().unwrap();
}

/// The Perl file needs a Perl qpsmtpd with hooks of its own; the native plugin does its work.
#[test]
fn the_file_of_sme_server_is_answered_natively() {
    if !need("perl") {
        return;
    }
    let config = config(&[("0", "rcpt_ok\nqueue/discard")], &[("peers", PATCHED)]);
    let server = Server::start(&config, Model::Forkserver);
    server.log().wait_for("the native 'peers' is used");
    let (mut client, _) = greeted(&server, 1);
    delivers_nothing(&mut client);
    client.quit();
    server.stop().unwrap();
}
