//! The configuration that Debian's package installs, with the answers that its installation asks for:
//! it starts and takes mail.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use std::net::SocketAddr;
use std::process::Command;

use crate::harness::config::unprivileged;
use crate::harness::{Client, Config, Log, Model, Server, TIMEOUT, daemon, poll, say};

const INSTALLED: &str = "/etc/qpsmtpd";

/// The script that starts and stops the daemon at boot.
const INIT: &str = "/etc/init.d/qpsmtpd";

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
    send(server.connect(), answer);
    server.stop().unwrap();
    let mails = config.mails();
    assert_eq!(mails.len(), usize::from(answer == "250"), "{model} {perl_plugins}");
    let log = fs::read_to_string(config.path("log/qpsmtpd.log")).unwrap();
    assert!(log.contains("RCPT TO:<b@example.com>"), "{model}: {log}");
}

fn send(mut client: Client, answer: &str) {
    client.expect("220");
    client.ask("EHLO client.test", "250");
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(b"From: a@example.net\r\nSubject: hi\r\n\r\nbody\r\n.\r\n");
    client.expect(answer);
    client.quit();
}

/// The script of the package starts and stops both daemons, with its own options: only the paths, the
/// account and the port are the test's.
#[test]
fn debians_script_starts_and_stops_the_daemons() {
    if !super::perl_qpsmtpd() {
        return;
    }
    let Some(user) = unprivileged() else {
        say("skipped: the script has to be run by root");
        return;
    };
    for model in Model::PARENTS {
        let config = installed();
        let work = config.work().to_str().unwrap().to_owned();
        let program = Path::new(model.program());
        let name = program.file_name().unwrap().to_str().unwrap();
        // It looks whether the same program runs already, be it anybody's.
        config.install(name, program);
        let server = name.strip_prefix("qpsmtpd-").unwrap();
        config.write(
            "debconf-settings",
            &format!(
                "ENABLED=true\nSERVER={server}\nINTERFACES=127.0.0.1\nRUNAS={}\nPORT=0\n",
                user.name
            ),
        );
        let script = fs::read_to_string(INIT).unwrap();
        let script = script.replace("/usr/bin/qpsmtpd-", &format!("{work}/qpsmtpd-"));
        let script = script.replace("/var/run/qpsmtpd", &format!("{work}/run"));
        let script = script.replace(INSTALLED, &format!("{work}/config"));
        let script = config.program("init", &script);
        let run = |what: &str| {
            let mut command = Command::new(&script);
            command.arg(what).current_dir(config.work());
            let written = fs::File::options().create(true).append(true).open(config.path("said"));
            let written = written.unwrap();
            command.stdout(written.try_clone().unwrap()).stderr(written);
            assert!(command.status().unwrap().success(), "{what}: {}", said(&config));
        };
        run("start");
        let found = poll(TIMEOUT, || daemon::addresses(&said(&config)).first().copied());
        let address: SocketAddr = found.unwrap_or_else(|| panic!("{}", said(&config)));
        send(Client::connect(address, &Log::default()), "250");
        assert_eq!(config.mails().len(), 1);
        assert!(config.path("run/qpsmtpd.pid").exists());
        run("stop");
        config.nothing_left().unwrap();
    }
}

fn said(config: &Config) -> String {
    fs::read_to_string(config.path("said")).unwrap_or_default()
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
