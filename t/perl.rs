//! Perl plugins: those of Debian's package qpsmtpd, in Perl qpsmtpd and here.

// Every plugin can be loaded, or the guide says why not.
mod loading;

// Files of releases, which native plugins answer for.
mod known;

// Debian's configuration as it is installed.
mod installed;

// The same dialogues.
mod dialogues;

// Under a parent process.
mod models;

// What a dialogue is made of.
mod case;
mod dns;
mod play;

use crate::harness::deb;

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
