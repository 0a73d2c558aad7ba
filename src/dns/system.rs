//! What the system knows: its name servers, and the names of /etc/hosts.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::settings::{NameServer, NameServers};

/// How long the system's files are trusted to be as they were.
const TRUST: Duration = Duration::from_secs(30);

/// The most name servers of the system that are asked, as resolv.conf(5) has it.
const MOST_SERVERS: usize = 3;

thread_local! {
    static SYSTEM: RefCell<Option<(Instant, System)>> = const { RefCell::new(None) };
}

/// What the system's files say.
#[derive(Debug, Clone, Default)]
struct System {
    servers: NameServers,
    hosts: Vec<(IpAddr, String)>,
}

/// The name servers of /etc/resolv.conf.
pub(super) fn servers() -> NameServers {
    with_system(|system| system.servers.clone())
}

/// The name of `ip` in /etc/hosts, the first of its line.
pub(super) fn host_of(ip: IpAddr) -> Option<String> {
    with_system(|system| {
        system.hosts.iter().find(|(own, _)| *own == ip).map(|(_, name)| name.clone())
    })
}

fn with_system<T>(look: impl FnOnce(&System) -> T) -> T {
    SYSTEM.with_borrow_mut(|known| {
        if known.as_ref().is_some_and(|(since, _)| since.elapsed() > TRUST) {
            *known = None;
        }
        let (_, system) = known.get_or_insert_with(|| (Instant::now(), System::read()));
        look(system)
    })
}

impl System {
    fn read() -> System {
        let text = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        System {
            servers: of_resolv_conf(&text("/etc/resolv.conf")),
            hosts: of_hosts(&text("/etc/hosts")),
        }
    }
}

/// The servers that resolv.conf(5) names; this machine where it names none.
fn of_resolv_conf(text: &str) -> NameServers {
    let mut servers = Vec::new();
    let mut trusted = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            // An address may name an interface, which only the system could make use of.
            Some("nameserver") => {
                let ip = words.next().and_then(|word| word.parse().ok());
                servers.extend(ip.map(|ip| NameServer::at(SocketAddr::new(ip, 53))));
            }
            Some("options") => trusted |= words.any(|option| option == "trust-ad"),
            _ => {}
        }
    }
    servers.truncate(MOST_SERVERS);
    if servers.is_empty() {
        servers.push(NameServer::at((Ipv4Addr::LOCALHOST, 53).into()));
    }
    servers.iter_mut().for_each(|server| server.trusted |= trusted);
    servers.into()
}

/// Addresses and the first of their names (hosts(5)).
fn of_hosts(text: &str) -> Vec<(IpAddr, String)> {
    let entry = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let ip: IpAddr = words.next()?.parse().ok()?;
        Some((ip.to_canonical(), words.next()?.to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_servers_are_read() {
        let servers = of_resolv_conf(
            "# none\nsearch x.example\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n\
             nameserver 2001:db8::1\noptions edns0 trust-ad\n",
        );
        let servers = servers.as_slice();
        assert_eq!(servers.len(), 2);
        assert!(servers.iter().all(|server| server.trusted && server.address.port() == 53));
        assert_eq!(of_resolv_conf("").as_slice()[0].address.to_string(), "127.0.0.1:53");
    }

    #[test]
    fn the_systems_names_are_read() {
        let hosts =
            of_hosts("127.0.0.1 localhost\n::1\tip6 ip6-x # y\n# 192.0.2.1 no\n192.0.2.2\n");
        let name = |ip: &str| {
            let ip: IpAddr = ip.parse().unwrap();
            hosts.iter().find(|(own, _)| *own == ip).map(|(_, name)| name.as_str())
        };
        assert_eq!((name("127.0.0.1"), name("::1")), (Some("localhost"), Some("ip6")));
        assert_eq!((name("192.0.2.1"), name("192.0.2.2")), (None, None));
    }
}
