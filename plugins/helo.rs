//! ```text
//! NAME
//!     helo - judges clients by the name in their HELO or EHLO
//!
//! SYNOPSIS
//!     helo [policy lenient|rfc|strict] [reject 0|1|naughty] [reject_type TYPE]
//!
//! DESCRIPTION
//!     Refuses a client whose name in HELO or EHLO cannot be right.  Each policy includes all
//!     checks of those before it:
//!
//!     lenient
//!         a name in config/badhelo            "I do not believe you are NAME."
//!         a pattern in config/badhelo         "Your HELO hostname is not allowed"
//!         localhost from elsewhere            "You are not localhost"
//!         another address in brackets         "Forged IPs not accepted here"
//!         an address without brackets         "Plain IP is invalid HELO hostname (RFC 2821)"
//!
//!     rfc
//!         a name without a dot                "HELO name is not fully qualified. Read RFC 2821"
//!         a character that no name has        "HELO name contains invalid FQDN characters. Read
//!                                             RFC 1035"
//!         a name without an address           "HELO hostname does not exist", or "HELO hostname did
//!                                             not resolve" if there is one without an address
//!         an address without a name           "no rDNS for IP", or "no reverse DNS for IP"
//!
//!     strict
//!         any address in brackets             "RFC 2821 allows an address literal, but we do not"
//!         name and address are of others      "That HELO hostname fails FCrDNS"
//!
//!     The addresses of the name and the names of the address are looked up at the same time.
//!     Nobody is refused because a look-up failed.  Name and address belong together if an address
//!     of the name is in the same /24 (IPv6: /64) as the client's address, or if a name of the
//!     address has the same last two labels.  For a client on this machine nothing is looked up.
//!
//!     Mail programs that people use often send a name without a dot.  If they use this server, do not
//!     choose rfc or strict, or choose them only with reject 0, or with reject naughty so that the
//!     programs can authenticate first.  A client that may relay or is on a white list is not
//!     tested.
//!
//!     Every message gets a header field X-HELO with the client's name; it replaces any X-HELO that
//!     came with the message.
//!
//!     IPv6 addresses are tested like IPv4 addresses.  The Perl plugin of the same name stops
//!     reading badhelo at the first pattern, knows no IPv6, ignores reject_type, and in version
//!     1.00 calls an address without brackets forged.
//!
//! ARGUMENTS
//!     policy           lenient, rfc or strict; lenient by default
//!     reject 1         refuse the client; the default
//!     reject 0         refuse nothing; write to the log what would be refused
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     reject_type      perm, temp, disconnect or temp_disconnect; disconnect by default
//!     dns_timeout      without effect: how long look-ups may take says config/dns_timeout
//!
//! CONFIG
//!     badhelo   one of these per line; case does not matter
//!
//!                   aol.com                a name
//!                   \.dyn\.example$        a regular expression: what it matches is refused
//!                   !^[a-z0-9.\[\]:-]+$    with ! before it: what it does not match is refused
//!
//!     An entry with one of the characters { } [ ] ( ) ^ $ | * + ? \ ! is a regular expression of
//!     the Rust crate regex: it has no look-around and no backreferences.  An entry that does not
//!     compile, or is neither an expression nor a name, is skipped, and reported in the log with
//!     its place.
//!
//! NOTES
//!     helo_forward_match   on the connection, with policy rfc or strict: an address of the name is
//!                          near the client's
//!     helo_reverse_match   the same: a name of the address is like the one in HELO
//!
//! SEE ALSO
//!     fcrdns, earlytalker, naughty, badmailfrom
//! ```

mod names;

use std::net::IpAddr;

use regex::Regex;

use crate::config::Lines;
use crate::error::{Error, Result};
use crate::hook::{Args, Code, DECLINED, Hooks, Session};
use crate::log::Level;
use crate::mail::entries;
use crate::mail::host;
use crate::mail::patterns::compile;
use crate::state::Note;

use self::names::Names;

const FORWARD_MATCH: Note<bool> = Note::new("helo_forward_match");
const REVERSE_MATCH: Note<bool> = Note::new("helo_reverse_match");

/// The policies; each has the checks of those before it.
const POLICIES: [(&str, usize); 3] = [("lenient", 0), ("rfc", 1), ("strict", 2)];

/// The characters that make a line of badhelo a regular expression.
const SPECIAL: &[char] = &['{', '}', '[', ']', '(', ')', '^', '$', '|', '*', '+', '?', '\\', '!'];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["policy", "dns_timeout"])?;
    args.parsed("dns_timeout", 0u64)?;
    let policy = args.one_of("policy", &POLICIES, 0)?;
    let badhelo = hooks.derived_checked("badhelo", BadHelo::parse);
    hooks.hello(move |session, host| {
        if session.is_immune() {
            return DECLINED;
        }
        let fault = session.derived(&badhelo).fault(host);
        let ip = session.connection.remote_ip;
        let fault = fault.or_else(|| {
            CHECKS.iter().find_map(|(from, check)| {
                let (text, detail) = (*from <= policy).then(|| check(host, ip))??;
                Some((text.to_owned(), detail.to_owned()))
            })
        });
        let fault = fault.or_else(|| in_dns(session, host, policy));
        let Some((text, detail)) = fault else {
            return session.pass("");
        };
        session.adjust_karma(-1);
        session.get_reject_as(Code::DenyDisconnect, &text, detail)
    });
    hooks.data_post(|session| {
        // What is outside ASCII is no name, and not every message may have it in its header section.
        let name = session.connection.hello_host.replace(|c: char| !c.is_ascii(), "?");
        let header = &mut session.transaction.header;
        header.delete("X-HELO");
        header.add_at(0, "X-HELO", &name);
    });
    Ok(())
}

