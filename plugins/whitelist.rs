//! ```text
//! NAME
//!     whitelist - exempts hosts, senders and recipients from the tests of other plugins
//!
//! SYNOPSIS
//!     whitelist
//!     whitelist per_recipient 1 [merge 0|1]
//!
//! DESCRIPTION
//!     Accepts what is on a white list, so that at that hook the plugins after this one are not
//!     asked:
//!
//!     connect      a client in config/whitelisthosts, or any client if the environment variable
//!                  WHITELISTCLIENT is set, which tcpserver can do for some clients
//!     helo, ehlo   a name in config/whitelisthelo
//!     mail         a sender in config/whitelistsenders
//!     rcpt         a recipient in config/whitelistrcpt
//!
//!     Place it before the plugins from which it has to exempt.  Other plugins can also see the
//!     notes that it sets: most plugins that refuse leave a client in whitelisthosts and a sender
//!     in whitelistsenders alone at all hooks.
//!
//!     rcpt_ok is one of these: clients in whitelisthosts may send to every recipient, not only to
//!     ours.  Senders and names in HELO are different, because anybody can give them: they are
//!     exempt from tests, but their mail is accepted only for our domains.  With the Perl plugins
//!     of the same names a sender in whitelistsenders may send to every recipient.
//!
//!     With per_recipient 1 everything is decided for each recipient, by the recipient's own lists
//!     (see the plugin user_config), and with merge 1 by the server's lists as well.  A recipient's
//!     own list accepts mail to that recipient and sets no notes; with the Perl plugin of the same
//!     name it exempts the rest of the session, other recipients included.  A recipient that is in
//!     none of our domains, as rcpt_ok knows them, is accepted only if the client is in the
//!     server's whitelisthosts, or the recipient in the server's whitelistrcpt.
//!
//!     An address in whitelisthosts stands only for itself, and 10.1 is read as 10.1.; with the
//!     Perl plugin of the same name 192.0.2.1 also matches 192.0.2.17, and 10.1 matches 10.100.0.1.
//!
//! ARGUMENTS
//!     per_recipient 1   decide for each recipient; 0 by default
//!     merge 1           with per_recipient 1: the server's lists always count; the default
//!     merge 0           with per_recipient 1: the server's list counts only for recipients that
//!                       have none of their own
//!
//! CONFIG
//!     whitelisthosts    one address, network, or beginning of an address per line, IPv4 or IPv6
//!
//!                           192.0.2.1
//!                           198.51.100.0/24
//!                           2001:db8:7::/48
//!                           10.1.
//!
//!     whitelisthelo     one name per line
//!     whitelistsenders  one address or host per line: user@example.net or example.net
//!     whitelistrcpt     one address or host per line
//!
//!     Case does not matter, and only the first word of a line counts.  A line that is none of
//!     these is skipped, and reported in the log.
//!
//! NOTES
//!     whitelistclient, whitelisthost, whitelisthelo   on the connection: 1
//!     whitelistsender                                 on the transaction: 1
//!     whitelistrcpt                                   on the transaction: how many recipients are
//!                                                     on the list
//!
//! SEE ALSO
//!     user_config, relay, rcpt_ok
//! ```

use std::collections::HashSet;
use std::env;
use std::net::IpAddr;

use crate::config::{Lines, network};
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, OK, Session, Verdict, WHITELISTHOST, WHITELISTSENDER};
use crate::log::Level;
use crate::mail::entries::{self, first_words};
use crate::mail::patterns::is_whole;
use crate::mail::{Address, host};
use crate::plugins::rcpt_ok::Ours;
use crate::settings::Networks;
use crate::state::Note;

/// 1 if the environment variable WHITELISTCLIENT is set; a note of the connection.
pub const WHITELISTCLIENT: Note<i64> = Note::new("whitelistclient");
/// 1 if the client's name is on the list; a note of the connection.
pub const WHITELISTHELO: Note<i64> = Note::new("whitelisthelo");
/// How many recipients are on the list; a note of the transaction.
pub const WHITELISTRCPT: Note<i64> = Note::new("whitelistrcpt");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    register_with(hooks, args, env::var_os("WHITELISTCLIENT").is_some())
}

