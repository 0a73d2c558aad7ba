//! Daemons with the plugin remembers, for the tests of the store; REMEMBERS_AS says which.

mod remembers;

use std::process::ExitCode;

use qpsmtpd::plugin::Plugin;
use qpsmtpd::{plugin, server};

static PLUGINS: &[Plugin] = &[plugin!(remembers)];

fn main() -> ExitCode {
    match std::env::var("REMEMBERS_AS").as_deref() {
        Ok("forkserver") => server::forkserver(PLUGINS),
        Ok("inetd") => server::qpsmtpd(PLUGINS),
        _ => server::prefork(PLUGINS),
    }
}
