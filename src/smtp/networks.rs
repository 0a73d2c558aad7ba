//! Networks in configuration files: whose word counts about who a client is.

use std::cell::Cell;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{Config, Derived, Lines};
use crate::error::Error;
use crate::hook::Session;
use crate::log::Level;

/// The networks of one file.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    networks: Vec<IpNet>,
    problems: Vec<Error>,
    was_reported: Cell<bool>,
}

thread_local! {
    static PROXIES: Derived<Networks> = Derived::new("proxy_from", Networks::parse);
    static CLIENTS: Derived<Networks> = Derived::new("xclient_from", Networks::parse);
}

/// Has a client from `ip` to the port `port` to begin with a PROXY header?
pub(crate) fn is_proxy(ip: IpAddr, port: u16, config: &Config) -> bool {
    let lines = config.list("proxy_from");
    !lines.is_empty()
        && PROXIES.with(|proxies| proxies.of(&lines)).contains(ip)
        && is_port(&config.list("proxy_ports"), port)
}

/// Has the client of `session` to begin with a PROXY header?
pub(crate) fn is_behind_proxy(session: &mut Session) -> bool {
    let is_one = contains(session, &PROXIES);
    is_one && is_port(&session.config("proxy_ports"), session.connection.local_port)
}

/// May the client of `session` say in whose name it speaks?
pub(crate) fn may_use_xclient(session: &mut Session) -> bool {
    contains(session, &CLIENTS)
}

/// Is `port` one of those on which clients speak LMTP (RFC 2033)?
pub(crate) fn is_lmtp_port(session: &mut Session, port: u16) -> bool {
    let ports = session.config("lmtp_ports");
    !ports.is_empty() && is_port(&ports, port)
}

fn contains(
    session: &mut Session,
    file: &'static std::thread::LocalKey<Derived<Networks>>,
) -> bool {
    let networks = file.with(|file| session.derived(file));
    networks.report(session);
    networks.contains(session.connection.remote_ip)
}

/// Is it one of these ports?  No lines stand for all.
fn is_port(lines: &Lines, port: u16) -> bool {
    lines.is_empty() || lines.iter().any(|line| line.parse() == Ok(port))
}

impl Networks {
    fn parse(lines: &Lines) -> Networks {
        let mut found = Networks::default();
        for line in lines.entries() {
            let word = line.text.split_whitespace().next().unwrap_or_default();
            let address = word.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical()));
            match address.or_else(|_| word.parse::<IpNet>()) {
                Ok(network) => found.networks.push(network),
                Err(_) => {
                    let text = format!("neither an address nor a network: '{word}'");
                    found.problems.push(Error::at(&line.file, line.number, text));
                }
            }
        }
        found
    }

    fn contains(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }

    fn report(&self, session: &Session) {
        if !self.problems.is_empty() && !self.was_reported.replace(true) {
            self.problems.iter().for_each(|problem| session.log(Level::Error, problem));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    #[test]
    fn addresses_and_networks_are_found() {
        let lines =
            ["192.0.2.1", "198.51.100.7/24", "2001:db8::/32", "::ffff:203.0.113.1", "::1 #"];
        let networks = Networks::parse(&Lines::from_values(lines.map(str::to_owned).to_vec()));
        assert!(networks.problems.is_empty());
        for (ip, found) in [
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("198.51.100.0", true),
            ("198.51.100.255", true),
            ("198.51.101.0", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("203.0.113.1", true),
            ("::1", true),
        ] {
            assert_eq!(networks.contains(ip.parse().unwrap()), found, "{ip}");
        }
    }

    #[test]
    fn a_wrong_line_trusts_nobody_and_is_logged_once() {
        let files = [("xclient_from", "localhost\n192.0.2.0/33\n192.0.2.*\n198.51.100.1")];
        let mut trial = Trial::new("", &files);
        assert!(!may_use_xclient(&mut trial.session) && !may_use_xclient(&mut trial.session));
        let log = trial.log();
        for (number, word) in [(1, "localhost"), (2, "192.0.2.0/33"), (3, "192.0.2.*")] {
            let line = format!("xclient_from:{number}: neither an address nor a network: '{word}'");
            assert_eq!(log.matches(&line).count(), 1, "{line}\n{log}");
        }
        assert!(may_use_xclient(&mut trial.from_ip("198.51.100.1").session));
    }

    #[test]
    fn ports_are_all_or_those_named() {
        for (ports, found) in [("", true), ("24\n25", true), ("# 1\n465", false), ("x", false)] {
            let files = [("proxy_from", "192.0.2.1"), ("proxy_ports", ports)];
            let mut trial = Trial::new("", &files);
            assert_eq!(is_behind_proxy(&mut trial.session), found, "{ports:?}");
        }
    }
}
