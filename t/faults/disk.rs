//! A disk that is full or cannot be written.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::deliver;
use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Server, say};

/// A small file system of the test's own.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts it at `folder`; None where that is not allowed.
    fn mount(folder: &Path) -> Option<Disk> {
        let user = unprivileged()?;
        let options = format!("size=512k,mode=0700,uid={},gid={}", user.uid, user.gid);
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .status()
            .is_ok_and(|status| status.success());
        done.then(|| Disk(folder.to_owned()))
    }

    pub(crate) fn remount(&self, how: &str) {
        let option = format!("remount,{how}");
        let status = Command::new("mount").args(["-o", &option]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub(crate) fn disk(config: &Config, name: &str) -> Option<Disk> {
    let disk = Disk::mount(&config.path(name));
    if disk.is_none() {
        say("skipped: a file system cannot be mounted here");
    }
    disk
}

fn large() -> Config {
    Config::new().set("databytes", "10000000").set("size_threshold", "1000")
}

#[test]
fn a_full_spool() {
    for model in Model::ALL {
        let config = large();
        let Some(_disk) = disk(&config, "spool") else { return };
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        assert_eq!(deliver(&mut client, "too large", 2_000_000), "451");
        server.log().wait_for("cannot keep the message");
        assert_eq!(deliver(&mut client, "small", 20_000), "250");
        client.quit();
        assert_eq!(config.mails().len(), 1);
        server.stop().unwrap();
    }
}

/// RFC 3030 2: 250 to a chunk says that it is kept, not that it will be tried.
#[test]
fn the_chunk_that_finds_a_full_spool_is_the_one_that_is_refused() {
    let config = large();
    let Some(_disk) = disk(&config, "spool") else { return };
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    let line = b"a line of the message, as long as lines are\r\n".repeat(10_000);
    for last in ["BDAT 0 LAST", "RSET"] {
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@example.com>", "250");
        let wire = |octets: usize| {
            [format!("BDAT {octets}\r\n").as_bytes(), b"\r\n", &line[..octets - 2]].concat()
        };
        for (octets, code) in [(400_000, "250"), (60_000, "250"), (65_000, "451"), (10, "451")] {
            client.send_raw(&wire(octets));
            let reply = client.reply();
            assert_eq!(reply.code, code, "{octets}: {reply:?}");
        }
        client.ask(last, if last == "RSET" { "250" } else { "451" });
        server.log().wait_for("cannot keep the message");
        assert_eq!(deliver(&mut client, "small", 20_000), "250");
        assert_eq!(config.take_mails().len(), 1);
    }
    client.quit();
    server.stop().unwrap();
}

#[test]
fn a_full_maildir() {
    for model in Model::ALL {
        let config = large().set("plugins", "rcpt_ok\nqueue/maildir {work}/disk/Maildir");
        fs::create_dir(config.path("disk")).unwrap();
        let Some(_disk) = disk(&config, "disk") else { return };
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        let code = deliver(&mut client, "too large", 2_000_000);
        assert!(code.starts_with('4'), "{code}");
        server.log().wait_for("No space left on device");
        assert_eq!(deliver(&mut client, "small", 20_000), "250");
        client.quit();
        let count =
            |name: &str| fs::read_dir(config.path("disk/Maildir").join(name)).unwrap().count();
        assert_eq!((count("new"), count("tmp")), (1, 0));
        server.stop().unwrap();
    }
}

#[test]
fn a_spool_that_cannot_be_written() {
    let config = large();
    let Some(disk) = disk(&config, "spool") else { return };
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    disk.remount("ro");
    assert_eq!(deliver(&mut client, "in vain", 20_000), "451");
    server.log().wait_for("Read-only file system");
    disk.remount("rw");
    assert_eq!(deliver(&mut client, "again", 20_000), "250");
    client.quit();
    assert_eq!(config.mails().len(), 1);
    server.stop().unwrap();
}

#[test]
fn a_maildir_that_is_somebody_elses() {
    let Some(user) = unprivileged() else { return };
    let config = large();
    let server = Server::start(&config, Model::Forkserver);
    let new = config.path("Maildir/new");
    chown(&new, Some(0), Some(0)).unwrap();
    let mut client = server.connect();
    client.hello();
    let code = deliver(&mut client, "in vain", 20_000);
    assert!(code.starts_with('4'), "{code}");
    server.log().wait_for("Permission denied");
    chown(&new, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    assert_eq!(deliver(&mut client, "again", 20_000), "250");
    client.quit();
    server.stop().unwrap();
}
