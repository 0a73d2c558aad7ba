//! Perl plugins: those of Debian's package qpsmtpd, in Perl qpsmtpd and here.

// Every plugin can be loaded, or the guide says why not.
mod loading;

// The same dialogues.
mod dialogues;

// Under a parent process.
mod models;

// What a dialogue is made of.
mod case;
mod dns;
mod play;

use std::path::Path;
use std::process::Command;

use crate::harness::{deb, say};

/// Where Debian's package has its plugins.
const PLUGINS: &str = "/usr/share/qpsmtpd/plugins";

/// Perl qpsmtpd with the modules that its plugins can use.
const PACKAGES: [&str; 7] = [
    "qpsmtpd",
    "libdanga-socket-perl",
    "libgeo-ip-perl",
    "libmail-dkim-perl",
    "libmail-dmarc-perl",
    "libnet-ldap-perl",
    "libwww-perl",
];

/// Is there a Perl qpsmtpd to compare with?
fn perl_qpsmtpd() -> bool {
    PACKAGES.iter().all(|package| deb::need(package))
}

/// The modules that Perl plugins see have tests of their own, in Perl.
#[test]
fn the_library_for_perl_plugins_passes_its_tests() {
    if deb::program("perl").is_none() {
        return say("skipped: needs perl");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("t/perl");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let tests: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|end| end == "t")).collect();
    assert!(!tests.is_empty());
    for test in tests {
        let output = Command::new("perl").arg(&test).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{}:\n{said}", test.display());
    }
}
