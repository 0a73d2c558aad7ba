//! queue/lmtp to Dovecot.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::unistd::geteuid;

use super::tls::make_certificate;
use super::{forwarding, send, set_plugin, start};
use crate::harness::{Config, Model, Process, Server, deb, free_port, say};
use crate::lmtp;

const CONF: &str = "\
base_dir = {work}/run
state_dir = {work}/state
protocols = lmtp
log_path = /dev/stderr
ssl = no
mail_location = maildir:{work}/mail/%u
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
mail_plugins = quota
passdb {
  driver = passwd-file
  args = username_format=%u {work}/config/users
}
userdb {
  driver = passwd-file
  args = username_format=%u {work}/config/users
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = {port}
  }
  unix_listener {work}/lmtp {
    mode = 0666
  }
}
";

/// Two users, and one whose mailbox is full at once.
const USERS: &str = "\
b@example.com:{PLAIN}x:::::
c@example.com:{PLAIN}x:::::
full@example.com:{PLAIN}x::::::userdb_quota_rule=*:bytes=10";

const MESSAGE: &str = "Subject: hi\r\n\r\nline\r\n..\r\n...\r\n..dot \r\n";
const STORED: &str = "Subject: hi\n\nline\n.\n..\n.dot \n";

/// Starts Dovecot in the folder of `config`, with more lines in its configuration.
pub(super) fn dovecot(config: &Config, more: &str) -> (Process, u16) {
    let port = free_port();
    config.write("users", USERS);
    config.write("dovecot.conf", &(CONF.replace("{port}", &port.to_string()) + more));
    fs::create_dir(config.path("mail")).unwrap();
    fs::set_permissions(config.path("mail"), fs::Permissions::from_mode(0o777)).unwrap();
    // Its processes give up root for users of their own.
    fs::set_permissions(config.work(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = config.command(deb::program("dovecot").expect("was asked for"));
    command.arg("-F").arg("-c").arg(config.path("config/dovecot.conf"));
    (start(command, port), port)
}

/// The messages of these users, and takes them away.
fn mails(config: &Config, users: &[&str]) -> Vec<usize> {
    let count = |user: &&str| {
        let folder = config.path(&format!("mail/{user}@example.com/new"));
        let files = fs::read_dir(folder).into_iter().flatten();
        files.map(|file| fs::remove_file(file.unwrap().path()).unwrap()).count()
    };
    users.iter().map(count).collect()
}

pub(super) fn needed() -> bool {
    if !geteuid().is_root() {
        say("skipped: Dovecot needs root");
        return false;
    }
    deb::need("dovecot-lmtpd")
}

#[test]
fn dovecot_delivers_over_tcp_and_over_a_socket() {
    if !needed() {
        return;
    }
    let (config, keep) = (forwarding("queue/discard"), Config::new());
    let (_dovecot, port) = dovecot(&keep, "");
    let socket = keep.path("lmtp");
    let server = Server::start(&config, Model::Inetd);
    for plugin in
        [format!("queue/lmtp 127.0.0.1:{port}"), format!("queue/lmtp {}", socket.display())]
    {
        set_plugin(&config, &plugin);
        let reply = send(&server, &["b"], MESSAGE);
        let text = &reply.lines[0];
        assert!(text.starts_with("250 2.0.0 <b@example.com> "), "{text}\n{}", server.log().tail());
        assert!(text.ends_with(" Saved"), "{text}");
        let folder = keep.path("mail/b@example.com/new");
        let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let mail = fs::read_to_string(file).unwrap();
        assert!(mail.starts_with("Return-Path: <a@example.net>\n"), "{mail}");
        assert!(mail.ends_with(STORED), "{mail}");
        assert_eq!(send(&server, &["b", "c"], MESSAGE).code, "250");
        assert_eq!(mails(&keep, &["b", "c"]), [2, 1]);
    }
    server.stop().unwrap();
}

/// Over TCP under TLS, and over the socket as ever.
#[test]
fn dovecot_delivers_under_tls() {
    if !needed() {
        return;
    }
    let (config, keep) = (forwarding("queue/discard"), Config::new());
    fs::write(config.path("ca.pem"), make_certificate(&keep.path("both.pem"), "127.0.0.1"))
        .unwrap();
    let both = keep.path("both.pem").display().to_string();
    let more = format!("ssl = yes\nssl_cert = <{both}\nssl_key = <{both}\n");
    let (_dovecot, port) = dovecot(&keep, &more);
    let server = Server::start(&config, Model::Inetd);
    let socket = keep.path("lmtp");
    for (plugin, is_secure) in [
        (format!("queue/lmtp 127.0.0.1:{port} tls must ca {{work}}/ca.pem"), true),
        (format!("queue/lmtp 127.0.0.1:{port}"), true),
        (format!("queue/lmtp 127.0.0.1:{port} tls no"), false),
        (format!("queue/lmtp {}", socket.display()), false),
    ] {
        set_plugin(&config, &plugin);
        let before = server.log().text().matches(": TLSv1.").count();
        let reply = send(&server, &["b"], MESSAGE);
        assert_eq!(reply.code, "250", "{plugin}: {reply:?}\n{}", server.log().tail());
        let after = server.log().text().matches(": TLSv1.").count();
        assert_eq!(after - before, usize::from(is_secure), "{plugin}");
        assert_eq!(mails(&keep, &["b"]), [1]);
    }
    server.stop().unwrap();
}

#[test]
fn refusals_of_dovecot_reach_the_client() {
    if !needed() {
        return;
    }
    let later = "protocol lmtp {\n  quota_full_tempfail = yes\n}\n";
    for (more, one, some, text) in [
        ("", "552", "552", "552-5.2.2 <full@example.com> was refused: 552 5.2.2 "),
        (later, "452", "451", "451 4.3.0 Unable to queue message (<full@example.com> was refused"),
    ] {
        let keep = Config::new();
        let (_dovecot, port) = dovecot(&keep, more);
        let config = forwarding(&format!("queue/lmtp 127.0.0.1:{port}"));
        let server = Server::start(&config, Model::Inetd);
        let unknown = send(&server, &["nobody"], MESSAGE);
        assert!(unknown.lines[0].starts_with("550 5.1.1 <nobody@example.com> User"), "{unknown:?}");
        let partly = send(&server, &["b", "nobody", "c"], MESSAGE);
        let want = "451 4.3.0 Unable to queue message (<nobody@example.com> was refused: 550 ";
        assert!(partly.lines[0].starts_with(want), "{partly:?}");
        assert_eq!(mails(&keep, &["b", "c"]), [0, 0]);

        let full = send(&server, &["full"], MESSAGE);
        let quota = format!("{one} {}.2.2 ", &one[..1]);
        assert!(full.lines[0].starts_with(&quota) && full.lines[0].contains("full"), "{full:?}");
        let partly = send(&server, &["b", "full"], MESSAGE);
        assert_eq!(partly.code, some);
        assert!(partly.lines[0].starts_with(text), "{partly:?}");
        assert_eq!(mails(&keep, &["b", "full"]), [1, 0]);
        server.stop().unwrap();
    }
}

/// What Dovecot says of each recipient, before the message and after it, reaches a client that
/// speaks LMTP as well.
#[test]
fn each_recipient_hears_what_dovecot_says_of_it() {
    if !needed() {
        return;
    }
    let keep = Config::new();
    let (_dovecot, port) = dovecot(&keep, "");
    for model in Model::ALL {
        let config = forwarding(&format!("queue/lmtp 127.0.0.1:{port}"));
        let server = lmtp::start(&config, model);
        let users = ["b", "nobody", "full", "c"];
        let mut client = lmtp::with_recipients(&server, &users);
        let replies = lmtp::send(&mut client, users.len());
        for (reply, start) in replies.iter().zip([
            "250 2.0.0 <b@example.com> ",
            "550 5.1.1 <nobody@example.com> User",
            "552 5.2.2 <full@example.com> ",
            "250 2.0.0 <c@example.com> ",
        ]) {
            assert!(reply.starts_with(start), "{model}: {replies:?}\n{}", server.log().tail());
        }
        assert_eq!(mails(&keep, &users), [1, 0, 0, 1], "{model}");
        client.quit();

        let mut client = lmtp::with_recipients(&server, &["nobody", "none"]);
        let replies = lmtp::send(&mut client, 2);
        assert!(replies[0].starts_with("550 5.1.1 <nobody@example.com> "), "{replies:?}");
        assert!(replies[1].starts_with("550 5.1.1 <none@example.com> "), "{replies:?}");
        client.quit();
        server.stop().unwrap();
    }
}
