//! ```text
//! NAME
//!     rcpt_ok - accepts recipients in our domains
//!
//! SYNOPSIS
//!     rcpt_ok
//!
//! DESCRIPTION
//!     Accepts a recipient whose domain is this server's name (config/me), is listed in
//!     config/rcpthosts, or is a key of config/morercpthosts.cdb.  It also accepts any recipient of
//!     a client that may relay or is in whitelisthosts, and a recipient without a domain, such as
//!     postmaster.  Every other recipient is refused with "Relaying denied".
//!
//!     Case and a dot at the end do not matter, and a domain in Unicode is the same as its form
//!     that begins with xn--.
//!
//!     Unless the client may relay, a recipient is also refused if a later server could read its
//!     local part as an address elsewhere: user%elsewhere.test@example.com,
//!     elsewhere.test!user@example.com, "user@elsewhere.test"@example.com, and any other local part
//!     that has one of @ % ! : in it or begins with IMCEASMTP-. The core does the same if another
//!     plugin accepts such a recipient.  A site that needs such addresses writes "accept" into
//!     config/recipient_routes, and makes sure that the server after this one does not follow them.
//!
//!     A sender in whitelistsenders may send only to our domains.  With the Perl plugin of the same
//!     name the sender's address, which anybody can give, opens all domains.
//!
//!     This plugin decides about every recipient, so it must be the last plugin that decides about
//!     recipients.
//!
//! CONFIG
//!     rcpthosts           one domain per line; a line that begins with a dot means all subdomains.  A
//!                         line that is no domain is skipped, and reported in the log.
//!     morercpthosts.cdb   domains as keys, for very long lists
//!     me                  this server's name
//!     recipient_routes    accept: accept recipients whose local part could be an address elsewhere
//!
//! SEE ALSO
//!     relay, whitelist
//! ```

use std::collections::HashSet;
use std::rc::Rc;

use crate::config::{Derived, Lines};
use crate::error::{Error, Result};
use crate::hook::{Args, Hook, Hooks, OK, Session, dsn};
use crate::mail::entries::{self, first_words};
use crate::mail::{Address, host};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let ours = Ours::new(hooks);
    hooks.always_decides(Hook::Rcpt);
    hooks.rcpt(move |session, recipient, _params| {
        if let Some(refused) = session.refused_route(recipient) {
            return refused;
        }
        if session.may_relay() {
            session.pass("the client may relay");
            return OK;
        }
        match ours.has(session, recipient) {
            Some(why) => {
                session.pass(&why);
                OK
            }
            None => {
                let host = recipient.canonical_host();
                session.fail(format_args!("{host} not in rcpthosts"));
                dsn::relaying_denied("")
            }
        }
    });
    Ok(())
}

/// The domains that this server takes mail for.
pub(crate) struct Ours(Rc<Derived<HashSet<String>>>);

impl Ours {
    /// For a plugin that wants to know while `hooks` are made.
    pub(crate) fn new(hooks: &mut Hooks) -> Ours {
        Ours(hooks.derived_checked("rcpthosts", domains))
    }

    /// Why mail for this recipient is for us; None if it is not.
    pub(crate) fn has(&self, session: &mut Session, recipient: &Address) -> Option<String> {
        let host = recipient.canonical_host();
        if host.is_empty() {
            return Some(format!("{recipient} has no domain"));
        }
        if host == host::canonical(&session.me()) {
            return Some(format!("{host} is this server"));
        }
        if let Some(entry) = match_of(&session.derived(&self.0), &host) {
            return Some(format!("{host} in rcpthosts as {entry}"));
        }
        let map = session.config_map("morercpthosts");
        let is_there = map.contains(&host) || map.contains(&host::unicode(&host));
        is_there.then(|| format!("{host} found in morercpthosts"))
    }
}

fn domains(lines: &Lines, problems: &mut Vec<Error>) -> HashSet<String> {
    first_words(lines, problems, entries::domain)
}

/// The entry that covers `host`: itself, or one of its parent domains with a dot in front.
fn match_of<'a>(domains: &HashSet<String>, host: &'a str) -> Option<&'a str> {
    let dots = host.match_indices('.').map(|(at, _)| &host[at..]);
    std::iter::once(host).chain(dots).find(|part| domains.contains(*part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Code, WHITELISTHOST, WHITELISTSENDER};
    use crate::testing::Trial;

    #[test]
    fn a_domain_has_several_spellings() {
        let list = "dot.test.\nxn--bcher-kva.example\nstra\u{df}e.example\n.B\u{dc}CHER.test\n\
            [IPv6:2001:db8::1]";
        let mut trial = Trial::new("rcpt_ok", &[("rcpthosts", list), ("me", "M\u{dc}.test.")]);
        for (path, code) in [
            ("<b@Dot.test>", Code::Ok),
            ("<b@b\u{fc}cher.example>", Code::Ok),
            ("<b@B\u{dc}CHER.example>", Code::Ok),
            ("<b@XN--BCHER-KVA.example>", Code::Ok),
            ("<b@xn--strae-oqa.example>", Code::Ok),
            ("<b@strasse.example>", Code::Deny),
            ("<b@mx.b\u{fc}cher.test>", Code::Ok),
            ("<b@mx.xn--bcher-kva.test>", Code::Ok),
            ("<b@b\u{fc}cher.test>", Code::Deny),
            ("<b@xn--m-eha.test>", Code::Ok),
            ("<b@[ipv6:2001:DB8:0::1]>", Code::Ok),
            ("<b@[IPv6:2001:db8::2]>", Code::Deny),
        ] {
            assert_eq!(trial.rcpt(path).code(), code, "{path}");
        }
    }

    #[test]
    fn lines_that_are_no_domain_are_named() {
        let list = "\u{feff}bom.test\n*.wild.test\n@at.test\ngood.test # ours\n";
        let mut trial = Trial::new("rcpt_ok", &[("rcpthosts", list)]);
        for path in ["<b@bom.test>", "<b@good.test>"] {
            assert_eq!(trial.rcpt(path).code(), Code::Ok, "{path}");
        }
        let log = trial.log();
        let place = "config/rcpthosts";
        assert!(log.contains(&format!("{place}:2: not a domain: '*.wild.test' (.wild.test means")));
        assert!(
            log.contains(&format!("{place}:3: not a host: '@at.test' (at.test is one)")),
            "{log}"
        );
        assert!(!log.contains(&format!("{place}:1:")) && !log.contains(&format!("{place}:4:")));
    }

    #[test]
    fn addresses_may_relay_and_senders_may_not() {
        let mut trial = Trial::new("rcpt_ok", &[("rcpthosts", "example.com")]);
        let elsewhere = "<b@example.net>";
        trial.session.transaction.notes.set(WHITELISTSENDER, "1".into());
        assert_eq!(trial.rcpt(elsewhere).code(), Code::Deny);
        assert_eq!(trial.rcpt("<b@example.com>").code(), Code::Ok);
        trial.session.connection.notes.set(WHITELISTHOST, "1".into());
        assert_eq!(trial.rcpt(elsewhere).code(), Code::Ok);
        trial.session.connection.notes.unset(WHITELISTHOST);
        assert_eq!(trial.rcpt(elsewhere).code(), Code::Deny);
        trial.session.connection.relay_client = true;
        assert_eq!(trial.rcpt(elsewhere).code(), Code::Ok);
    }

    #[test]
    fn domains_and_subdomains_match() {
        let lines = ["Example.com", ".sub.example  # kept", ".top"];
        let lines = Lines::from_values(lines.map(str::to_owned).to_vec());
        let set = domains(&lines, &mut vec![]);
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
