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
        format!("our users have written {count} messages to this address; forgotten in {days} days")
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
        _ => session.skip("our users have written to this sender, but it may be forged"),
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
    session.pass(format_args!("our users have written to this sender ({count}), {why} passes"))
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
mod tests;
