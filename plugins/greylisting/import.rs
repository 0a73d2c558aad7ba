//! Entries of Perl qpsmtpd: `ADDRESS[:SENDER][:RECIPIENT]`, the address as a number, or up to 0.84 as
//! it is written.

use crate::mail::Address;
use crate::plugins::greylisting::client::folded;
use crate::plugins::greylisting::entry::Entry;
use crate::plugins::greylisting::rules::{Client, Rules};
use crate::store::{Taken, numbered};

/// What becomes of an entry; None: it is none of these rules, or is over.
pub(super) fn take_over(key: &str, value: &str, now: u64, rules: &Rules) -> Option<Taken> {
    let has_client = rules.client != Client::Nothing;
    let others = usize::from(rules.sender) + usize::from(rules.recipient);
    let mut parts: Vec<&str> = key.rsplitn(others + usize::from(has_client), ':').collect();
    parts.reverse();
    let (client, addresses) = parts.split_at_checked(usize::from(has_client))?;
    if addresses.len() != others {
        return None;
    }
    let mut own = vec![];
    for text in client {
        own.push(numbered(text)?.to_string());
    }
    for text in addresses {
        own.push(folded(&Address::parse(&format!("<{text}>")).ok()?));
    }
    let entry: Entry = value.parse().ok()?;
    let entry = Entry { since: entry.since.min(now), ..entry };
    let time = entry.time_left(now, rules);
    (!time.is_zero()).then(|| Taken { key: own.join(" "), value: entry.to_string(), time })
}
