//! ```text
//! NAME
//!     badmailfromto - refuses a recipient to certain senders
//!
//! SYNOPSIS
//!     badmailfromto
//!
//! DESCRIPTION
//!     Refuses a recipient if one line of config/badmailfromto has the sender and this recipient.
//!     The reply, "mail to RECIPIENT not accepted here", looks as if the recipient did not exist:
//!     it gives no hint to a person who harasses somebody that the refusal is about them.
//!
//!     Place it before rcpt_ok.  The null sender <> is never refused.
//!
//!     If a sender is listed both by address and by host, the recipients of all its lines are
//!     refused; the Perl plugin of the same name looks only at the last of them.
//!
//! CONFIG
//!     badmailfromto   one FROM TO per line, with blanks between them.  FROM is an address or
//!                     @host, TO is an address.  Case does not matter.  Any other line is skipped,
//!                     and reported in the log.
//!
//! NOTES
//!     badmailfromto   on the transaction: the FROM that lists the sender
//!
//! SEE ALSO
//!     badmailfrom, badrcptto
//! ```

use std::collections::{HashMap, HashSet};

use crate::config::Lines;
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::mail::entries;
use crate::mail::patterns::is_whole;
use crate::state::Note;

/// The entry by which the sender is listed; a note of the transaction.
pub const BADMAILFROMTO: Note<String> = Note::new("badmailfromto");

/// Senders, each with the recipients that are closed to it.
type List = HashMap<String, HashSet<String>>;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let list = hooks.derived_checked("badmailfromto", parse);
    let again = list.clone();
    hooks.mail(move |session, sender, _params| {
        session.transaction.notes.unset(BADMAILFROMTO);
        let list = session.derived(&list);
        if list.is_empty() {
            session.log(Level::Debug, "skip, empty list");
        } else if !is_whole(sender) {
            let what = if sender.is_null() { "null sender" } else { "missing user or host" };
            session.log(Level::Debug, format_args!("skip, {what}"));
        } else if let Some(name) = names_of(sender).into_iter().find(|name| list.contains_key(name))
        {
            session.transaction.notes.set(BADMAILFROMTO, name);
        }
    });
    hooks.rcpt(move |session, recipient, _params| {
        if !session.transaction.notes.is_true(BADMAILFROMTO) {
            session.log(Level::Debug, "pass, sender not listed");
            return DECLINED;
        }
        let list = session.derived(&again);
        let recipient = recipient.key();
        let senders = session.transaction.sender().map(names_of).into_iter().flatten();
        let mut closed = senders.filter_map(|name| list.get(&name));
        if closed.any(|recipients| recipients.contains(&recipient)) {
            session.fail(format_args!("{recipient} is closed to this sender"));
            return Verdict::deny(format!("mail to {recipient} not accepted here"));
        }
        session.log(Level::Debug, "pass, recipient not listed");
        DECLINED
    });
    Ok(())
}

fn parse(lines: &Lines, problems: &mut Vec<Error>) -> List {
    let mut list = List::new();
    lines.read_each(problems, |line| {
        let mut words = line.text.split_whitespace();
        let from = words.next().map(entries::address_or_at_host);
        match (from, words.next().map(entries::address)) {
            (Some(Ok(from)), Some(Ok(to))) => drop(list.entry(from).or_default().insert(to)),
            (Some(Err(why)), _) | (_, Some(Err(why))) => {
                return Err(format!("not a pair of addresses: '{}': {why}", line.text));
            }
            _ => return Err(format!("not a pair of addresses: '{}'", line.text)),
        }
        Ok(())
    });
    list
}

/// What a sender can be listed as: `user@host` or `@host`.
fn names_of(sender: &Address) -> [String; 2] {
    [sender.key(), format!("@{}", sender.canonical_host())]
}

#[cfg(test)]
mod tests {
    use super::BADMAILFROMTO;
    use crate::hook::Code;
    use crate::testing::Trial;

    const LIST: &str = "Ex@example.net\tVictim@example.com\n\
        @evil.test   a@example.com\n\
        one@evil.test b@example.com\n";

    fn rcpt(trial: &mut Trial, sender: &str, recipient: &str) -> Code {
        trial.session.transaction.clear();
        assert_eq!(trial.mail(sender).code(), Code::Declined);
        trial.rcpt(recipient).code()
    }

    #[test]
    fn only_the_pair_is_refused() {
        let mut trial = Trial::new("badmailfromto", &[("badmailfromto", LIST)]);
        for (sender, recipient, code) in [
            ("<ex@EXAMPLE.net>", "<victim@example.com>", Code::Deny),
            ("<ex@example.net>", "<other@example.com>", Code::Declined),
            ("<friend@example.net>", "<victim@example.com>", Code::Declined),
            ("<two@evil.test>", "<a@example.com>", Code::Deny),
            ("<two@evil.test>", "<b@example.com>", Code::Declined),
            ("<one@evil.test>", "<a@example.com>", Code::Deny),
            ("<one@evil.test>", "<B@example.com>", Code::Deny),
            ("<a@sub.evil.test>", "<a@example.com>", Code::Declined),
            ("<>", "<victim@example.com>", Code::Declined),
            ("<postmaster>", "<victim@example.com>", Code::Declined),
            ("<ex@example.net>", "<postmaster>", Code::Declined),
        ] {
            assert_eq!(rcpt(&mut trial, sender, recipient), code, "{sender} to {recipient}");
        }
        for line in
            ["skip, null sender", "skip, missing user or host", "pass, recipient not listed"]
        {
            assert!(trial.log().contains(line), "{line}");
        }
    }

    #[test]
    fn the_reply_does_not_speak_of_the_sender() {
        let mut trial = Trial::new("badmailfromto", &[("badmailfromto", LIST)]);
        trial.mail("<ex@example.net>");
        let name = trial.session.transaction.notes.get(BADMAILFROMTO);
        assert_eq!(name.as_deref(), Some("ex@example.net"));
        let verdict = trial.rcpt("<Victim@Example.com>");
        assert_eq!(verdict.text(), "mail to victim@example.com not accepted here");
        assert!(trial.log().contains("fail, victim@example.com is closed to this sender"));
    }

    #[test]
    fn without_a_list_nothing_is_refused() {
        let mut trial = Trial::new("badmailfromto", &[]);
        assert_eq!(rcpt(&mut trial, "<ex@example.net>", "<victim@example.com>"), Code::Declined);
        assert!(trial.log().contains("skip, empty list"));
        assert!(trial.log().contains("pass, sender not listed"));
        assert!(Trial::load("badmailfromto reject 1", &[]).is_ok());
        assert!(Trial::load("badmailfromto reject", &[]).is_err());
        assert!(Trial::load("badmailfromto strict", &[]).is_err());
    }

    #[test]
    fn a_line_that_is_no_pair_is_logged_and_skipped() {
        let list = "ex@example.net\nnobody x@y.test\nex@example.net victim@example.com why\n";
        let mut trial = Trial::new("badmailfromto", &[("badmailfromto", list)]);
        assert_eq!(rcpt(&mut trial, "<ex@example.net>", "<victim@example.com>"), Code::Deny);
        assert!(trial.log().contains("badmailfromto:1: not a pair of addresses: 'ex@example.net'"));
        assert!(
            trial.log().contains("badmailfromto:2: not a pair of addresses: 'nobody x@y.test'")
        );
    }
}
