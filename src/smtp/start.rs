//! What is done and said once at the start, before there are sessions.

use super::{trace, verb};
use crate::config::Config;
use crate::hook::Plugins;
use crate::metrics;
use crate::settings::TLS_BEFORE_AUTH;

/// What the settings of the core do that nobody can want; for the log at the start, and `--check`.
pub(crate) fn warnings(config: &Config, plugins: &Plugins) -> Vec<&'static str> {
    let mut warnings = vec![];
    let lacks_tls = |list| plugins.tls(list).is_none() && verb::auth::is_possible(plugins, list);
    if config.setting(TLS_BEFORE_AUTH) && plugins.all_lists().any(|(list, _)| lacks_tls(list)) {
        warnings
            .push("AUTH is not offered: tls_before_auth wants TLS first, and no plugin offers TLS");
    }
    warnings
}

/// Does once, in the parent, what every new process would have to do again: reads the files that
/// sessions look at and the time zone, and finds out what the processor can do.
pub(crate) fn preload(config: &Config) {
    config.preload();
    trace::date();
    // What a thread keeps for itself is made when it is first asked for.
    drop(metrics::spent());
    std::hint::black_box(memchr::memchr2(b'\r', b'\n', &[b'x'; 64]));
    std::hint::black_box(memchr::memchr(b'\n', &[b'x'; 64]));
}
