//! For the fuzz targets: where mail goes, and what is written about that by postmasters, and by strangers
//! into the DNS, on web servers and into certificates.

use super::input::halves;
use crate::dns::Tlsa;
use crate::forward::{read_any_policy, route_any};
use crate::net::{compare_any, is_usable};

/// A record of DANE and a certificate, after the three numbers and an octet 0 behind its data: they are
/// compared, and only what the record describes is believed in.
pub(super) fn dane(input: &[u8]) {
    let [usage, selector, matching, rest @ ..] = input else { return };
    let (data, certificate) = halves(rest);
    // Real certificates have zeros in them, so the record may be about the certificate itself.
    let data = if data.is_empty() { certificate } else { data };
    let [usage, selector, matching] = [usage, selector, matching].map(|octet| octet % 5);
    let record = Tlsa { usage, selector, matching, data: data.to_vec() };
    if is_usable(&record) {
        assert!(matches!(usage, 2 | 3) && selector < 2 && matching < 3 && !data.is_empty());
    }
    compare_any(&record, certificate);
}

/// A record and a policy of MTA-STS, with an octet 0 between them.
pub(super) fn mta_sts(input: &[u8]) {
    let (record, policy) = halves(input);
    read_any_policy(record, policy);
}

/// A domain, and lines of `smtproutes`.
pub(super) fn smtproutes(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (domain, lines) = text.split_once('\n').unwrap_or(("", &text));
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    route_any(lines.map(str::to_owned).collect(), domain);
}
