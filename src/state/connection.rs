//! One client's connection: who it is and what it has said of itself.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::dns::Resolver;
use crate::settings::NameServers;
use crate::state::Notes;

/// The most characters of a user name of ident, and of a host name, that are shown.
const LONGEST_USER: usize = 64;
const LONGEST_HOST: usize = 255;

/// How the client greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// `HELO`: plain SMTP.
    Helo,
    /// `EHLO`: SMTP with extensions.
    Ehlo,
    /// `LHLO`: LMTP (RFC 2033), which has the extensions of SMTP.
    Lhlo,
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: String,
    /// The cipher suite's name in IANA's registry, `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The name of the server that the client asked for (RFC 6066 3).
    pub server_name: Option<String>,
    /// Was an earlier session resumed?
    pub resumed: bool,
}

/// The client of a session.
#[derive(Debug)]
pub struct Connection {
    /// The client's address; an IPv4 client of a dual-stack listener has its IPv4 address.
    pub remote_ip: IpAddr,
    /// The client's port; 0 where it is not known.
    pub remote_port: u16,
    /// The address that the client connected to.
    pub local_ip: IpAddr,
    /// The port that the client connected to; 0 for a socket in the file system.
    pub local_port: u16,
    /// How the client greeted; None before it did.
    pub hello: Option<Hello>,
    /// The name in the client's greeting; empty before it greeted.
    pub hello_host: String,
    /// May the client relay, that is, send to anybody?
    pub relay_client: bool,
    /// The user as whom the client authenticated.
    pub auth_user: Option<String>,
    /// The mechanism with which it did, in lower case: `plain`.
    pub auth_mechanism: Option<String>,
    /// What TLS agreed on; None in the clear.
    pub encryption: Option<Encryption>,
    /// Notes that last as long as the connection.
    pub notes: Notes,
    /// Did the client come by a socket in the file system?
    pub(crate) by_path: bool,
    /// Was the hook `pre-connection` asked about this very client?  Not under inetd or tcpserver, and
    /// not if a proxy has said since who the client is.
    pub passed_parent: bool,
    remote_host: OnceCell<String>,
    remote_user: Option<String>,
    looks_up: bool,
    resolver: Rc<Resolver>,
}

impl Connection {
    /// A connection from `remote` to `local`, each an address and a port.
    pub fn new(remote: (IpAddr, u16), local: (IpAddr, u16)) -> Connection {
        Connection {
            remote_ip: remote.0.to_canonical(),
            remote_port: remote.1,
            local_ip: local.0.to_canonical(),
            local_port: local.1,
            hello: None,
            hello_host: String::new(),
            relay_client: false,
            auth_user: None,
            auth_mechanism: None,
            encryption: None,
            notes: Notes::default(),
            by_path: false,
            passed_parent: false,
            remote_host: OnceCell::new(),
            remote_user: None,
            looks_up: false,
            resolver: Rc::new(Resolver::new(NameServers::default(), Duration::ZERO)),
        }
    }

    /// The same connection, whose client's name is looked up when it is first asked for.
    pub fn with_look_up(self) -> Connection {
        Connection { looks_up: true, ..self }
    }

    /// This is the way to ask the domain name system.
    pub(crate) fn set_resolver(&mut self, resolver: Resolver) {
        self.resolver = Rc::new(resolver);
    }

    /// The way to ask the domain name system.
    pub(crate) fn resolver(&self) -> Rc<Resolver> {
        Rc::clone(&self.resolver)
    }

    /// The same connection with its client's name known, and the user that `ident` gave.
    pub fn with_remote(self, host: Option<String>, user: Option<String>) -> Connection {
        let remote_host = host.map_or_else(OnceCell::new, OnceCell::from);
        Connection { remote_host, remote_user: user, ..self }
    }

    /// These are the ends, and the client's name is looked up for them: what a proxy says of its
    /// client.
    pub(crate) fn set_ends(&mut self, remote: (IpAddr, u16), local: (IpAddr, u16)) {
        (self.remote_ip, self.remote_port) = (remote.0.to_canonical(), remote.1);
        (self.local_ip, self.local_port) = (local.0.to_canonical(), local.1);
        (self.remote_host, self.remote_user) = (OnceCell::new(), None);
        self.passed_parent = false;
    }

    /// This is the client's host name, without a look-up; None: it has none.
    pub(crate) fn set_remote_host(&mut self, host: Option<String>) {
        self.remote_host = OnceCell::from(host.unwrap_or_else(|| "Unknown".into()));
    }

    /// The client's host name where it was looked up before.
    pub fn known_host(&self) -> Option<&str> {
        self.remote_host.get().map(String::as_str)
    }

    /// The client's host name by reverse look-up; `Unknown` where there is none.
    pub fn remote_host(&self) -> &str {
        self.remote_host.get_or_init(|| {
            let name = self.looks_up.then(|| self.resolver.host_of(self.remote_ip)).flatten();
            name.unwrap_or_else(|| "Unknown".into())
        })
    }

