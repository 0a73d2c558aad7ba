//! The configuration that Debian's package installs, with the answers that its installation asks for:
//! it starts and takes mail.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Server};

const INSTALLED: &str = "/etc/qpsmtpd";

#[test]
fn debians_configuration_takes_mail_as_it_is() {
    if !super::perl_qpsmtpd() {
        return;
    }
    for model in Model::ALL {
        takes_mail(model, "auto", "250");
        // Debian's check_loop hands no limit to its parent, and so refuses everything.
        takes_mail(model, "always", "552");
    }
}

fn takes_mail(model: Model, perl_plugins: &str, answer: &str) {
    let config = installed();
    if perl_plugins != "auto" {
        config.write("perl_plugins", perl_plugins);
    }
    let server = Server::start(&config, model);
    let mut client = server.connect();
    client.expect("220");
    client.ask("EHLO client.test", "250");
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(b"From: a@example.net\r\nSubject: hi\r\n\r\nbody\r\n.\r\n");
    client.expect(answer);
    client.quit();
    server.stop().unwrap();
    let mails = config.mails();
    assert_eq!(mails.len(), usize::from(answer == "250"), "{model} {perl_plugins}");
    let log = fs::read_to_string(config.path("log/qpsmtpd.log")).unwrap();
    assert!(log.contains("RCPT TO:<b@example.com>"), "{model}: {log}");
}

/// A copy in a folder of its own: paths lead there, and the two files that the installation writes
/// have an answer.
fn installed() -> Config {
    let config = Config::new();
    fs::remove_dir_all(config.path("config")).unwrap();
    fs::create_dir(config.path("config")).unwrap();
    let work = config.work().to_str().unwrap().to_owned();
    for entry in fs::read_dir(INSTALLED).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace(INSTALLED, &format!("{work}/config"));
        let text = text.replace("/var/spool/qpsmtpd", &format!("{work}/spool"));
        let text = text.replace("/var/log/qpsmtpd", &format!("{work}/log"));
        let name = path.file_name().unwrap();
        fs::write(config.path("config").join(name), text).unwrap();
    }
    config.write("debian-queue-method", "queue/maildir {work}/Maildir");
    config.write("debian-rcpthosts", "example.com");
    own_folder(&config.path("log"));
    config
}

fn own_folder(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    if let Some(user) = unprivileged() {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}
