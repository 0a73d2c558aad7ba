//! Queue plugins and the programs of this machine that they hand messages to.

// Exim, unpacked but not installed.
mod exim;

// The cleanup of a Postfix of its own.
pub(crate) mod postfix;

// A stand-in for qmail-queue that is as strict as its manual.
mod qmail;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use crate::harness::client::Reply;
use crate::harness::config::unprivileged;
use crate::harness::{Client, Config};

/// A message with LF line ends in which much can go wrong, complete so that nobody adds anything.
fn tricky(subject: &str) -> Vec<u8> {
    let head = "From: a@example.net\nTo: b@example.com\nDate: Thu, 01 Jan 2026 00:00:00 +0000\n\
        Message-Id: <1@a.test>\nX-Folded: one\n\ttwo\n  three\n";
    let text = "\n.\n..\n.dot\n\nFrom here  \n\t\n.\n";
    let mut message = format!("{head}Subject: {subject}\n{text}").into_bytes();
    message.extend_from_slice(b"caf\xe9 \x00 \x7f \x01\n");
    for length in [997, 1022, 1023, 1024, 1025, 2047, 2048, 2049, 5000] {
        message.extend((0..length).map(|n| b'a' + (n % 26) as u8));
        message.push(b'\n');
    }
    message.extend_from_slice(b"\n\nend\n\n");
    message
}

/// A message of that many octets and a few more, with LF line ends.
fn large(octets: usize) -> Vec<u8> {
    let mut message = tricky("large");
    while message.len() < octets {
        message.extend_from_slice(format!(".{} 0123456789 abcdefghij\n", message.len()).as_bytes());
    }
    message
}

/// Sends a message with LF line ends, and returns the reply to it.
fn send(client: &mut Client, from: &str, to: &[&str], message: &[u8]) -> Reply {
    client.ask(&format!("MAIL FROM:{from}"), "250");
    for to in to {
        client.ask(&format!("RCPT TO:{to}"), "250");
    }
    client.ask("DATA", "354");
    let mut wire = vec![];
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line.strip_suffix(b"\n").unwrap());
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    client.send_raw(&wire);
    client.reply()
}

/// Asserts that `found` is `message` below header lines that were added.
fn is_below_added_lines(found: &[u8], message: &[u8]) {
    let shown = || String::from_utf8_lossy(&found[..found.len().min(3000)]).into_owned();
    assert!(found.ends_with(message), "not the message, but {} octets: {}", found.len(), shown());
    let added = String::from_utf8(found[..found.len() - message.len()].to_vec()).unwrap();
    assert!(added.contains(" (HELO client.test) ("), "{added}");
    let is_header = |line: &str| line.starts_with([' ', '\t']) || line.contains(": ");
    assert!(added.lines().all(is_header), "{added}");
}

/// The only file in a folder.
fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{}: {files:?}", folder.display());
    files[0].clone()
}

/// Makes a folder that the daemons can write to.
fn folder(config: &Config, name: &str) {
    fs::create_dir_all(config.path(name)).unwrap();
    if let Some(user) = unprivileged() {
        chown(config.path(name), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}
