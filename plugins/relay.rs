//! ```text
//! NAME
//!     relay - decides which clients may relay
//!
//! SYNOPSIS
//!     relay
//!     relay only 1
//!
//! DESCRIPTION
//!     A client that may relay can send to any recipient, and most other plugins leave it alone.
//!     When a client connects, the first of these that applies decides:
//!
//!       1. it is in config/norelayclients: it may not
//!       2. the environment variable RELAYCLIENT is set, and neither empty nor 0: it may
//!       3. it is in config/relayclients: it may
//!       4. it is in config/morerelayclients or morerelayclients.cdb: it may
//!
//!     A client that authenticates may relay, too, whatever these files say.  Nobody else may: not
//!     even 127.0.0.1 and ::1, which may with the Perl plugin of the same name.
//!
//!     tcpserver sets RELAYCLIENT as its rules say: write RELAYCLIENT="1".  RELAYCLIENT="", as in
//!     rules for qmail-smtpd, lets nobody relay, here and in Perl.  The text that qmail-smtpd would
//!     append to recipients is not appended.
//!
//!     Unlike in the Perl plugin of the same name, the first and the last address of a network are
//!     part of it, every one of the files may have networks, and prefixes of IPv6 addresses work.
//!
//! ARGUMENTS
//!     only 1   refuse all recipients of clients that may not relay, with "relaying denied", and
//!              accept all recipients of others.  This is for a server that only sends mail out.
//!              Place the plugin before all others that decide about recipients.
//!
//! CONFIG
//!     Each of the three files has one of these per line; the rest of the line is ignored:
//!
//!         192.0.2.1          an address
//!         2001:db8::1
//!         192.168.42.        the beginning of an address, with a dot or colon at its end
//!         2001:db8:
//!         10.1.0.0/16        a network
//!         2001:db8:7::/48
//!
//!     A line that is none of these is skipped, and reported in the log.
//!
//!     The keys of morerelayclients.cdb are addresses and beginnings of addresses, but not
//!     networks.
//!
//! SEE ALSO
//!     rcpt_ok
//! ```

use std::env;
use std::ffi::OsStr;
use std::net::IpAddr;

use crate::config::{Lines, leading_numbers, network};
use crate::error::{Error, Result};
use crate::hook::{Args, Hooks, OK, Session, Verdict};
use crate::settings::Networks;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    register_with(hooks, args, says_yes(env::var_os("RELAYCLIENT").as_deref()))
}

/// What Perl takes for true.
fn says_yes(value: Option<&OsStr>) -> bool {
    value.is_some_and(|value| !value.is_empty() && value != "0")
}

fn register_with(hooks: &mut Hooks, args: &Args, by_environment: bool) -> Result<()> {
    args.only(&["only"])?;
    let [never, may, more] = ["norelayclients", "relayclients", "morerelayclients"]
        .map(|name| hooks.derived_checked(name, Clients::parse));
    hooks.connect(move |session| {
        let ip = session.connection.remote_ip.to_canonical();
        if session.derived(&never).find(ip).is_some() {
            session.connection.relay_client = false;
            return session.fail(format_args!("disabled by norelayclients ({ip})"));
        }
        let why = if by_environment {
            Some("enabled by env".to_owned())
        } else if let Some(how) = session.derived(&may).find(ip) {
            Some(format!("{how} match in relayclients ({ip})"))
        } else {
            let how = session.derived(&more).find(ip).or_else(|| in_map(session, ip));
            how.map(|how| format!("{how} match in morerelayclients ({ip})"))
        };
        session.connection.relay_client |= why.is_some();
        match why {
            Some(why) => session.pass(why),
            None => session.skip("no match"),
        }
    });
    if args.flag("only", false)? {
        hooks.rcpt(|session, _recipient, _params| {
            if session.connection.relay_client { OK } else { Verdict::deny("relaying denied") }
        });
    }
    Ok(())
}

/// The clients of one file.
#[derive(Debug, Default)]
struct Clients {
    /// Addresses, and beginnings of addresses.
    octets: Networks,
    /// Networks.
    blocks: Networks,
}

impl Clients {
    fn parse(lines: &Lines, problems: &mut Vec<Error>) -> Clients {
        let (mut octets, mut blocks) = (vec![], vec![]);
        lines.read_each(problems, |line| {
            let word = line.word_and_rest().0;
            let what = "not an address, the beginning of an address, or a network";
            let found = network(word).or_else(|| leading_numbers(word));
            let is_block = word.contains('/');
            let list = if is_block { &mut blocks } else { &mut octets };
            found.map(|network| list.push(network)).ok_or_else(|| format!("{what}: '{word}'"))
        });
        Clients { octets: octets.into_iter().collect(), blocks: blocks.into_iter().collect() }
    }

    fn find(&self, ip: IpAddr) -> Option<&'static str> {
        let lists = [("octet", &self.octets), ("cidr", &self.blocks)];
        lists.into_iter().find(|(_, list)| list.contains(ip)).map(|(how, _)| how)
    }
}

fn in_map(session: &Session, ip: IpAddr) -> Option<&'static str> {
    let map = session.config_map("morerelayclients");
    keys(ip).iter().any(|key| map.contains(key)).then_some("octet")
}

/// Everything that an address can be in a map: itself and its beginnings.
fn keys(ip: IpAddr) -> Vec<String> {
    let mut keys = vec![ip.to_string()];
    match ip {
        IpAddr::V4(ip) => {
            let octets = ip.octets().map(|octet| format!("{octet}."));
            keys.extend((1..4).rev().map(|count| octets[..count].concat()));
        }
        IpAddr::V6(ip) => {
            let short = ip.segments().map(|group| format!("{group:x}:"));
            let long = ip.segments().map(|group| format!("{group:04x}:"));
            keys.push(long.concat().trim_end_matches(':').to_owned());
            for count in (1..8).rev() {
                let long = long[..count].concat();
                keys.extend([short[..count].concat(), long.trim_end_matches(':').into(), long]);
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests;
