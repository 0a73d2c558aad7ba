//! Do the block lists and white lists of the configuration answer?

use std::time::Instant;

use crate::config::Config;
use crate::dns::Resolver;
use crate::dns::list_check::{Of, faults};
use crate::settings::{DNS_SERVERS, DNS_TIMEOUT};

/// The plugins that ask lists, the files that name these, and what they are lists of.
const FILES: [(&str, &str, Of); 4] = [
    ("dnsbl", "dnsbl_zones", Of::Addresses),
    ("dns_whitelist_soft", "whitelist_zones", Of::Addresses),
    ("rhsbl", "rhsbl_zones", Of::Names),
    ("uribl", "uribl_zones", Of::Names),
];

/// A warning for each list of the loaded plugins that does not answer as lists do.
pub(super) fn find(config: &Config, plugins: &[&str]) -> Vec<String> {
    let mut lists = Vec::new();
    for (_, file, of) in FILES.into_iter().filter(|(plugin, ..)| plugins.contains(plugin)) {
        for line in config.list(file).entries() {
            let end = |c: char| c.is_whitespace() || "=*:".contains(c);
            let zone = line.text.split(end).next().unwrap_or_default().trim_matches('.');
            if zone.contains('.') {
                lists.push((zone.to_ascii_lowercase(), of));
            }
        }
    }
    if lists.is_empty() {
        return Vec::new();
    }
    let timeout = config.setting(DNS_TIMEOUT);
    let resolver = Resolver::new(config.setting(DNS_SERVERS), timeout);
    faults(&resolver.until(Instant::now() + timeout), &lists)
}
