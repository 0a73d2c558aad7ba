//! ```text
//! NAME
//!     penpals - remembers whom our own users write to
//!
//! SYNOPSIS
//!     penpals [days N]
//!
//! DESCRIPTION
//!     Remembers the addresses that users of this server write to, so that answers are not delayed:
//!     greylisting lets them pass, and the karma of the connection is 2 better.  Nobody has to keep
//!     a list by hand, and all other tests still apply.
//!
//!     Users are clients that authenticated, and clients that may relay by their address if the
//!     sender is in one of our own domains (config/rcpthosts).  Recipients of automatic messages
//!     are not remembered, since a stranger can make a program answer: messages with the null
//!     sender, with Auto-Submitted (RFC 3834), or with "Precedence: bulk", "junk", "list" or
//!     "auto_reply".  Neither are the recipients of a message with more than 50.
//!
//!     Anybody can claim to be somebody else.  So a sender that is remembered counts only if SPF
//!     passes for its domain, or, once the message is there, if a DKIM signature of that domain or
//!     of a parent of it is valid.
//!
//!     Place it before greylisting, and after relay and whitelist.
//!
//!     While the store (docs/store.md) is not available, nobody is known.
//!
//! ARGUMENTS
//!     days   for how many days an address is remembered after the last message to it; 60 by default
//!
//! NOTES
//!     penpal   on the transaction: how many messages our users have sent to this sender
//!
//! SEE ALSO
//!     greylisting, karma, whitelist; docs/store.md
//! ```

use std::time::Duration;

use super::rcpt_ok::Ours;
use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, PENPAL, Session, Verdict};
use crate::log::Level;
use crate::mail::{Address, Header};
use crate::origin::{dkim, spf};
use crate::state::results::Spf;
use crate::store::Put;

/// The table of the store.
const TABLE: &str = "penpals";

/// A message to more is no letter.
const MOST_RECIPIENTS: usize = 50;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["days"])?;
    let days = u64::from(args.parsed::<u16>("days", 60)?.max(1));
    let time = Duration::from_secs(days * 86400);
    let ours = Ours::new(hooks);
    hooks.keeps(TABLE, |kept| {
        let (count, days) = (&kept.value, kept.left.as_secs() / 86400);
        format!("our users have written {count} messages to it; forgotten in {days} days")
    });
    hooks.mail(|session, sender, _params| at_mail(session, sender));
    hooks.data_post(at_data_post);
    hooks.queue_post(move |session| remember(session, &ours, time));
    Ok(())
}

fn at_mail(session: &mut Session, sender: &Address) -> Verdict {
    let Some(count) = written_to(session, sender) else { return DECLINED };
    // What another plugin has found out may be about a sender who was refused.
    let is_of_sender = |spf: &Spf| spf.domain.eq_ignore_ascii_case(sender.host());
    if !session.transaction.results.spf.as_ref().is_some_and(is_of_sender) {
        session.check_spf_of(Some(sender));
    }
    match session.transaction.results.spf.as_ref().map(|spf| spf.finding.outcome) {
        Some(spf::Outcome::Pass) => welcome(session, count, "SPF"),
        _ => session.skip("our users have written to it, but it may be forged"),
    }
}

