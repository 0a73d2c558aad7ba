//! Servers of which one is enough, asked one after the other.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

/// How long a server that has failed is asked after the others.
const PAUSE: Duration = Duration::from_secs(60);

/// Servers of which one answers a whole question that does no harm to ask twice.  One that has failed
/// is asked after the others for a minute, so that one that hangs does not delay each question.
#[derive(Debug)]
pub struct Servers<T>(Vec<(T, Cell<Option<Instant>>)>);

impl<T> Servers<T> {
    /// These, in that order.
    pub fn new(servers: Vec<T>) -> Servers<T> {
        Servers(servers.into_iter().map(|server| (server, Cell::new(None))).collect())
    }

    /// What the first one answers that does; `ask` is told when its wait has to end, and `failed` why
    /// there is no answer.  What is left until `until` is shared anew among those that are left, so
    /// that a server that says nothing leaves time for the others.
    pub fn ask<R>(
        &self,
        until: Instant,
        mut ask: impl FnMut(&T, Instant) -> io::Result<R>,
        mut failed: impl FnMut(&T, &io::Error),
    ) -> Option<R> {
        let rests = |since: &Cell<Option<Instant>>| {
            since.get().is_some_and(|since| since.elapsed() < PAUSE)
        };
        let (last, first): (Vec<_>, Vec<_>) = self.0.iter().partition(|(_, since)| rests(since));
        let mut left = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        for (server, since) in first.into_iter().chain(last) {
            let now = Instant::now();
            match ask(server, now + until.saturating_duration_since(now) / left) {
                Ok(answer) => {
                    since.set(None);
                    return Some(answer);
                }
                Err(error) => {
                    since.set(Some(Instant::now()));
                    failed(server, &error);
                }
            }
            left -= 1;
        }
        None
    }
}

/// Each of `servers` with the moment when the wait for it ends.  What is left until `until` is divided
/// anew at each turn: the server gets as much as each one after it, and as much is kept for what is
/// to be done with the one that answers.
pub fn turns<T>(servers: &[T], until: Instant) -> impl Iterator<Item = (&T, Instant)> {
    servers.iter().enumerate().map(move |(number, server)| {
        let parts = u32::try_from(servers.len() - number + 1).unwrap_or(u32::MAX);
        let now = Instant::now();
        (server, now + until.saturating_duration_since(now) / parts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_server_leaves_time_for_those_after_it_and_for_the_work() {
        let until = Instant::now() + Duration::from_secs(3600);
        let mut turns = turns(&["a", "b"], until);
        let mut end = |server| {
            let before = until.saturating_duration_since(Instant::now());
            let (found, end) = turns.next().unwrap();
            assert_eq!(*found, server);
            let left = until.saturating_duration_since(end);
            (before, left)
        };
        let (before, left) = end("a");
        assert!(left <= before * 2 / 3 + Duration::from_millis(1), "{before:?} {left:?}");
        assert!(left > Duration::from_secs(1800), "{left:?}");
        let (before, left) = end("b");
        assert!(left <= before / 2 + Duration::from_millis(1), "{before:?} {left:?}");
        assert!(turns.next().is_none());
    }

    #[test]
    fn who_has_failed_is_asked_last_and_nobody_takes_all_the_time() {
        let servers = Servers::new(vec!["a", "b", "c"]);
        let until = Instant::now() + Duration::from_secs(3600);
        let ask = |good: &str| {
            let (mut asked, mut failed) = (String::new(), String::new());
            let answer = servers.ask(
                until,
                |server, end| {
                    asked += server;
                    assert!(asked.len() == 3 || end < until - Duration::from_secs(1700));
                    if good.contains(server) { Ok(*server) } else { Err(io::Error::other("no")) }
                },
                |server, _| failed += server,
            );
            (answer, asked, failed)
        };
        let found = |answer: Option<&'static str>, asked: &str, failed: &str| {
            (answer, asked.to_owned(), failed.to_owned())
        };
        assert_eq!(ask("abc"), found(Some("a"), "a", ""));
        assert_eq!(ask("c"), found(Some("c"), "abc", "ab"));
        assert_eq!(ask("abc"), found(Some("c"), "c", ""));
        assert_eq!(ask("a"), found(Some("a"), "ca", "c"));
        assert_eq!(ask(""), found(None, "abc", "abc"));
    }

    #[test]
    fn no_time_is_no_turn_of_any_length() {
        let over = Instant::now();
        assert!(turns(&[1, 2], over).all(|(_, end)| end <= Instant::now()));
    }
}