/// What the domain name system says of the name and the client's address, where the policy asks
/// for that: a text for the client, and one for the log.
fn in_dns(session: &mut Session, name: &str, policy: usize) -> Option<(String, String)> {
    let ip = session.connection.remote_ip;
    if policy == 0 || ip.is_loopback() {
        return None;
    }
    let name = inside_brackets(name).is_none().then_some(name);
    let names = Names::look_up(&session.dns(), name, ip);
    let notes = &mut session.connection.notes;
    notes.set(FORWARD_MATCH, names.forward_match);
    notes.set(REVERSE_MATCH, names.reverse_match);
    if let Some(why) = names.failure() {
        session.log(Level::Info, format_args!("a look-up failed: {why}"));
    }
    let fault = names.fault(policy == 2);
    if policy == 2 && fault.is_none() && names.forward_match && names.reverse_match {
        session.adjust_karma(1);
    }
    fault.map(|(text, detail)| (text, detail.to_owned()))
}

/// What is wrong with a name from that address: a text for the client, and one for the log.
type Check = fn(&str, IpAddr) -> Option<(&'static str, &'static str)>;

/// The checks in their order, each with the first policy that has it.
const CHECKS: [(usize, Check); 5] =
    [(0, false_localhost), (0, forged_literal), (0, plain_ip), (1, not_fqdn), (2, literal)];

fn false_localhost(host: &str, ip: IpAddr) -> Option<(&'static str, &'static str)> {
    let is_false = host::same(host, "localhost") && !ip.is_loopback();
    is_false.then_some(("You are not localhost", "invalid localhost"))
}

fn forged_literal(host: &str, ip: IpAddr) -> Option<(&'static str, &'static str)> {
    let inside = inside_brackets(host)?;
    let is_own = address(inside).is_some_and(|claimed| claimed.to_canonical() == ip);
    (!is_own).then_some(("Forged IPs not accepted here", "forged IP literal"))
}

fn plain_ip(host: &str, _ip: IpAddr) -> Option<(&'static str, &'static str)> {
    is_address(host).then_some(("Plain IP is invalid HELO hostname (RFC 2821)", "plain IP"))
}

fn not_fqdn(host: &str, _ip: IpAddr) -> Option<(&'static str, &'static str)> {
    if inside_brackets(host).is_some() {
        return None;
    }
    if !host.contains('.') {
        return Some(("HELO name is not fully qualified. Read RFC 2821", "not FQDN"));
    }
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let text = "HELO name contains invalid FQDN characters. Read RFC 1035";
    (!host.chars().all(in_name)).then_some((text, "invalid FQDN chars"))
}

fn literal(host: &str, _ip: IpAddr) -> Option<(&'static str, &'static str)> {
    inside_brackets(host)?;
    Some(("RFC 2821 allows an address literal, but we do not", "bracketed IP"))
}

/// The address, right or wrong, of an address literal (RFC 5321 4.1.3), without its tag.
fn inside_brackets(host: &str) -> Option<&str> {
    let inside = host.strip_prefix('[')?.strip_suffix(']')?;
    let (tag, rest) = inside.split_at_checked("IPv6:".len()).unwrap_or(("", inside));
    let inside = if tag.eq_ignore_ascii_case("IPv6:") { rest } else { inside };
    is_address(inside).then_some(inside)
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Is it an address, or four numbers that look like one?
fn is_address(text: &str) -> bool {
    let is_number =
        |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    address(text).is_some() || (text.split('.').count() == 4 && text.split('.').all(is_number))
}

/// config/badhelo, in order.
struct BadHelo(Vec<Entry>);

enum Entry {
    /// A name as [`host::canonical`] has it.
    Name(String),
    /// A pattern, whether it is one that names have to match, and how it was written.
    Pattern(Regex, bool, String),
}

impl BadHelo {
    fn parse(lines: &Lines, problems: &mut Vec<Error>) -> BadHelo {
        BadHelo(lines.read_each(problems, |line| {
            if !line.text.contains(SPECIAL) {
                return Ok(Entry::Name(entries::single_host(line.word_and_rest().0)?));
            }
            let must = line.text.strip_prefix('!');
            let pattern = must.unwrap_or(&line.text);
            let regex = compile(pattern)?;
            Ok::<_, Error>(Entry::Pattern(regex, must.is_some(), pattern.to_owned()))
        }))
    }

    /// What the first entry that fits says: a text for the client, and one for the log.
    fn fault(&self, host: &str) -> Option<(String, String)> {
        let (name, unicode) = (host::canonical(host), host::unicode(host));
        let is_match = |regex: &Regex| regex.is_match(&name) || regex.is_match(&unicode);
        self.0.iter().find_map(|entry| match entry {
            Entry::Name(bad) => (*bad == name)
                .then(|| (format!("I do not believe you are {host}."), "in badhelo".to_owned())),
            Entry::Pattern(regex, must, pattern) => (is_match(regex) != *must).then(|| {
                let detail = format!("badhelo pattern match ({pattern})");
                ("Your HELO hostname is not allowed".to_owned(), detail)
            }),
        })
    }
}

#[cfg(test)]
mod tests;
