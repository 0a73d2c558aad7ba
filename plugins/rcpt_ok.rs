//! ```text
//! NAME
//!     rcpt_ok - accepts recipients in our domains
//!
//! SYNOPSIS
//!     rcpt_ok
//!
//! DESCRIPTION
//!     Accepts a recipient whose domain is this server's name (config/me), is listed in
//!     config/rcpthosts, or is a key of config/morercpthosts.cdb; any recipient of a client that
//!     may relay or is in whitelisthosts; and a recipient without a domain, such as postmaster.
//!     Every other recipient is refused with "Relaying denied".
//!
//!     A recipient whose local part a later server could read as an address elsewhere is refused,
//!     too, unless the client may relay: user%elsewhere.test@example.com,
//!     elsewhere.test!user@example.com, "user@elsewhere.test"@example.com, and what else has one of
//!     @ % ! : in its local part, or begins with IMCEASMTP-.  The core does the same where another
//!     plugin accepts one.  Sites that need such addresses write "accept" into
//!     config/recipient_routes, and see to it that the server behind knows no routes.
//!
//!     A sender in whitelistsenders may send to our domains only.  With the plugin of the same name
//!     in Perl the sender's address, which anybody can give, opens all domains.
//!
//!     It must be the last plugin that decides about recipients: it always decides.
//!
//! CONFIG
//!     rcpthosts           a domain a line; a line that begins with a dot means all subdomains
//!     morercpthosts.cdb   domains as keys, for very many of them
//!     me                  this server's name
//!     recipient_routes    accept: recipients that could be routes are accepted from everybody
//!
//! SEE ALSO
//!     relay, whitelist
//! ```

use std::collections::HashSet;

use crate::config::Lines;
use crate::error::Result;
use crate::hook::{Args, Hooks, OK, dsn};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let rcpthosts = hooks.derived("rcpthosts", domains);
    hooks.rcpt(move |session, recipient, _params| {
        if let Some(refused) = session.refused_route(recipient) {
            return refused;
        }
        if session.may_relay() || recipient.host().is_empty() {
            return OK;
        }
        let host = recipient.host().to_lowercase();
        if host == session.me().to_lowercase() {
            session.log(Level::Info, format_args!("pass: {host} is this server"));
            return OK;
        }
        if let Some(entry) = match_of(&session.derived(&rcpthosts), &host) {
            session.log(Level::Info, format_args!("pass: {host} in rcpthosts as {entry}"));
            return OK;
        }
        if session.config_map("morercpthosts").contains(&host) {
            session.log(Level::Info, format_args!("pass: {host} found in morercpthosts"));
            return OK;
        }
        session.log(Level::Info, format_args!("fail: {host} not in rcpthosts"));
        dsn::relaying_denied("")
    });
    Ok(())
}

fn domains(lines: &Lines) -> HashSet<String> {
    lines.iter().filter_map(|line| line.split_whitespace().next()).map(str::to_lowercase).collect()
}

/// The entry that covers `host`: itself, or one of its parent domains with a dot in front.
fn match_of<'a>(domains: &HashSet<String>, host: &'a str) -> Option<&'a str> {
    let dots = host.match_indices('.').map(|(at, _)| &host[at..]);
    std::iter::once(host).chain(dots).find(|part| domains.contains(*part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_and_subdomains_match() {
        let lines = ["Example.com", ".sub.example  # kept", ".top"];
        let set = domains(&Lines::from_values(lines.map(str::to_owned).to_vec()));
        for (host, entry) in [
            ("example.com", Some("example.com")),
            ("www.example.com", None),
            ("a.sub.example", Some(".sub.example")),
            ("b.a.sub.example", Some(".sub.example")),
            ("sub.example", None),
            ("x.top", Some(".top")),
            ("notexample.com", None),
        ] {
            assert_eq!(match_of(&set, host), entry, "{host}");
        }
    }
}
