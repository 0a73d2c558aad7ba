//! A connection that is kept for the next message: each worker has one at most.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::hook::{Args, Rest};

use super::Client;
use super::target::Target;

/// How long a connection is kept without a message, where the arguments do not say.
const IDLE: Duration = Duration::from_secs(10);

/// The connection that is kept, and its limits.
#[derive(Default)]
pub(crate) struct Kept {
    /// How many messages go over one connection; it is kept where that is more than one.
    messages: u32,
    idle: Duration,
    open: RefCell<Option<Open>>,
}

/// A connection, over which nothing is going on.
pub(super) struct Open {
    pub(super) client: Client,
    pub(super) target: Target,
    /// How many messages it has had.
    messages: u32,
    since: Instant,
}

impl Kept {
    /// Takes the arguments `keep` and `idle`.
    ///
    /// # Errors
    /// One of them is no number, or `idle` has nothing to do.
    pub(crate) fn take(args: &mut Args) -> Result<Kept> {
        let mut number = |name: &str| -> Result<Option<u32>> {
            let Some(word) = args.take_named(name)? else { return Ok(None) };
            let number = word.parse().ok().filter(|number| (1..=1_000_000).contains(number));
            number.map(Some).ok_or_else(|| Error::value(name, &word, "1 or more"))
        };
        let (messages, idle) = (number("keep")?, number("idle")?);
        if messages.is_none() && idle.is_some() {
            return Err(Error::new("argument idle is only for connections that are kept: 'keep'"));
        }
        let idle = idle.map_or(IDLE, |seconds| Duration::from_secs(seconds.into()));
        Ok(Kept { messages: messages.unwrap_or(1), idle, open: RefCell::default() })
    }

    /// Are connections kept?
    pub(crate) fn is_wanted(&self) -> bool {
        self.messages > 1
    }

    /// Takes the connection out if it leads to one of `targets`, and the server still listens.  One that
    /// is of no use is closed.
    pub(super) fn get(&self, targets: &[Target], until: Instant) -> Option<Open> {
        let mut open = self.open.take()?;
        open.client.wire.set_end(until);
        if targets.contains(&open.target) && open.since.elapsed() < self.idle {
            return open.client.starts_anew().then_some(open);
        }
        open.client.quit();
        None
    }

    /// Keeps a connection that had a message, or closes it.
    pub(super) fn put(&self, client: Client, target: &Target, before: u32) {
        let messages = before + 1;
        if client.is_sound && messages < self.messages {
            let (target, since) = (target.clone(), Instant::now());
            self.open.replace(Some(Open { client, target, messages, since }));
        } else {
            client.quit();
        }
    }

    /// Closes it when it was kept long enough, or the process ends; how long it may stay.
    pub(super) fn rest(&self, rest: Rest) -> Option<Duration> {
        let open = self.open.take()?;
        let left = self.idle.saturating_sub(open.since.elapsed());
        if rest == Rest::Waits && !left.is_zero() {
            self.open.replace(Some(open));
            return Some(left);
        }
        let mut client = open.client;
        client.wire.set_end(Instant::now() + super::FAREWELL);
        client.quit();
        None
    }
}

impl Open {
    /// How many messages it has had.
    pub(super) fn messages(&self) -> u32 {
        self.messages
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("messages", &self.messages).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
