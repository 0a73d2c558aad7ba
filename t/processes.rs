//! The daemons as processes: real mail clients, super-servers, supervisors, signals, limits.

// swaks and Postfix's smtp-source deliver to both parents.
mod clients;

// tcpserver and xinetd run the program for one session.
pub(crate) mod superservers;

// supervise and runsv run the `run` script.
mod supervisors;

// TERM lets sessions finish; HUP serves a new configuration, or keeps the old one.
mod signals;

// How many sessions there may be, and how many from one address.
mod limits;

// Ports, IPv6, pid files.
pub(crate) mod addresses;

use std::process::Command;

use crate::harness::{Config, deb};

/// Sends one message with swaks to a port of this machine.
fn swaks(port: u16) {
    let mut swaks = Command::new(deb::program("swaks").expect("was asked for"));
    swaks.args(["--server", "127.0.0.1", "--port", &port.to_string(), "--ehlo", "client.test"]);
    swaks.args(["--from", "a@example.net", "--to", "b@example.com"]);
    swaks.args(["--header", "Subject: from swaks", "--body", "body line"]);
    let output = swaks.output().unwrap();
    let dialogue = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "swaks: {}\n{dialogue}", output.status);
}

/// The message of [`swaks`] lies in the Maildir, once.
fn arrived(config: &Config) {
    let mails = config.mails();
    assert_eq!(mails.len(), 1);
    let mail = String::from_utf8(mails[0].clone()).unwrap();
    let (header, body) = mail.split_once("\n\n").unwrap();
    assert!(header.starts_with("Return-Path: <a@example.net>\n"), "{header}");
    assert!(header.contains("\nDelivered-To: b@example.com\n"), "{header}");
    let received = header.find("\nReceived: from ").expect("a Received line");
    let by = " by mail.test (qpsmtpd/";
    assert!(header[received..].lines().take(3).any(|line| line.starts_with(by)), "{header}");
    assert!(header.contains("\nSubject: from swaks"), "{header}");
    assert_eq!(body.trim_end(), "body line");
}
