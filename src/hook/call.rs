//! What handlers are given.

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use subtle::ConstantTimeEq;

use crate::config::{Config, Derived, Lines};
use crate::hook::{Scram, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::state::Params;

/// The arguments of one hook call, as the table of hooks lists them.
///
/// Plugins seldom see this: the methods of [`super::Hooks`] take it apart.  It is for code that
/// deals with all hooks alike.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Call<'a> {
    Nothing,
    /// `helo`, `ehlo`: the client's name.
    Host(&'a str),
    /// `*_parse`: the command's argument.
    Line(&'a str),
    /// `mail_pre`, `rcpt_pre`.
    Path(&'a str, &'a Params),
    /// `mail`, `rcpt`.
    Address(&'a Address, &'a Params),
    Received(&'a Received<'a>),
    Credentials(&'a Credentials<'a>),
    /// `auth-attempt`, `auth-failed`: as whom the client wants to authenticate.
    User(&'a str),
    /// `auth-scram-sha-256`.
    Scram(&'a Scram<'a>),
    /// `vrfy`, `noop`, `help`: the command and the words after it.
    Words(&'a str, &'a [&'a str]),
    /// `unrecognized_command`: the command in lower case, and the rest of the line as it came.
    Command(&'a str, &'a str),
    /// `config`: the name that is asked for.
    Config(&'a str),
    UserConfig(&'a Address, &'a str),
    /// `deny`, `ok`.
    Result(&'a HookResult<'a>),
}

/// The parts of which our Received line is made (RFC 5321 4.4).
#[derive(Debug)]
pub struct Received<'a> {
    /// The protocol: SMTP, ESMTP, ESMTPS, ESMTPA or ESMTPSA (RFC 3848), or with SMTPUTF8 the same
    /// with UTF8SMTP for ESMTP (RFC 6531 4.3); and with LMTP for SMTP.
    pub protocol: &'a str,
    /// What is known of the authentication, for a comment; empty without one.
    pub auth: &'a str,
    /// What is known of TLS, for a comment; empty without it.
    pub tls: &'a str,
    /// The line that is used where no handler gives another.
    pub default: &'a str,
}

/// What a client presented to authenticate.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// The mechanism in lower case, `cram-md5`.
    pub mechanism: &'a str,
    /// The user name.
    pub user: &'a str,
    /// The password, for mechanisms that send it.
    pub password: Option<Secret<'a>>,
    /// The client's digest in hexadecimal, for CRAM-MD5.
    pub hash: Option<Secret<'a>>,
    /// The challenge that the digest answers.
    pub ticket: &'a str,
}

impl Credentials<'_> {
    /// Did the client present this password, be it as it is or as a CRAM-MD5 digest (RFC 2195 2)?
    ///
    /// The time it takes does not tell where a wrong one differs.  An empty password never matches.
    pub fn matches(&self, password: &str) -> bool {
        let is_right = match (self.password, self.hash) {
            (Some(sent), _) => sent.reveal().ct_eq(password.as_bytes()).into(),
            (None, Some(sent)) => cram_md5(password, self.ticket).is_some_and(|digest| {
                sent.reveal().to_ascii_lowercase().ct_eq(digest.as_bytes()).into()
            }),
            (None, None) => false,
        };
        is_right && !password.is_empty()
    }
}

/// Something that must never be printed: it has no Display, and its Debug shows nothing of it.
#[derive(Clone, Copy)]
pub struct Secret<'a>(&'a [u8]);

impl<'a> Secret<'a> {
    /// Wraps the bytes of a secret.
    pub fn new(bytes: &'a [u8]) -> Secret<'a> {
        Secret(bytes)
    }

    /// The bytes, to be compared or handed on, never logged.
    pub fn reveal(&self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What another handler answered.
#[derive(Debug)]
pub struct HookResult<'a> {
    /// The plugin that answered.
    pub plugin: &'a str,
    /// The hook it was asked in.
    pub hook: &'a str,
    /// Its answer.
    pub verdict: &'a Verdict,
}

/// What a `mail_parse` or `rcpt_parse` handler made of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Nothing: the next parser, in the end the built-in one, may try.
    Declined,
    /// The path as text, brackets included or not, and the parameters.
    Path(String, Params),
    /// The client gets 501 with this text.
    Refused(String),
}

/// A client that was accepted but has no process yet: what `pre-connection` handlers see.
///
/// They run in the parent, while nobody else is served, so they get nothing that could block.
pub struct Incoming<'a> {
    /// The client's address; IPv4 clients of a dual-stack listener have their IPv4 address.
    pub remote_ip: IpAddr,
    /// The client's port.
    pub remote_port: u16,
    /// The address it connected to.
    pub local_ip: IpAddr,
    /// The port it connected to.
    pub local_port: u16,
    /// How many connections one address may have; 0 for any number.
    pub limit_per_address: usize,
    /// The addresses of all clients that are being served.
    pub connected: &'a [IpAddr],
    /// Does it come on behalf of others, or from this machine?  It is a proxy, or came by a path in the
    /// file system: nothing that is about one address holds it.
    pub is_free: bool,
    config: &'a Config,
    lines: RefCell<Vec<(Level, String)>>,
}

impl<'a> Incoming<'a> {
    /// A client with `remote` and `local` address and port.
    pub fn new(
        remote: (IpAddr, u16),
        local: (IpAddr, u16),
        limit_per_address: usize,
        connected: &'a [IpAddr],
        config: &'a Config,
    ) -> Incoming<'a> {
        Incoming {
            remote_ip: remote.0,
            remote_port: remote.1,
            local_ip: local.0,
            local_port: local.1,
            limit_per_address,
            connected,
            is_free: false,
            config,
            lines: RefCell::default(),
        }
    }

    /// How many connections `ip` has already.
    pub fn connections_from(&self, ip: IpAddr) -> usize {
        self.connected.iter().filter(|known| **known == ip).count()
    }

    /// A configuration file.
    pub fn config(&self, name: &str) -> Lines {
        let lines = self.config.list(name);
        self.log_config_problems();
        lines
    }

    /// What a plugin derived from a configuration file, see [`super::Hooks::derived`].
    pub fn derived<T: 'static>(&self, derived: &Derived<T>) -> Rc<T> {
        let value = derived.of(&self.config.list(derived.name()));
        self.log_config_problems();
        value
    }

    pub(crate) fn plain_config(&self) -> &Config {
        self.config
    }

    /// Writes to the log.
    pub fn log(&self, level: Level, text: impl fmt::Display) {
        self.lines.borrow_mut().push((level, text.to_string()));
    }

    fn log_config_problems(&self) {
        for problem in self.config.take_problems() {
            self.log(Level::Error, problem);
        }
    }

    pub(crate) fn take_lines(&self) -> Vec<(Level, String)> {
        self.lines.take()
    }
}