fn register_with(hooks: &mut Hooks, args: &Args, by_environment: bool) -> Result<()> {
    args.only(&["per_recipient", "merge"])?;
    let hosts = hooks.derived_checked("whitelisthosts", Hosts::parse);
    let [names, senders, recipients] = ["whitelisthelo", "whitelistsenders", "whitelistrcpt"]
        .map(|name| hooks.derived_checked(name, reader(name)));
    if args.flag("per_recipient", false) {
        let merge = args.flag("merge", true);
        let ours = Ours::new(hooks);
        hooks.rcpt(move |session, recipient, _params| {
            let is_ours = ours.has(session, recipient).is_some();
            if by_environment {
                return accept_if(is_ours, session, Found::Client);
            }
            for list in &LISTS {
                let (own, has_own) = own_list(session, recipient, list);
                if is_ours && has_own && list.contains(&own, session, recipient) {
                    session.pass(format_args!("{recipient} has it in {}", list.file));
                    return OK;
                }
                let server = if has_own { session.config(list.file) } else { own };
                if (merge || !has_own) && list.contains(&server, session, recipient) {
                    return accept_if(is_ours, session, list.found);
                }
            }
            DECLINED
        });
        return Ok(());
    }
    hooks.connect(move |session| {
        let ip = session.connection.remote_ip;
        if by_environment {
            return accept(session, Found::Client);
        }
        if session.derived(&hosts).contain(ip) {
            return accept(session, Found::Host);
        }
        session.log(Level::Debug, format_args!("skip, {ip} is not whitelisted"));
        DECLINED
    });
    hooks.hello(move |session, host| {
        let is_listed = session.derived(&names).contains(&*host::canonical(host));
        if is_listed { accept(session, Found::Name) } else { DECLINED }
    });
    hooks.mail(move |session, sender, _params| {
        let is_listed = has_address(&session.derived(&senders), sender);
        if is_listed { accept(session, Found::Sender) } else { DECLINED }
    });
    hooks.rcpt(move |session, recipient, _params| {
        let is_listed = has_address(&session.derived(&recipients), recipient);
        if is_listed { accept(session, Found::Recipient) } else { DECLINED }
    });
    Ok(())
}

/// What was found on a list.
#[derive(Clone, Copy)]
enum Found {
    Client,
    Host,
    Name,
    Sender,
    Recipient,
}

/// Leaves the note that goes with it.
fn accept(session: &mut Session, found: Found) -> Verdict {
    let why = match found {
        Found::Client => {
            session.connection.notes.set(WHITELISTCLIENT, 1);
            session.adjust_karma(5);
            "is whitelisted client"
        }
        Found::Host => {
            session.connection.notes.set(WHITELISTHOST, "1".into());
            session.adjust_karma(5);
            "is a whitelisted host"
        }
        Found::Name => {
            session.connection.notes.set(WHITELISTHELO, 1);
            "helo host in whitelisthelo"
        }
        Found::Sender => {
            session.transaction.notes.set(WHITELISTSENDER, "1".into());
            "envelope sender in whitelistsenders"
        }
        Found::Recipient => {
            let count = session.transaction.notes.get(WHITELISTRCPT).unwrap_or(0) + 1;
            session.transaction.notes.set(WHITELISTRCPT, count);
            "recipient in whitelistrcpt"
        }
    };
    session.pass(why);
    OK
}

/// The same for a recipient: one that is not ours is accepted for the client's address or the
/// recipient's own, and not for what a stranger can claim.
fn accept_if(is_ours: bool, session: &mut Session, found: Found) -> Verdict {
    let verdict = accept(session, found);
    if is_ours || matches!(found, Found::Host | Found::Recipient) { verdict } else { DECLINED }
}

/// One of the four lists, as it is searched for a recipient.
struct List {
    file: &'static str,
    found: Found,
    has: fn(&Lines, &Session, &Address) -> bool,
}

const LISTS: [List; 4] = [
    List {
        file: "whitelisthosts",
        found: Found::Host,
        has: |lines, session, _| {
            Hosts::parse(lines, &mut vec![]).contain(session.connection.remote_ip)
        },
    },
    List {
        file: "whitelisthelo",
        found: Found::Name,
        has: |lines, session, _| {
            let name = host::canonical(&session.connection.hello_host);
            reader("whitelisthelo")(lines, &mut vec![]).contains(&*name)
        },
    },
    List {
        file: "whitelistsenders",
        found: Found::Sender,
        has: |lines, session, _| {
            let sender = session.transaction.sender();
            let words = reader("whitelistsenders")(lines, &mut vec![]);
            sender.is_some_and(|sender| has_address(&words, sender))
        },
    },
    List {
        file: "whitelistrcpt",
        found: Found::Recipient,
        has: |lines, _, recipient| {
            has_address(&reader("whitelistrcpt")(lines, &mut vec![]), recipient)
        },
    },
];

