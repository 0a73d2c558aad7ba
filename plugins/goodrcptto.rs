//! ```text
//! NAME
//!     goodrcptto - refuses recipients that are not on a list
//!
//! SYNOPSIS
//!     goodrcptto [extn CHAR] [deny_note NAME[=VALUE]] [reject 0|1|naughty]
//!
//! DESCRIPTION
//!     Refuses every recipient that is neither in config/goodrcptto nor in config/goodrcptto.cdb,
//!     for servers that have no other way to know their recipients.  A recipient that is listed is
//!     left to the next plugins, so place this plugin before rcpt_ok.
//!
//!     A client that may relay or is on a white list may send to every recipient, and a recipient
//!     without a domain, such as postmaster, is never refused.
//!
//!     While both lists are empty nothing is decided, and on_error counts: a lost file neither
//!     refuses all mail permanently nor lets all of it in.
//!
//! ARGUMENTS
//!     extn CHAR            also accept a local part whose extension, which begins with CHAR, is
//!                          removed: with "extn -" user-news@example.com is accepted if
//!                          user@example.com is listed
//!     deny_note NAME       set this note of the connection to 1 when a recipient is refused, and
//!                          add 1 for each further one
//!     deny_note NAME=VALUE start with VALUE
//!     reject 1             refuse at once; the default
//!     reject 0             refuse nothing; write to the log what would be refused
//!     reject naughty       leave it to the plugin naughty to refuse the client later
//!
//! CONFIG
//!     goodrcptto       one entry per line; the rest of the line is ignored
//!
//!                          user@example.com    an address
//!                          @example.net        all addresses of a domain
//!                          postmaster          a local part in all domains
//!
//!     goodrcptto.cdb   the same entries as keys, in lower case, for very long lists; values are
//!                      ignored
//!
//! REPLIES
//!     550 5.1.1 invalid recipient ADDRESS
//!
//! DIFFERENCES
//!     check_goodrcptto, a Perl plugin that is not part of Perl qpsmtpd, has the same arguments and
//!     lists.
//!
//! SEE ALSO
//!     badrcptto, rcpt_map, rcpt_verify, rcpt_ok
//! ```

use std::collections::HashSet;

use crate::config::{Lines, Map};
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, Session, Verdict};
use crate::mail::Address;
use crate::mail::entries;
use crate::mail::host;
use crate::mail::patterns::is_whole;
use crate::state::Value;

const NAME: &str = "goodrcptto";

/// The entries of a list, as recipients are looked up.
type Entries = HashSet<String>;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["extn", "deny_note"])?;
    let extension = args.named("extn").map(one_character).transpose()?;
    let note = args.named("deny_note").map(|word| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        (name.to_owned(), value.to_owned())
    });
    let config = hooks.config().clone();
    if config.load(NAME)?.is_empty() && !config.map(NAME).exists() {
        return Err(Error::new("there is neither config/goodrcptto nor config/goodrcptto.cdb"));
    }
    let list = hooks.derived_checked(NAME, |lines: &Lines, problems: &mut Vec<Error>| -> Entries {
        entries::first_words(lines, problems, entry)
    });
    hooks.rcpt(move |session, recipient, _params| -> Result<Verdict> {
        if session.is_immune() {
            return Ok(DECLINED);
        }
        if !is_whole(recipient) {
            return Ok(session.skip("missing host or user"));
        }
        let (list, map) = (session.derived(&list), session.config_map(NAME));
        if list.is_empty() && !map.exists() {
            return Err(Error::new("config/goodrcptto is empty"));
        }
        if let Some(entry) = found(&list, &map, recipient, extension) {
            return Ok(session.pass(format_args!("{recipient} is listed as {entry}")));
        }
        if let Some((name, value)) = &note {
            mark(session, name, value);
        }
        session.adjust_karma(-1);
        let text = format!("invalid recipient {} (#5.1.1)", recipient.address());
        Ok(session.get_reject_logged(&text, format_args!("invalid recipient {recipient}")))
    });
    Ok(())
}

fn one_character(word: &str) -> Result<char> {
    let mut characters = word.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(Error::value("extn", word, "one character")),
    }
}

/// An address, `@domain`, or a local part.
fn entry(word: &str) -> std::result::Result<String, String> {
    match word.contains('@') {
        true => entries::address_or_at_host(word),
        false if word.contains('.') && !word.starts_with('.') && host::is_host(word) => {
            // It may be a local part; it is more likely that a domain is meant.
            Err(format!("no @ in '{word}' (@{word} means the domain)"))
        }
        false => Ok(word.to_lowercase()),
    }
}

/// The entry by which a recipient is there.
fn found(
    list: &Entries,
    map: &Map,
    recipient: &Address,
    extension: Option<char>,
) -> Option<String> {
    let key = recipient.key();
    let (user, host) = key.rsplit_once('@')?;
    let stripped = extension.and_then(|character| user.split(character).next());
    let users = [Some(user), stripped.filter(|stripped| !stripped.is_empty())];
    let users = || users.iter().flatten();
    let addresses = users().map(|user| format!("{user}@{host}"));
    let all = addresses.chain([format!("@{host}")]).chain(users().map(|user| (*user).to_owned()));
    all.into_iter().find(|entry| list.contains(entry) || map.contains(entry))
}

