//! Servers of which one is enough, asked one after the other.

use std::time::Instant;

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
    fn no_time_is_no_turn_of_any_length() {
        let over = Instant::now();
        assert!(turns(&[1, 2], over).all(|(_, end)| end <= Instant::now()));
    }
}