/// The digest of a challenge in hexadecimal (RFC 2195 2).
pub(crate) fn cram_md5(password: &str, ticket: &str) -> Option<String> {
    let mut mac = Hmac::<Md5>::new_from_slice(password.as_bytes()).ok()?;
    mac.update(ticket.as_bytes());
    Some(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let credentials = Credentials {
            mechanism: "plain",
            user: "u",
            password: Some(Secret::new(b"hunter2")),
            hash: None,
            ticket: "",
        };
        assert!(!format!("{credentials:?}").contains("hunter2"));
        assert!(!format!("{credentials:?}").contains("104"));
    }

    #[test]
    fn passwords_and_digests_are_compared() {
        let mut credentials = Credentials {
            mechanism: "cram-md5",
            user: "tim",
            password: None,
            hash: None,
            ticket: "<1896.697170952@postoffice.reston.mci.net>",
        };
        assert!(!credentials.matches("tanstaaftanstaaf"));
        // The example of RFC 2195 2.
        for digest in ["b913a602c7eda7a495b4e6e7334d3890", "B913A602C7EDA7A495B4E6E7334D3890"] {
            credentials.hash = Some(Secret::new(digest.as_bytes()));
            assert!(credentials.matches("tanstaaftanstaaf"));
            assert!(!credentials.matches("tanstaaftanstaa"));
        }
        credentials.password = Some(Secret::new(b"secret"));
        assert!(credentials.matches("secret") && !credentials.matches("Secret"));
        credentials.password = Some(Secret::new(b""));
        assert!(!credentials.matches(""));
    }
}