impl List {
    fn contains(&self, lines: &Lines, session: &Session, recipient: &Address) -> bool {
        !lines.is_empty() && (self.has)(lines, session, recipient)
    }
}

/// The list that counts for a recipient, and whether it is one of its own.
fn own_list(session: &mut Session, recipient: &Address, list: &List) -> (Lines, bool) {
    let server = session.config(list.file);
    let lines = session.config_for(recipient, list.file);
    let is_own = !lines.same(&server) && !lines.iter().eq(server.iter());
    (lines, is_own)
}

/// What reads the list `name`, which is no list of clients' addresses.
fn reader(name: &str) -> fn(&Lines, &mut Vec<Error>) -> HashSet<String> {
    match name {
        "whitelisthelo" => |lines, problems| first_words(lines, problems, entries::single_host),
        _ => |lines, problems| first_words(lines, problems, entries::address_or_host),
    }
}

fn has_address(words: &HashSet<String>, address: &Address) -> bool {
    is_whole(address)
        && (words.contains(&address.key()) || words.contains(&*address.canonical_host()))
}

/// config/whitelisthosts.
struct Hosts {
    networks: Networks,
    /// Beginnings of addresses, in lower case, each with a dot or a colon at its end.
    beginnings: Vec<String>,
}

impl Hosts {
    fn parse(lines: &Lines, problems: &mut Vec<Error>) -> Hosts {
        let (mut networks, mut beginnings) = (vec![], vec![]);
        for line in lines.entries() {
            let word = line.text.split_whitespace().next().unwrap_or_default();
            let in_address = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
            if let Some(network) = network(word) {
                networks.push(network);
            } else if word.chars().all(in_address) && !word.is_empty() {
                let end = if word.contains(':') { ':' } else { '.' };
                beginnings.push(word.trim_end_matches(end).to_lowercase() + &end.to_string());
            } else {
                let text = format!(
                    "neither an address, nor the beginning of one, nor a network: '{word}'"
                );
                problems.push(Error::at(&line.file, line.number, text));
            }
        }
        Hosts { networks: networks.into_iter().collect(), beginnings }
    }

