//! AUTH, where other programs know the users: real ones where Debian has them.

// OpenLDAP.
#[cfg(feature = "ldap")]
mod ldap;

// PAM, by way of another program.
mod pam;

// SQLite, PostgreSQL, MariaDB.
#[cfg(all(feature = "mysql", feature = "postgresql", feature = "sqlite"))]
mod sql;

// SCRAM: with every step, and with real clients.
mod scram;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::thread;

use base64::prelude::*;
use nix::unistd::{User, geteuid};

use crate::backends::start;
use crate::backends::tls::make_certificate;
use crate::harness::client::Reply;
use crate::harness::{Config, Model, Process, Server, deb, free_port, say};

/// Dovecot's authentication server on a socket, and its IMAP server on a port.
const DOVECOT: &str = "\
base_dir = {work}/run
state_dir = {work}/state
protocols = imap
log_path = /dev/stderr
ssl = yes
ssl_cert = <{work}/own.pem
ssl_key = <{work}/own.pem
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = maildir:{work}/mail/%u
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = username_format=%u {work}/config/users
}
passdb {
  driver = checkpassword
  args = {work}/config/busy
  username_filter = busy@*
}
userdb {
  driver = passwd-file
  args = username_format=%u {work}/config/users
}
service auth {
  unix_listener {work}/auth {
    mode = 0666
  }
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = {port}
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = {tls_port}
  }
}
";

/// A user, and a password that has to be sent with care.
const USER: &str = "ann@example.com";
const PASSWORD: &str = "a \"b\\{3} \u{e9}";

/// A configuration in which only those who authenticate may relay.
fn config(plugin: &str) -> Config {
    Config::new().set("plugins", &format!("{plugin}\nrcpt_ok\nqueue/discard"))
}

/// Authenticates in a session of its own with a mechanism; the last reply.
fn authenticate(server: &Server, mechanism: &str, user: &str, password: &str) -> Reply {
    let mut client = server.connect();
    let hello = client.hello();
    assert!(hello.lines.iter().any(|line| line[4..].starts_with("AUTH PLAIN LOGIN")), "{hello:?}");
    let reply = if mechanism == "PLAIN" {
        let message = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
        client.say(&format!("AUTH PLAIN {message}"));
        client.reply()
    } else {
        client.ask("AUTH LOGIN", "334");
        client.ask(&BASE64_STANDARD.encode(user), "334");
        client.say(&BASE64_STANDARD.encode(password));
        client.reply()
    };
    client.ask("MAIL FROM:<a@example.net>", "250");
    let relayed = if reply.code == "235" { "250" } else { "550" };
    client.ask("RCPT TO:<b@elsewhere.test>", relayed);
    client.quit();
    reply
}

/// The right password is accepted and another one is not, with the texts of `plugin`.
fn knows_the_password(server: &Server, plugin: &str, password: &str) {
    for mechanism in ["PLAIN", "LOGIN"] {
        let reply = authenticate(server, mechanism, USER, password);
        let want = format!("235 2.7.0 {mechanism} authentication successful for {USER} - {plugin}");
        assert_eq!(reply.lines, [want], "{}", server.log().tail());
        let reply = authenticate(server, mechanism, USER, &password[1..]);
        let want = format!(
            "535 5.7.8 {mechanism} authentication failed for {USER} from 127.0.0.1 - {plugin} - \
             wrong password"
        );
        assert_eq!(reply.lines, [want], "{}", server.log().tail());
    }
    assert!(!server.log().text().contains(&password[1..]), "{}", server.log().tail());
}

fn is_temporary(server: &Server, user: &str, password: &str) {
    let reply = authenticate(server, "PLAIN", user, password);
    let want = ["454 4.7.0 Temporary authentication failure"];
    assert_eq!(reply.lines, want, "{}", server.log().tail());
    assert!(!server.log().text().contains(password), "{}", server.log().tail());
}

