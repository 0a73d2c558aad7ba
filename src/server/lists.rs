//! Do the block lists and white lists of the configuration answer?

use std::time::Instant;

use crate::config::Config;
use crate::dns::Resolver;
use crate::dns::list_check::{self, Of};
use crate::settings::{DNS_SERVERS, DNS_TIMEOUT};

/// The plugins that ask lists, the files that name these, and what they are lists of.
const FILES: [(&str, &str, Of); 4] = [
    ("dnsbl", "dnsbl_zones", Of::Addresses),
    ("dns_whitelist_soft", "whitelist_zones", Of::Addresses),
    ("rhsbl", "rhsbl_zones", Of::Names),
    ("uribl", "uribl_zones", Of::Names),
];

/// What is wrong with the lists of the loaded plugins, a line each: those that do not answer as lists
/// do.  Waits for the answers.
pub(super) fn faults(config: &Config, plugins: &[&str]) -> Vec<String> {
    let lists = named(config, plugins);
    if lists.is_empty() {
        return Vec::new();
    }
    let timeout = config.setting(DNS_TIMEOUT);
    let resolver = Resolver::new(config.setting(DNS_SERVERS), timeout);
    list_check::faults(&resolver.until(Instant::now() + timeout), &lists)
}

/// The lists that the loaded plugins ask.
pub(super) fn named(config: &Config, plugins: &[&str]) -> Vec<(String, Of)> {
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
    lists
}