fn at_data_post(session: &mut Session) -> std::io::Result<Verdict> {
    let sender = session.transaction.sender().cloned().unwrap_or_else(Address::null);
    if session.transaction.notes.is_true(PENPAL) {
        return Ok(DECLINED);
    }
    let Some(count) = written_to(session, &sender) else { return Ok(DECLINED) };
    let host = sender.canonical_host().into_owned();
    let is_signed = session.check_signatures()?.iter().any(|finding| {
        let above = host.strip_suffix(&*finding.domain);
        finding.outcome == dkim::Outcome::Pass
            && !finding.domain.is_empty()
            && above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    Ok(if is_signed { welcome(session, count, "DKIM") } else { DECLINED })
}

/// How many messages our users have written to the sender, if any.
fn written_to(session: &Session, sender: &Address) -> Option<i64> {
    if sender.is_null() || session.connection.relay_client {
        return None;
    }
    session.store(TABLE).get(sender.key()).unwrap_or_default()
}

fn welcome(session: &mut Session, count: i64, why: &str) -> Verdict {
    session.transaction.notes.set(PENPAL, count);
    session.adjust_karma(2);
    session.pass(format_args!("our users have written to it ({count}), {why} passes"))
}

/// A message was taken.
fn remember(session: &mut Session, ours: &Ours, time: Duration) {
    let transaction = &session.transaction;
    let Some(sender) = transaction.sender().filter(|sender| !sender.is_null()).cloned() else {
        return;
    };
    let recipients = transaction.recipients().to_vec();
    let is_letter = recipients.len() <= MOST_RECIPIENTS && !is_automatic(&transaction.header);
    if !is_letter || !is_user(session, ours, &sender) {
        return;
    }
    for recipient in recipients {
        if ours.has(session, &recipient).is_some() {
            continue;
        }
        let kept = session.store(TABLE).update(recipient.key(), |old: Option<i64>| {
            (Put(old.unwrap_or(0).saturating_add(1), time), ())
        });
        if kept.is_ok() {
            session.log(Level::Debug, format_args!("{recipient} is remembered"));
        }
    }
}

fn is_user(session: &mut Session, ours: &Ours, sender: &Address) -> bool {
    let is_relay = session.connection.relay_client;
    is_relay && (session.connection.auth_user.is_some() || ours.has(session, sender).is_some())
}

/// Has a program written it by itself?
fn is_automatic(header: &Header) -> bool {
    let first = |name: &str| {
        let value = header.get(name)?;
        let word = value.split([';', ' ', '\t', '\n', '(']).next().unwrap_or_default();
        Some(word.to_ascii_lowercase())
    };
    first("Auto-Submitted").is_some_and(|word| word != "no")
        || first("Precedence")
            .is_some_and(|word| ["bulk", "junk", "list", "auto_reply"].contains(&&*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Hook, KARMA};
    use crate::testing::Trial;

    const DNS: &str = "friend.example TXT v=spf1 ip4:192.0.2.1 -all\n\
        other.example TXT v=spf1 -all\nours.example TXT v=spf1 ip4:192.0.2.1 -all";

    fn trial() -> Trial {
        let trial = Trial::new("penpals days 3", &[("rcpthosts", "ours.example")]).with_dns(DNS);
        trial.set_clock(1_000_000);
        trial
    }

    /// A message of one of our users.
    fn send(trial: &mut Trial, sender: &str, recipients: &[&str], header: &str) {
        trial.session.connection.relay_client = true;
        trial.mail(sender);
        for recipient in recipients {
            trial.rcpt(recipient);
        }
        trial.message(&format!("{header}From: u@ours.example\n\nHello\n"));
        trial.plain(Hook::QueuePost);
        trial.session.transaction.clear();
        trial.session.connection.relay_client = false;
    }

    /// Is that sender known at MAIL?
    fn is_known(trial: &mut Trial, sender: &str) -> bool {
        assert_eq!(trial.mail(sender), DECLINED);
        let is_known = trial.session.transaction.notes.is_true(PENPAL);
        let karma = trial.session.connection.notes.get(KARMA).unwrap_or(0);
        assert_eq!(karma, if is_known { 2 } else { 0 });
        trial.session.connection.notes.clear();
        trial.session.transaction.clear();
        is_known
    }

    #[test]
    fn whom_our_users_write_to_is_known_for_a_while() {
        let mut trial = trial();
        assert!(!is_known(&mut trial, "<a@friend.example>"));
        send(&mut trial, "<u@ours.example>", &["<A@Friend.example>", "<v@ours.example>"], "");
        assert!(is_known(&mut trial, "<a@friend.example>"));
        assert!(!is_known(&mut trial, "<b@friend.example>"));
        assert!(!is_known(&mut trial, "<v@ours.example>"));
        trial.set_clock(1_000_000 + 3 * 86400);
        assert!(!is_known(&mut trial, "<a@friend.example>"));
    }

    #[test]
    fn a_forged_sender_is_not_known() {
        let mut trial = trial();
        send(&mut trial, "<u@ours.example>", &["<a@friend.example>", "<a@other.example>"], "");
        assert!(!is_known(&mut trial, "<a@other.example>"));
        assert!(trial.take_log().contains("but it may be forged"));
        let mut trial = trial.from_ip("198.51.100.1");
        assert!(!is_known(&mut trial, "<a@friend.example>"));
    }

    #[test]
    fn what_spf_says_of_another_sender_does_not_count() {
        let mut trial = trial();
        send(&mut trial, "<u@ours.example>", &["<a@other.example>"], "");
        let passing = Address::new("x", "friend.example");
        trial.session.check_spf_of(Some(&passing));
        assert!(!is_known(&mut trial, "<a@other.example>"));
    }

    #[test]
    fn a_signature_is_as_good_once_the_message_is_there() {
        for (domain, outcome, is_known) in [
            ("other.example", dkim::Outcome::Pass, true),
            ("example", dkim::Outcome::Pass, true),
            ("other.example", dkim::Outcome::Fail, false),
            ("her.example", dkim::Outcome::Pass, false),
            ("mail.other.example", dkim::Outcome::Pass, false),
            ("", dkim::Outcome::Pass, false),
        ] {
            let mut trial = trial();
            send(&mut trial, "<u@ours.example>", &["<a@other.example>"], "");
            trial.mail("<a@other.example>");
            trial.message("From: a@other.example\n\nHello\n");
            let finding = dkim::Finding {
                outcome,
                domain: domain.into(),
                selector: String::new(),
                identity: String::new(),
                algorithm: None,
                beginning: String::new(),
                reason: String::new(),
                testing: false,
            };
            trial.session.transaction.results.dkim = Some(vec![finding]);
            assert_eq!(trial.plain(Hook::DataPost), DECLINED);
            let notes = &trial.session.transaction.notes;
            assert_eq!(notes.get(PENPAL), is_known.then_some(1), "{domain}");
        }
    }

    #[test]
    fn only_letters_of_our_own_users_count() {
        let many: Vec<String> = (0..51).map(|n| format!("<a{n}@friend.example>")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let one = ["<a0@friend.example>"];
        for (sender, recipients, header, counts) in [
            ("<u@ours.example>", &one[..], "", true),
            ("<u@ours.example>", &one, "Auto-Submitted: no\n", true),
            ("<u@ours.example>", &one, "Auto-Submitted: auto-replied (away)\n", false),
            ("<u@ours.example>", &one, "Precedence: Bulk\n", false),
            ("<u@ours.example>", &many, "", false),
            ("<>", &one, "", false),
            ("<x@elsewhere.example>", &one, "", false),
        ] {
            let mut trial = trial();
            send(&mut trial, sender, recipients, header);
            assert_eq!(is_known(&mut trial, "<a0@friend.example>"), counts, "{sender} {header}");
        }
        let mut user = trial();
        user.session.connection.auth_user = Some("u".into());
        send(&mut user, "<x@elsewhere.example>", &one, "");
        assert!(is_known(&mut user, "<a0@friend.example>"));
        let mut stranger = trial();
        stranger.mail("<u@ours.example>");
        stranger.rcpt("<a@friend.example>");
        stranger.message("From: u@ours.example\n\nHello\n");
        stranger.plain(Hook::QueuePost);
        stranger.session.transaction.clear();
        assert!(!is_known(&mut stranger, "<a@friend.example>"));
    }

    #[test]
    fn answers_are_not_put_off() {
        let files = [("rcpthosts", "ours.example")];
        let mut trial = Trial::new("penpals\ngreylisting", &files).with_dns(DNS);
        assert!(trial.mail("<a@friend.example>").code().is_deny());
        send(&mut trial, "<u@ours.example>", &["<a@friend.example>"], "");
        assert_eq!(trial.mail("<a@friend.example>"), DECLINED);
        assert!(trial.log().contains("greylisting: skip, our users have written to the sender"));
    }

    #[test]
    fn without_the_store_nobody_is_known() {
        let mut trial = trial();
        send(&mut trial, "<u@ours.example>", &["<a@friend.example>"], "");
        trial.break_store();
        assert!(!is_known(&mut trial, "<a@friend.example>"));
        send(&mut trial, "<u@ours.example>", &["<a@friend.example>"], "");
        assert!(Trial::load("penpals days x", &[]).is_err());
    }
}
