//! What a line of a list of hosts or addresses can be, for all plugins that read such lists.
//!
//! Each function reads one word of a list and gives it as it is looked up: the local part in lower
//! case, the host as [`host::canonical`] has it.  The error names what is wrong with a word that would
//! never fit anything, and what to write instead.

use std::collections::HashSet;

use crate::config::Lines;
use crate::error::Error;
use crate::mail::host::{self, is_host};

/// Reads one word; the error is for people.
pub(crate) type Read = fn(&str) -> Result<String, String>;

/// The first word of each line as `read` has it.  What cannot be read goes to `problems` with its
/// place.
pub(crate) fn first_words(lines: &Lines, problems: &mut Vec<Error>, read: Read) -> HashSet<String> {
    lines.read_each(problems, |line| read(line.word_and_rest().0)).into_iter().collect()
}

/// `example.com`, or `.example.com` for all subdomains.
pub(crate) fn domain(word: &str) -> Result<String, String> {
    let name = word.strip_prefix('.').unwrap_or(word);
    if let Some(parent) = word.strip_prefix("*.") {
        return Err(format!("not a domain: '{word}' (.{parent} means all subdomains)"));
    }
    plain(name).map(|()| host::canonical(word).into_owned())
}

/// `example.com`.
pub(crate) fn single_host(word: &str) -> Result<String, String> {
    if let Some(parent) = word.strip_prefix("*.").or(word.strip_prefix('.')) {
        return Err(format!(
            "not a host: '{word}' (each subdomain of {parent} needs its own line)"
        ));
    }
    plain(word).map(|()| host::canonical(word).into_owned())
}

/// `user@example.com`.
pub(crate) fn address(word: &str) -> Result<String, String> {
    match word.rsplit_once('@') {
        Some((user, name)) if !user.is_empty() && is_name(name) => Ok(host::address_key(word)),
        _ => Err(format!("not an address: '{word}' (user@example.com is one)")),
    }
}

/// `user@example.com` or `example.com`.
pub(crate) fn address_or_host(word: &str) -> Result<String, String> {
    if word.contains('@') && !word.starts_with('@') { address(word) } else { single_host(word) }
}

/// `user@example.com` or `@example.com`.
pub(crate) fn address_or_at_host(word: &str) -> Result<String, String> {
    match word.strip_prefix('@') {
        Some(name) if is_name(name) => Ok(host::address_key(word)),
        Some(name) => {
            let why = single_host(name).err().unwrap_or_default();
            Err(format!("neither an address nor @host: '{word}': {why}"))
        }
        None if is_name(word) => Err(format!("no @ sign in '{word}' (@{word} means the host)")),
        None => address(word),
    }
}

fn plain(name: &str) -> Result<(), String> {
    match name.rsplit_once('@') {
        _ if is_name(name) => Ok(()),
        Some((_, host)) if is_name(host) => Err(format!("not a host: '{name}' ({host} is one)")),
        _ => Err(format!("not a host: '{name}'")),
    }
}

fn is_name(name: &str) -> bool {
    is_host(&host::canonical(name)) && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_looked_up() {
        for (read, word, found) in [
            (domain as Read, "Example.com.", "example.com"),
            (domain, ".Example.com", ".example.com"),
            (domain, "b\u{fc}cher.example", "xn--bcher-kva.example"),
            (domain, ".b\u{fc}cher.example", ".xn--bcher-kva.example"),
            (domain, "localhost", "localhost"),
            (domain, "[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
            (single_host, "My_Host.test.", "my_host.test"),
            (address, "Bob@Example.COM.", "bob@example.com"),
            (address, "\"a@b\"@Example.COM", "\"a@b\"@example.com"),
            (address_or_host, "Bob@Example.COM", "bob@example.com"),
            (address_or_host, "Example.COM", "example.com"),
            (address_or_at_host, "Bob@Example.COM", "bob@example.com"),
            (address_or_at_host, "@B\u{fc}cher.Example.", "@xn--bcher-kva.example"),
        ] {
            assert_eq!(read(word).as_deref(), Ok(found), "{word}");
        }
    }

    #[test]
    fn a_word_that_would_fit_nothing_is_named_with_what_to_write() {
        for (read, word, text) in [
            (domain as Read, "*.wild.test", ".wild.test means all subdomains"),
            (domain, "@at.test", "not a host: '@at.test' (at.test is one)"),
            (domain, "bob@at.test", "(at.test is one)"),
            (domain, "http://at.test", "not a host: 'http://at.test'"),
            (domain, "at.test:25", "not a host"),
            (domain, ".", "not a host"),
            (domain, "a..test", "not a host"),
            // What is read of a line that is not UTF-8.
            (domain, "b\u{fffd}cher.test", "not a host"),
            (domain, "\"at.test\"", "not a host"),
            (single_host, ".wild.test", "each subdomain of wild.test needs its own line"),
            (single_host, "*.wild.test", "each subdomain of wild.test needs its own line"),
            (address, "at.test", "not an address: 'at.test'"),
            (address, "@at.test", "an address"),
            (address, "bob@", "an address"),
            (address_or_host, "@at.test", "(at.test is one)"),
            (address_or_host, "*.wild.test", "needs its own line"),
            (address_or_at_host, "at.test", "no @ sign in 'at.test' (@at.test means the host)"),
            (address_or_at_host, "@.wild.test", "each subdomain of wild.test needs its own line"),
            (address_or_at_host, "nonsense(", "an address"),
        ] {
            let found = read(word).unwrap_err();
            assert!(found.contains(text), "{word}: {found}");
        }
    }
}
