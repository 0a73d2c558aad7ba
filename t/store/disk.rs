//! The store on a disk that is full, or that cannot be written.

use std::fs;

use super::{ask, config, start, tool};
use crate::faults::disk::disk;
use crate::harness::{Model, Server, TIMEOUT, poll};

fn mail_goes_on(server: &Server<'_>) {
    let mut client = server.connect();
    client.hello();
    client.envelope();
    client.ask("Hello\r\n.", "250");
    client.quit();
}

fn cannot_count(server: &Server<'_>) {
    let mut client = server.connect();
    client.hello();
    client.ask("NOOP add key", "451");
    client.quit();
}

#[test]
fn a_full_disk_costs_what_is_new() {
    let config = config("remembers");
    fs::create_dir(config.path("store")).unwrap();
    let Some(disk) = disk(&config, "store") else { return };
    let server = start(&config, Model::Forkserver, &[]);
    let mut client = server.connect();
    client.hello();
    client.ask("NOOP add first", "250");
    let full = (0..3000).find(|number| {
        client.say(&format!("NOOP add {number}{}", "x".repeat(300)));
        client.reply().lines[0].starts_with("451")
    });
    assert!(full.is_some_and(|number| number > 50), "{full:?}");
    client.quit();
    server.log().wait_for("data.mdb: No space left on device");
    assert_eq!(ask(&server, "NOOP get first"), 1);
    mail_goes_on(&server);
    disk.remount("size=8m");
    let counts = || {
        let mut client = server.connect();
        client.hello();
        client.say("NOOP add first");
        client.reply().lines[0].starts_with("250").then_some(())
    };
    assert!(poll(TIMEOUT, counts).is_some(), "{}", server.log().tail());
    assert!(!server.log().text().contains("killed"), "{}", server.log().tail());
    server.stop().unwrap();
}

/// There is no room even for the locks.
#[test]
fn a_store_without_room_kills_nobody() {
    let config = config("remembers");
    fs::create_dir(config.path("store")).unwrap();
    let Some(_disk) = disk(&config, "store") else { return };
    let server = start(&config, Model::Forkserver, &[]);
    fs::write(config.path("store/other"), vec![b'x'; 600 * 1024]).unwrap_err();
    cannot_count(&server);
    mail_goes_on(&server);
    server.log().wait_for("No space left on device");
    assert!(!server.log().text().contains("killed"), "{}", server.log().tail());
    server.stop().unwrap();
}

/// Nothing may be written at all: the log says so, and the tool.
#[test]
fn a_store_that_cannot_be_written_says_so() {
    let config = config("remembers");
    fs::create_dir(config.path("store")).unwrap();
    let Some(disk) = disk(&config, "store") else { return };
    let mut server = start(&config, Model::Forkserver, &[]);
    assert_eq!(ask(&server, "NOOP add first"), 1);
    // Nobody has a file open.
    let is_alone = || server.parent().children().is_empty().then_some(());
    assert!(poll(TIMEOUT, is_alone).is_some());
    disk.remount("ro");
    cannot_count(&server);
    mail_goes_on(&server);
    server.log().wait_for("Read-only file system");
    server.stop().unwrap();
    let listed = tool(&config, &["list"]);
    assert!(String::from_utf8(listed.stderr).unwrap().contains("Read-only file system"));
}
