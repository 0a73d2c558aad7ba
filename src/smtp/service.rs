//! What is spoken at a port or path, and whose word counts about who a client is.

use std::net::IpAddr;

use crate::config::Config;
use crate::hook::Session;
use crate::settings::{LMTP_PORTS, PROXY_FROM, PROXY_PORTS, TLS_PORTS, XCLIENT_FROM};

/// What comes first on a connection, and what is spoken then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    /// Does the connection begin with a PROXY header?
    pub(crate) proxy_first: bool,
    /// Does TLS come before the greeting (RFC 8314 3.3)?
    pub(crate) tls_first: bool,
    /// Is it LMTP that is spoken (RFC 2033), or SMTP?
    pub(crate) is_lmtp: bool,
}

impl Service {
    /// What is spoken with the client of `session`, which came to a path in the file system or to
    /// a port.
    pub(crate) fn of(session: &mut Session) -> Service {
        let (ip, port) = (session.connection.remote_ip, session.connection.local_port);
        let has_tls = session.tls().is_some();
        Service {
            proxy_first: session.setting(PROXY_FROM).contains(ip) && {
                let ports = session.setting(PROXY_PORTS);
                ports.is_empty() || ports.contains(port)
            },
            tls_first: has_tls && session.setting(TLS_PORTS).contains(port),
            is_lmtp: session.connection.by_path || session.setting(LMTP_PORTS).contains(port),
        }
    }
}

/// Has a client from `ip` to the port `port` to begin with a PROXY header?
pub(crate) fn is_proxy(ip: IpAddr, port: u16, config: &Config) -> bool {
    config.setting(PROXY_FROM).contains(ip) && {
        let ports = config.setting(PROXY_PORTS);
        ports.is_empty() || ports.contains(port)
    }
}

/// May the client of `session` say in whose name it speaks?
pub(crate) fn may_use_xclient(session: &mut Session) -> bool {
    session.setting(XCLIENT_FROM).contains(session.connection.remote_ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    #[test]
    fn a_wrong_line_trusts_nobody_and_is_logged_once() {
        let files = [("xclient_from", "198.51.100.1\n192.0.2.0/33\n")];
        let mut trial = Trial::new("", &files).from_ip("198.51.100.1");
        assert!(!may_use_xclient(&mut trial.session) && !may_use_xclient(&mut trial.session));
        let line = "xclient_from:2: xclient_from is '192.0.2.0/33', not an address or network";
        assert_eq!(trial.log().matches(line).count(), 1, "{}", trial.log());
        trial.set_config("xclient_from", "198.51.100.0/24");
        assert!(may_use_xclient(&mut trial.session));
        trial.set_config("xclient_from", "localhost");
        assert!(may_use_xclient(&mut trial.session));
        assert!(trial.log().contains("xclient_from is 'localhost', not an address or network"));
    }

    #[test]
    fn proxies_come_to_all_ports_or_those_named() {
        for (ports, found) in [("", true), ("24\n25", true), ("24 25 # two", true), ("465", false)]
        {
            let files = [("proxy_from", "192.0.2.1"), ("proxy_ports", ports)];
            let mut trial = Trial::new("", &files);
            assert_eq!(Service::of(&mut trial.session).proxy_first, found, "{ports:?}");
        }
    }

    #[test]
    fn a_path_and_the_ports_named_speak_lmtp() {
        let mut trial = Trial::new("", &[("lmtp_ports", "24")]);
        for (by_path, port, found) in [(false, 25, false), (false, 24, true), (true, 0, true)] {
            trial.session.connection.local_port = port;
            trial.session.connection.by_path = by_path;
            assert_eq!(Service::of(&mut trial.session).is_lmtp, found, "{port}");
        }
    }
}
