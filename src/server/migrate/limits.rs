//! The limits of memory that a run script sets.

use crate::config::Config;
use crate::hook::{Origin, Plugins};
use crate::server::migrate::paper::Paper;
use crate::server::migrate::shell::{self, Script};
use crate::settings::{STORE, StorePlace};

/// How far the text stands from the margin.
const INDENT: usize = 2;

/// The memory that a process needs at least, in octets: without Perl plugins and with them.
const LEAST: [u64; 2] = [100_000_000, 150_000_000];

/// Tells whether the limits of a script leave enough.
pub(super) fn tell(
    paper: &mut Paper,
    name: &str,
    script: &Script,
    text: &str,
    config: &Config,
    plugins: &Plugins,
) {
    let words = script.command.iter().take_while(|word| shell::program(word).is_none());
    let words: Vec<&str> = words.map(String::as_str).collect();
    let has_softlimit = words.iter().any(|word| word.ends_with("softlimit"));
    let pairs = words.windows(2).filter(|pair| has_softlimit && ["-m", "-a"].contains(&pair[0]));
    let by_softlimit = pairs.filter_map(|pair| pair[1].parse().ok()).min();
    let kibibytes =
        text.split_once("ulimit -v ").and_then(|(_, rest)| rest.split_whitespace().next());
    let kibibytes = kibibytes.and_then(|number| number.parse::<u64>().ok());
    let by_shell = kibibytes.map(|number| number.saturating_mul(1024));
    let Some(limit): Option<u64> = by_softlimit.or(by_shell) else { return };
    let has_perl = plugins.all().iter().any(|loaded| loaded.origin == Origin::Perl);
    let least = LEAST[usize::from(has_perl)];
    if limit < least {
        let text = format!("the limit of {limit} octets of memory is too low: set it to {least}");
        paper.demand(INDENT, name, &text);
        return;
    }
    paper.below(INDENT, &format!("The limit of {limit} octets of memory is enough."));
    let StorePlace::Lmdb { size, .. } = config.setting(STORE) else { return };
    if size > limit / 4 && !plugins.tables().is_empty() {
        let (most, size) = ((limit / 4) >> 20, size >> 20);
        paper.below(
            INDENT,
            &format!("Under it the store of the plugins may grow to {most} MiB, not {size}."),
        );
    }
}