/// Sets the note, or counts in it.
fn mark(session: &mut Session, name: &str, value: &str) {
    let notes = &mut session.connection.notes;
    let before = match notes.value(name) {
        Some(Value::Int(count)) => Some(*count),
        Some(Value::Str(text)) => text.parse().ok(),
        _ => None,
    };
    let value = match before {
        Some(count) => Value::Int(count.saturating_add(1)),
        None if value.is_empty() => Value::Int(1),
        None => Value::Str(value.to_owned()),
    };
    notes.set_value(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Code;
    use crate::state::Note;
    use crate::testing::Trial;

    const LIST: &str = "Bob@Example.com  # the boss\n@all.example.net\nPostmaster\n\
        ann-news@example.com\nexample.org\n";

    fn codes(trial: &mut Trial, paths: &[(&str, bool)]) {
        for (path, is_there) in paths {
            let code = if *is_there { Code::Declined } else { Code::Deny };
            assert_eq!(trial.rcpt(path).code(), code, "{path}");
        }
    }

    #[test]
    fn only_those_on_the_list_are_there() {
        let mut trial = Trial::new("goodrcptto", &[(NAME, LIST)]);
        codes(
            &mut trial,
            &[
                ("<bob@example.com>", true),
                ("<BOB@EXAMPLE.COM>", true),
                ("<bob@example.net>", false),
                ("<anybody@all.example.net>", true),
                ("<anybody@sub.all.example.net>", false),
                ("<postmaster@anywhere.test>", true),
                ("<postmaster>", true),
                ("<bob-news@example.com>", false),
                ("<x@example.org>", false),
            ],
        );
        assert!(
            trial
                .log()
                .contains("goodrcptto:5: no @ in 'example.org' (@example.org means the domain)")
        );
        let refused = trial.rcpt("<eve@example.com>");
        assert_eq!(refused, Verdict::deny("invalid recipient eve@example.com (#5.1.1)"));
        trial.session.connection.relay_client = true;
        assert_eq!(trial.rcpt("<eve@example.com>"), DECLINED);
    }

    #[test]
    fn extensions_are_left_out() {
        let mut trial = Trial::new("check_goodrcptto extn -", &[(NAME, LIST)]);
        codes(
            &mut trial,
            &[
                ("<bob-news@example.com>", true),
                ("<bob-news-old@example.com>", true),
                ("<postmaster-x@anywhere.test>", true),
                ("<ann-news@example.com>", true),
                ("<ann-other@example.com>", false),
                ("<-bob@example.com>", false),
                ("<bob+x@example.com>", false),
            ],
        );
    }

    #[test]
    fn a_note_counts_who_was_refused() {
        let mut trial = Trial::new("goodrcptto deny_note guesses", &[(NAME, LIST)]);
        for count in 1..=3 {
            assert_eq!(trial.rcpt("<eve@example.com>").code(), Code::Deny);
            assert_eq!(
                trial.session.connection.notes.get(Note::<i64>::new("guesses")),
                Some(count)
            );
        }
        let mut trial = Trial::new("goodrcptto deny_note kind=guess", &[(NAME, LIST)]);
        for _ in 0..2 {
            assert_eq!(trial.rcpt("<eve@example.com>").code(), Code::Deny);
            let note = trial.session.connection.notes.get(Note::<String>::new("kind"));
            assert_eq!(note.as_deref(), Some("guess"));
        }
    }

    #[test]
    fn a_list_that_is_not_there_decides_nothing() {
        assert!(Trial::load("goodrcptto", &[]).is_err());
        let mut trial = Trial::new("goodrcptto", &[(NAME, LIST)]);
        trial.set_config(NAME, "");
        assert!(trial.rcpt("<bob@example.com>").is_failure());
        assert!(Trial::load("goodrcptto extn --", &[(NAME, LIST)]).is_err());
        assert!(Trial::load("goodrcptto extn", &[(NAME, LIST)]).is_err());
    }

    #[test]
    fn very_many_are_in_a_database() {
        let mut trial = Trial::new("goodrcptto", &[(NAME, LIST)]);
        let file = trial.dir().join("config/goodrcptto.cdb");
        let mut maker = cdb2::CDBWriter::create(&file).unwrap();
        maker.add(b"eve@example.com", b"").unwrap();
        maker.add(b"@example.org", b"yes").unwrap();
        maker.finish().unwrap();
        trial.set_config(NAME, "bob@example.com");
        codes(
            &mut trial,
            &[
                ("<eve@example.com>", true),
                ("<x@example.org>", true),
                ("<bob@example.com>", true),
                ("<x@example.com>", false),
            ],
        );
    }
}