    /// The same if it is known already: it is not looked up.
    pub(crate) fn known_remote_host(&self) -> Option<&str> {
        self.remote_host.get().map(String::as_str)
    }

    /// The client's name as greetings and Received lines show it: `host` or `user@host`.  Both are
    /// words of other people's servers: what is not usual in a user's or a host's name is `?`, so
    /// that neither can look like another part of the line, and both have an end.
    pub fn remote_info(&self) -> String {
        let host = match self.remote_host() {
            // A name must not look like another address.
            name if is_address(name) => "Unknown".to_owned(),
            name => word(name, LONGEST_HOST, "-._:"),
        };
        match &self.remote_user {
            Some(user) => format!("{}@{host}", word(user, LONGEST_USER, "-._+=%")),
            None => host,
        }
    }

    /// Did the client greet with EHLO or LHLO?
    pub fn is_esmtp(&self) -> bool {
        matches!(self.hello, Some(Hello::Ehlo | Hello::Lhlo))
    }

    /// Did the client greet with LHLO, so that each recipient has a reply of its own?
    pub fn is_lmtp(&self) -> bool {
        self.hello == Some(Hello::Lhlo)
    }
}

/// Is the name an address?  Most are not even read as one: no top-level domain ends with a digit.
fn is_address(name: &str) -> bool {
    (name.contains(':') || name.ends_with(|last: char| last.is_ascii_digit()))
        && name.parse::<IpAddr>().is_ok()
}

/// The most characters of `text`, `?` in the place of those that are neither letters and digits nor
/// among `others`.
fn word(text: &str, most: usize, others: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    let mut out = String::with_capacity(text.len().min(most));
    out.extend(text.chars().take(most).map(|c| if fits(c) { c } else { '?' }));
    out
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::dns::{Answer, Dns, Question, Record, Table};

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        let connection = Connection::new((mapped, 4), (mapped, 25));
        assert_eq!(connection.remote_ip, "192.0.2.7".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn new_ends_have_a_name_of_their_own() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let names = Table::new("8.2.0.192.in-addr.arpa PTR name-of-192.0.2.8");
        let mut connection = Connection::new((ip("192.0.2.7"), 4), (ip("192.0.2.25"), 25))
            .with_look_up()
            .with_remote(Some("proxy.example".into()), Some("user".into()));
        connection.set_resolver(Resolver::over(names));
        assert_eq!(connection.remote_info(), "user@proxy.example");
        let connection_of = |user: &str| {
            Connection::new((ip("192.0.2.7"), 4), (ip("192.0.2.25"), 25))
                .with_remote(Some("a\nb".into()), Some(user.into()))
        };
        assert_eq!(connection_of("x\r\n250 y").remote_info(), "x??250?y@a?b");
        let forged = "x@trusted (HELO good.example) (192.0.2.200)";
        let info = "x?trusted??HELO?good.example???192.0.2.200?@a?b";
        assert_eq!(connection_of(forged).remote_info(), info);
        assert_eq!(connection_of(&"x".repeat(600)).remote_info().len(), LONGEST_USER + 4);
        let named = |host: &str| {
            let connection = Connection::new((ip("192.0.2.7"), 4), (ip("192.0.2.25"), 25));
            connection.with_remote(Some(host.into()), None).remote_info()
        };
        assert_eq!(named("192.0.2.200"), "Unknown");
        assert_eq!(named("[192.0.2.200]"), "?192.0.2.200?");
        connection.set_ends((ip("::ffff:192.0.2.8"), 5), (ip("2001:db8::25"), 465));
        assert_eq!(connection.remote_info(), "name-of-192.0.2.8");
        let ends = (connection.remote_port, connection.local_ip, connection.local_port);
        assert_eq!(ends, (5, ip("2001:db8::25"), 465));
        connection.set_remote_host(None);
        assert_eq!(connection.remote_host(), "Unknown");
    }

    #[test]
    fn the_name_is_looked_up_once_and_only_when_asked_for() {
        struct Counting(Rc<Cell<usize>>);
        impl Dns for Counting {
            fn ask(&self, questions: &[Question]) -> Vec<Answer> {
                self.0.set(self.0.get() + 1);
                vec![Answer::found(vec![Record::Ptr("mx.example".into())]); questions.len()]
            }
        }
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        let asked = Rc::new(Cell::new(0));
        let mut connection = Connection::new((ip, 4), (ip, 25)).with_look_up();
        connection.set_resolver(Resolver::over(Counting(Rc::clone(&asked))));
        assert_eq!(asked.get(), 0);
        assert_eq!(connection.remote_host(), "mx.example");
        assert_eq!(connection.remote_info(), "mx.example");
        assert_eq!(asked.get(), 1);
    }
}