    fn contain(&self, ip: IpAddr) -> bool {
        let text = ip.to_string();
        self.networks.contains(ip)
            || self.beginnings.iter().any(|beginning| text.starts_with(beginning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Call, Hook, KARMA};
    use crate::testing::Trial;

    #[test]
    fn hosts_are_addresses_networks_and_beginnings() {
        for (entry, ip, found) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.17", false),
            ("192.0.2.1 the gateway", "192.0.2.1", true),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.", "192.0.2.255", true),
            ("10.1", "10.1.2.3", true),
            ("10.1", "10.100.2.3", false),
            ("10", "10.100.2.3", true),
            ("10", "100.1.2.3", false),
            ("2001:db8", "2001:db8:7::1", true),
            ("2001:db8", "2001:db80::1", false),
            ("10.1.", "10.100.2.3", false),
            ("10.1.", "110.1.2.3", false),
            ("10.1.0.0/24", "10.1.0.0", true),
            ("10.1.0.0/24", "10.1.0.255", true),
            ("10.1.0.0/24", "10.1.1.0", false),
            ("2001:DB8::1", "2001:db8::1", true),
            ("2001:DB8:", "2001:db8:7::1", true),
            ("2001:db8:7::/48", "2001:db8:7:ffff::1", true),
            ("2001:db8:7::/48", "2001:db8:8::1", false),
        ] {
            let mut trial = Trial::new("whitelist", &[("whitelisthosts", entry)]).from_ip(ip);
            let verdict = trial.plain(Hook::Connect);
            assert_eq!(verdict, if found { OK } else { DECLINED }, "{entry} for {ip}");
            assert_eq!(trial.session.connection.notes.is_true(WHITELISTHOST), found);
            assert_eq!(trial.session.connection.notes.get(KARMA), found.then_some(5));
            assert_eq!(trial.session.is_immune(), found);
        }
    }

    #[test]
    fn what_is_no_host_is_logged_and_skipped() {
        let list = "localhost\n10.0.0.0/33\n192.0.2.1";
        let mut trial = Trial::new("whitelist", &[("whitelisthosts", list)]);
        assert_eq!(trial.plain(Hook::Connect), OK);
        assert!(trial.log().contains(
            "whitelisthosts:1: neither an address, nor the beginning of one, nor a network"
        ));
        assert!(trial.log().contains(
            "whitelisthosts:2: neither an address, nor the beginning of one, nor a network"
        ));
    }

    #[test]
    fn the_environment_speaks_for_every_client() {
        fn by_environment(hooks: &mut Hooks, args: &Args) -> Result<()> {
            register_with(hooks, args, true)
        }
        let mut trial = Trial::with(by_environment, "", &[]);
        assert_eq!(trial.plain(Hook::Connect), OK);
        assert_eq!(trial.session.connection.notes.get(WHITELISTCLIENT), Some(1));
        assert!(!trial.session.is_immune());
        let mut trial = Trial::with(by_environment, "per_recipient 1", &[]);
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
        trial.set_config("rcpthosts", "example.com");
        assert_eq!(trial.rcpt("<b@example.com>"), OK);
        assert_eq!(trial.rcpt("<b@example.net>"), DECLINED);
    }

    /// What each list does to a recipient elsewhere, with rcpt_ok behind it.
    #[test]
    fn what_a_stranger_can_claim_opens_no_domain() {
        for (list, entry, opens) in [
            ("whitelisthosts", "192.0.2.1", true),
            ("whitelisthelo", "client.example", false),
            ("whitelistsenders", "a@example.net", false),
            ("whitelistrcpt", "evil.test", true),
        ] {
            for arguments in ["", "per_recipient 1"] {
                let plugins = format!("user_config {{dir}}/%u\nwhitelist {arguments}\nrcpt_ok");
                let files = [(list, entry), ("rcpthosts", "example.com")];
                let mut trial = Trial::new(&plugins, &files);
                trial.session.connection.hello_host = "client.example".into();
                trial.plain(Hook::Connect);
                trial.call(Hook::Ehlo, &Call::Host("client.example"));
                trial.mail("<a@example.net>");
                let what = format!("{list} {arguments}\n{}", trial.log());
                assert_eq!(trial.rcpt("<b@evil.test>") == OK, opens, "{what}");
                assert_eq!(trial.rcpt("<b@example.com>"), OK, "{what}");
                let route = trial.rcpt("<\"b@evil.test\"@example.com>");
                assert_eq!(route == OK, list == "whitelisthosts", "{what}");
            }
            let plugins = "user_config {dir}/%u\nwhitelist per_recipient 1\nrcpt_ok";
            let mut trial = Trial::new(plugins, &[("rcpthosts", "example.com")]);
            std::fs::create_dir(trial.dir().join("b")).unwrap();
            std::fs::write(trial.dir().join("b").join(list), entry).unwrap();
            trial.session.connection.hello_host = "client.example".into();
            trial.mail("<a@example.net>");
            assert!(trial.rcpt("<b@evil.test>").code().is_deny(), "{list} of its own");
        }
    }

    #[test]
    fn lines_that_fit_nothing_are_named() {
        for (list, line, text) in [
            ("whitelisthelo", "*.wild.test", "subdomains of wild.test have a line each"),
            ("whitelistsenders", "@at.test", "no host: '@at.test' (at.test is one)"),
            ("whitelistrcpt", ".wild.test", "subdomains of wild.test have a line each"),
        ] {
            let mut trial = Trial::new("whitelist", &[(list, line)]);
            trial.call(Hook::Ehlo, &Call::Host("client.example"));
            trial.mail("<a@at.test>");
            trial.rcpt("<a@wild.test>");
            let log = trial.log();
            assert!(log.contains(&format!("{list}:1: no host: ")) && log.contains(text), "{log}");
        }
        let files = [("whitelistsenders", "Good@dot.test. # a friend\nb\u{fc}cher.example")];
        let mut trial = Trial::new("whitelist", &files);
        for sender in ["<good@DOT.test>", "<a@xn--bcher-kva.example>", "<a@B\u{dc}CHER.example>"] {
            assert_eq!(trial.mail(sender), OK, "{sender}");
        }
    }

    #[test]
    fn names_in_helo() {
        let mut trial = Trial::new("whitelist", &[("whitelisthelo", "Mx.example.net")]);
        assert_eq!(trial.call(Hook::Helo, &Call::Host("x.mx.example.net")), DECLINED);
        assert!(!trial.session.connection.notes.is_true(WHITELISTHELO));
        for hook in [Hook::Helo, Hook::Ehlo] {
            assert_eq!(trial.call(hook, &Call::Host("MX.example.net")), OK);
        }
        assert_eq!(trial.session.connection.notes.get(WHITELISTHELO), Some(1));
    }

    #[test]
    fn senders_and_recipients_are_addresses_or_hosts() {
        let list = "Good@Example.net\nexample.org";
        let files = [("whitelistsenders", list), ("whitelistrcpt", list)];
        for (path, verdict) in [
            ("<good@example.NET>", OK),
            ("<anybody@Example.org>", OK),
            ("<bad@example.net>", DECLINED),
            ("<a@sub.example.org>", DECLINED),
            ("<postmaster>", DECLINED),
        ] {
            let mut trial = Trial::new("whitelist", &files);
            assert_eq!(trial.mail(path), verdict, "{path}");
            let is_listed = verdict == OK;
            assert_eq!(trial.session.transaction.notes.is_true(WHITELISTSENDER), is_listed);
            assert_eq!(trial.rcpt(path), verdict, "{path}");
            assert_eq!(trial.rcpt(path), verdict, "{path}");
            let count = trial.session.transaction.notes.get(WHITELISTRCPT);
            assert_eq!(count, is_listed.then_some(2));
        }
        assert_eq!(Trial::new("whitelist", &files).mail("<>"), DECLINED);
    }

    /// The recipient rich@example.com has lists of its own.
    fn personal(arguments: &str, list: &str, own: &str, server: &str) -> Trial {
        let lines = format!("user_config {{dir}}/%u\nwhitelist per_recipient 1 {arguments}");
        let files = [(list, server), ("rcpthosts", "example.com\nexample.org")];
        let trial = Trial::new(&lines, &files);
        std::fs::create_dir(trial.dir().join("rich")).unwrap();
        std::fs::write(trial.dir().join("rich").join(list), own).unwrap();
        trial
    }

    #[test]
    fn recipients_have_lists_of_their_own() {
        for (list, good, other) in [
            ("whitelisthosts", "192.0.2.0/24", "198.51.100."),
            ("whitelisthelo", "client.example", "other.example"),
            ("whitelistsenders", "a@example.net", "b@example.net"),
            ("whitelistrcpt", "example.com", "example.org"),
        ] {
            for (arguments, own, server, rich, poor) in [
                ("", good, other, OK, DECLINED),
                ("", other, good, OK, OK),
                ("merge 0", good, other, OK, DECLINED),
                ("merge 0", other, good, DECLINED, OK),
                ("merge 1", other, other, DECLINED, DECLINED),
            ] {
                let mut trial = personal(arguments, list, own, server);
                trial.session.connection.hello_host = "client.example".into();
                assert_eq!(trial.plain(Hook::Connect), DECLINED);
                assert_eq!(trial.call(Hook::Ehlo, &Call::Host("client.example")), DECLINED);
                assert_eq!(trial.mail("<a@example.net>"), DECLINED);
                let what = format!("{list} {arguments}: {own}, {server}");
                assert_eq!(trial.rcpt("<rich@example.com>"), rich, "{what}");
                assert_eq!(trial.rcpt("<poor@example.com>"), poor, "{what}");
            }
        }
    }

    #[test]
    fn a_list_of_its_own_is_good_for_that_recipient_only() {
        let mut trial = personal("", "whitelisthosts", "192.0.2.1", "");
        assert_eq!(trial.rcpt("<rich@example.com>"), OK);
        assert!(!trial.session.is_immune());
        assert_eq!(trial.rcpt("<poor@example.com>"), DECLINED);
        let mut trial = personal("", "whitelisthosts", "", "192.0.2.1");
        assert_eq!(trial.rcpt("<rich@example.com>"), OK);
        assert!(trial.session.is_immune());
    }

    #[test]
    fn arguments_without_meaning_are_errors() {
        for line in ["whitelist per_recipient", "whitelist soft 1"] {
            assert!(Trial::load(line, &[]).is_err(), "{line}");
        }
    }
}
