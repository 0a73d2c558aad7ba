//! A line of config/uribl_zones: a list, which of its answers are entries, and what comes of one.

use std::net::Ipv4Addr;

use crate::dns::Answer;
use crate::dns::lists::entries;
use crate::error::{Error, Result};

/// With what some lists answer questions about addresses where they have none.
const NO_ADDRESSES: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 255);

/// What happens to a message with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    AddHeader,
    Deny,
    DenySoft,
    Log,
}

/// THE table of actions.
pub(super) const ACTIONS: [(&str, Action); 4] = [
    ("add-header", Action::AddHeader),
    ("deny", Action::Deny),
    ("denysoft", Action::DenySoft),
    ("log", Action::Log),
];

/// A line of uribl_zones.
pub(super) struct Zone {
    pub(super) name: String,
    mask: u32,
    pub(super) action: Option<Action>,
}

impl Zone {
    pub(super) fn parse(line: &str) -> Result<Zone> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().trim_matches('.').to_ascii_lowercase();
        if !name.contains('.') {
            return Err(Error::new(format!("'{name}' is not the name of a list")));
        }
        let mut mask = 0;
        for word in words.next().unwrap_or("-1").split(',') {
            let number: i64 =
                word.parse().map_err(|_| Error::new(format!("'{word}' is not a mask")))?;
            // A negative number stands for all of a list's lists.
            mask |= if number < 0 { u32::MAX >> 8 } else { u32::try_from(number).unwrap_or(0) };
        }
        let action = words.next().map(action).transpose()?;
        Ok(Zone { name, mask, action })
    }

    /// An address that is an entry.
    pub(super) fn entry(&self, answer: &Answer) -> std::result::Result<Option<Ipv4Addr>, String> {
        let (found, failed) = entries(answer);
        if found.contains(&NO_ADDRESSES) {
            return Err("the list has no addresses".into());
        }
        let entry = found.into_iter().find(|ip| u32::from(*ip) & self.mask != 0);
        match (entry, failed) {
            (None, Some(why)) => Err(why),
            (entry, _) => Ok(entry),
        }
    }
}

fn action(word: &str) -> Result<Action> {
    let found = ACTIONS.iter().find(|(known, _)| *known == word);
    found
        .map(|(_, action)| *action)
        .ok_or_else(|| Error::unknown("action", word, &ACTIONS.map(|(known, _)| known)))
}