/// Starts Dovecot in the folder of `keep` with a configuration such as [`DOVECOT`]: its port, the one where TLS comes first, and the
/// certificate that it has.
fn dovecot(keep: &Config, text: &str) -> (Process, u16, u16, String) {
    let (port, tls_port) = (free_port(), free_port());
    let certificate = make_certificate(&keep.path("own.pem"), "127.0.0.1");
    keep.write("users", &format!("{USER}:{{PLAIN}}{PASSWORD}:::::"));
    keep.program("config/busy", "#!/bin/sh\nexit 111\n");
    let conf = text.replace("{port}", &port.to_string());
    keep.write("dovecot.conf", &conf.replace("{tls_port}", &tls_port.to_string()));
    fs::create_dir(keep.path("mail")).unwrap();
    fs::set_permissions(keep.path("mail"), fs::Permissions::from_mode(0o777)).unwrap();
    // Its processes give up root for users of their own.
    fs::set_permissions(keep.work(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = keep.command(deb::program("dovecot").expect("was asked for"));
    command.arg("-F").arg("-c").arg(keep.path("config/dovecot.conf"));
    (start(command, port), port, tls_port, certificate)
}

#[test]
fn dovecot_is_asked_over_its_socket_and_over_imap() {
    if !geteuid().is_root() {
        return say("skipped: Dovecot needs root");
    }
    if !deb::need("dovecot-imapd") {
        return;
    }
    let keep = Config::new();
    let (dovecot, port, ..) = dovecot(&keep, DOVECOT);
    let by_socket = config(&format!("auth/auth_dovecot {}", keep.path("auth").display()));
    let by_imap = config(&format!("auth/auth_imap 127.0.0.1 {port}"));
    let servers = [
        (Server::start(&by_socket, Model::Prefork), "auth_dovecot"),
        (Server::start(&by_imap, Model::Forkserver), "auth_imap"),
    ];
    for (server, plugin) in &servers {
        knows_the_password(server, plugin, PASSWORD);
    }
    // What Dovecot calls a temporary failure, and then no Dovecot at all.
    for (server, _) in &servers {
        is_temporary(server, "busy@example.com", PASSWORD);
    }
    drop(dovecot);
    for (server, _) in servers {
        is_temporary(&server, USER, PASSWORD);
        server.stop().unwrap();
    }
}

#[test]
fn dovecot_is_asked_under_tls() {
    if !geteuid().is_root() {
        return say("skipped: Dovecot needs root");
    }
    if !deb::need("dovecot-imapd") {
        return;
    }
    let keep = Config::new();
    let (_dovecot, port, tls_port, certificate) = dovecot(&keep, DOVECOT);
    let another = make_certificate(&keep.path("another.pem"), "127.0.0.1");
    let ask = |arguments: &str, ca: &str| {
        config(&format!("auth/auth_imap 127.0.0.1 {arguments}")).set("ca.pem", ca)
    };
    for arguments in [
        format!("{port} tls must ca ca.pem"),
        format!("{port} tls may"),
        format!("{tls_port} tls first ca ca.pem"),
    ] {
        let front = ask(&arguments, &certificate);
        let server = Server::start(&front, Model::Prefork);
        knows_the_password(&server, "auth_imap", PASSWORD);
        is_temporary(&server, "busy@example.com", PASSWORD);
        server.log().wait_for(": TLSv1.3 TLS_");
        server.stop().unwrap();
    }
    // A server that is another one than it should be, and one that speaks as it should not.
    for (arguments, ca, why) in [
        (format!("{port} tls must ca ca.pem"), &another, "invalid peer certificate"),
        (format!("{tls_port} tls first ca ca.pem"), &another, "invalid peer certificate"),
        (format!("{port} tls first ca ca.pem"), &certificate, "no TLS with"),
        (format!("{tls_port} tls must ca ca.pem timeout 1"), &certificate, "does not answer"),
    ] {
        let front = ask(&arguments, ca);
        let server = Server::start(&front, Model::Forkserver);
        is_temporary(&server, USER, PASSWORD);
        server.log().wait_for(why);
        server.stop().unwrap();
    }
}

/// checkpw has the passwords of system users in a folder; its user here is `daemon`.
#[test]
fn a_real_checkpassword_program_is_asked() {
    if !geteuid().is_root() {
        return say("skipped: checkpw needs root");
    }
    if !deb::need("checkpw") {
        return;
    }
    let checkpw = deb::program("checkpw").expect("was asked for");
    let line = format!("auth/auth_checkpassword checkpw {} true /bin/true", checkpw.display());
    let config = config(&line);
    let folder = config.path("passwords");
    let config = config.env("MAILDIR", folder.to_str().unwrap()).set("keep_environment", "MAILDIR");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(".password"), "right-one\n").unwrap();
    fs::set_permissions(folder.join(".password"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(config.work(), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = User::from_name("daemon").unwrap().unwrap();
    for path in [folder.clone(), folder.join(".password")] {
        chown(path, Some(daemon.uid.as_raw()), Some(daemon.gid.as_raw())).unwrap();
    }
    let server = Server::start(&config, Model::Inetd);
    for (user, password, code) in [
        ("daemon", "right-one", "235"),
        ("daemon", "right-on", "535"),
        ("no-such-user", "right-one", "535"),
    ] {
        let mut client = server.connect();
        client.hello();
        let message = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
        client.ask(&format!("AUTH PLAIN {message}"), code);
        client.quit();
    }
    assert!(!server.log().text().contains("right-on"), "{}", server.log().tail());
    server.stop().unwrap();
}

#[test]
fn a_checkpassword_program_decides_in_every_model() {
    let program = "#!/bin/sh\ncase \"$(tr '\\0' '|' <&3)\" in\n\
        'ann@example.com|right one|Y123456|') exec \"$@\";;\n*busy*) exit 111;;\n*) exit 1;;\nesac\n";
    for model in Model::ALL {
        let config =
            config("auth/auth_checkpassword checkpw {work}/config/checkpw true /bin/true sudo no");
        config.program("config/checkpw", program);
        let server = Server::start(&config, model);
        knows_the_password(&server, "auth_checkpassword", "right one");
        is_temporary(&server, USER, "busy one");
        server.stop().unwrap();
    }
}

/// A server that speaks as vpopmaild does, for as long as somebody connects.
fn vpopmaild() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            stream.get_mut().write_all(b"+OK\r\n").unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let answer: &[u8] = match line.trim_end() {
                "login ann@example.com right-one" => b"+OK+\r\nname ann\r\n.\r\n",
                "login ann@example.com gone-away" => b"",
                _ => b"-ERR XXX Invalid login\r\n",
            };
            stream.get_mut().write_all(answer).unwrap();
        }
    });
    port
}

#[test]
fn vpopmaild_is_asked() {
    let config = config(&format!("auth/auth_vpopmaild host 127.0.0.1 port {}", vpopmaild()));
    let server = Server::start(&config, Model::Prefork);
    knows_the_password(&server, "auth_vpopmaild", "right-one");
    is_temporary(&server, USER, "gone-away");
    server.stop().unwrap();
}
