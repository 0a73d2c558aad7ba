//! The path of an envelope: whom a message comes from, or whom it is for (RFC 5321 4.1.2,
//! RFC 6531).

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::str::FromStr;

use super::host::{self, is_host, is_international};
use super::route::is_route;

/// The longest path that is read, in octets with its brackets.
const MAX_PATH: usize = 1000;

/// The longest local part, in octets without its quoting. RFC 5321 4.5.3.1.1 says 64; real
/// senders use more.
const MAX_USER: usize = 255;

/// A reverse-path or a forward-path: a local part and a host, both without quoting.
///
/// The null reverse-path `<>` has neither, `<postmaster>` has no host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Address {
    user: String,
    host: String,
}

/// A text that is no path in the sense of RFC 5321 4.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPath;

impl Address {
    /// Reads a path as it stands in a command, brackets included (RFC 5321 4.1.2, RFC 6531 3.3).
    ///
    /// A source route is read and dropped. Dots may stand anywhere in the local part, because they
    /// do in real addresses.
    ///
    /// # Errors
    /// [`BadPath`]: the grammar does not know such a path.
    pub fn parse(path: &str) -> Result<Address, BadPath> {
        read_path(path).ok_or(BadPath)
    }

    /// An address of an unquoted local part and a host; the host may be empty.
    ///
    /// The grammar is not checked, but characters that would end the path early cannot get in:
    /// control characters are left out, and from the host also white space and angle brackets.
    pub fn new(user: &str, host: &str) -> Address {
        Address { user: clean_user(user), host: clean_host(host) }
    }

    /// The null reverse-path `<>`, the sender of bounces (RFC 5321 4.5.5).
    pub fn null() -> Address {
        Address::default()
    }

    /// Whether this is the null reverse-path.
    pub fn is_null(&self) -> bool {
        self.user.is_empty() && self.host.is_empty()
    }

    /// The local part without quoting; empty for the null reverse-path.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The domain or the address literal with its square brackets, as it was given; empty where
    /// there is none.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `user@host` without quoting and brackets, for look-ups and logs; empty for the null
    /// reverse-path.
    ///
    /// For the wire use [`Display`](fmt::Display), which quotes.
    pub fn address(&self) -> String {
        if self.host.is_empty() {
            self.user.clone()
        } else {
            format!("{}@{}", self.user, self.host)
        }
    }

    /// As [`Display`](fmt::Display) has it, in a text with room for that from the start.
    pub fn path(&self) -> String {
        // Brackets and @, and quotes where they are needed.
        let mut path = String::with_capacity(self.user.len() + self.host.len() + 5);
        write!(path, "{self}").expect("a String takes any text");
        path
    }

    /// The host as [`host::canonical`] has it, for comparisons and look-ups.
    pub fn canonical_host(&self) -> Cow<'_, str> {
        host::canonical(&self.host)
    }

    /// `user@host` as lists and maps are searched for it: the local part in lower case, the host as
    /// [`host::canonical`] has it.
    pub fn key(&self) -> String {
        format!("{}@{}", self.user.to_lowercase(), self.canonical_host())
    }

    /// The same address with another local part, unquoted; cleaned as in [`Address::new`].
    pub fn with_user(&self, user: &str) -> Address {
        Address { user: clean_user(user), host: self.host.clone() }
    }

    /// The same address with another host, which may be empty; cleaned as in [`Address::new`].
    pub fn with_host(&self, host: &str) -> Address {
        Address { user: self.user.clone(), host: clean_host(host) }
    }

    /// Whether the local part could be read by a later hop as an address elsewhere, as
    /// `user%elsewhere`, `elsewhere!user` and `"user@elsewhere"` can.
    pub fn is_route(&self) -> bool {
        is_route(&self.user)
    }

    /// Whether the path is pure ASCII. One that is not needs SMTPUTF8 (RFC 6531 3.4).
    pub fn is_ascii(&self) -> bool {
        self.user.is_ascii() && self.host.is_ascii()
    }
}

/// The path as it goes on the wire, in angle brackets, the local part quoted where it has to be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_null() {
            return f.write_str("<>");
        }
        f.write_char('<')?;
        if is_dot_string(&self.user) {
            f.write_str(&self.user)?;
        } else {
            f.write_char('"')?;
            for c in self.user.chars() {
                if matches!(c, '"' | '\\') {
                    f.write_char('\\')?;
                }
                f.write_char(c)?;
            }
            f.write_char('"')?;
        }
        if !self.host.is_empty() {
            write!(f, "@{}", self.host)?;
        }
        f.write_char('>')
    }
}

impl FromStr for Address {
    type Err = BadPath;

    fn from_str(path: &str) -> Result<Address, BadPath> {
        Address::parse(path)
    }
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a path of the form <user@host>")
    }
}

impl std::error::Error for BadPath {}

fn read_path(path: &str) -> Option<Address> {
    let inner = path.strip_prefix('<')?.strip_suffix('>')?;
    if inner.is_empty() {
        return Some(Address::null());
    }
    if path.len() > MAX_PATH {
        return None;
    }
    let mailbox = without_route(inner)?;
    // The one name that needs no domain (RFC 5321 4.5.1).
    if mailbox.eq_ignore_ascii_case("postmaster") {
        return Some(Address { user: "postmaster".into(), host: String::new() });
    }
    let (user, rest) = read_local_part(mailbox)?;
    let host = rest.strip_prefix('@')?;
    let good = !user.is_empty() && user.len() <= MAX_USER && is_host(host);
    good.then(|| Address { user, host: host.to_owned() })
}

/// What follows a source route `@one,@two:`, or the whole path where there is none.
fn without_route(mut path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    loop {
        path = path.strip_prefix('@')?;
        // A literal has colons of its own.
        let end = if path.starts_with('[') { path.find(']')? + 1 } else { path.find([',', ':'])? };
        let (host, rest) = path.split_at(end);
        if !is_host(host) {
            return None;
        }
        if let Some(mailbox) = rest.strip_prefix(':') {
            return Some(mailbox);
        }
        path = rest.strip_prefix(',')?;
    }
}

/// The local part without its quoting, and what follows it.
fn read_local_part(mailbox: &str) -> Option<(String, &str)> {
    let Some(quoted) = mailbox.strip_prefix('"') else {
        let end = mailbox.find(|c| !in_dot_string(c))?;
        let (user, rest) = mailbox.split_at(end);
        return is_dot_string(user).then(|| (user.to_owned(), rest));
    };
    let mut user = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((user, chars.as_str())),
            // quoted-pairSMTP: any printable ASCII character, and no other.
            '\\' => user.push(chars.next().filter(|c| matches!(c, ' '..='~'))?),
            c if c.is_control() => return None,
            c => user.push(c),
        }
    }
}

/// RFC 5321 Dot-string, and more dots than that has: behind the first character they are taken as
/// senders write them.
fn is_dot_string(user: &str) -> bool {
    !user.is_empty() && !user.starts_with('.') && user.chars().all(in_dot_string)
}

/// A character of RFC 5321 Dot-string: atext of RFC 5322 and RFC 6531, or a dot.
fn in_dot_string(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(c) || is_international(c)
}

fn clean_user(user: &str) -> String {
    user.chars().filter(|c| !c.is_control()).collect()
}

fn clean_host(host: &str) -> String {
    host.chars()
        .filter(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, '<' | '>'))
        .collect()
}

#[cfg(test)]
mod tests;
